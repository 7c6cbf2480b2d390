import * as z from 'zod';
import { duration } from '../duration.ts';
import { checkConfig } from './check.ts';
import { label } from './common.ts';

/** A service. Its id is the id of the resource. */
export const serviceDefinition = z.strictObject({
  label: label.optional().meta({ description: 'name for people; default: the id' }),
  serviceType: z.string().max(100).default('').meta({ description: 'such as http, database or worker' }),
  stack: z.string().max(100).default('').meta({ description: 'what the service belongs to, such as payments' }),
  statusConfig: checkConfig
    .nullable()
    .default(null)
    .meta({ description: 'the check; null: the service reports its status' }),
  metricConfig: z.record(z.string(), z.unknown()).default({}).meta({ description: 'for programs that send metrics' }),
  interval: duration({ least: '1s', most: '365d' })
    .optional()
    .meta({ description: 'how often rows are expected of a service without a check' }),
  enabled: z.boolean().default(true),
});

export type ServiceDefinition = z.output<typeof serviceDefinition>;
export type Service = ServiceDefinition & { serviceId: string };
