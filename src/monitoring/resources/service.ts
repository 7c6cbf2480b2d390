import * as z from 'zod';
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
  /** How often rows are expected of a service without a check, as a duration. */
  interval: z.string().max(40).optional(),
  enabled: z.boolean().default(true),
});

export type ServiceDefinition = z.output<typeof serviceDefinition>;
export type Service = ServiceDefinition & { serviceId: string };
