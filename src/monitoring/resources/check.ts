import * as z from 'zod';
import { duration } from '../duration.ts';
import { headers, secretText, timeZone } from './common.ts';

const shared = {
  interval: duration({ least: '1m', most: '1d' }).default('1m'),
  timeout: duration({ least: '100ms', most: '30s' }).default('10s'),
  attempts: z.int().min(1).max(5).default(2),
  attemptPause: duration({ least: '0s', most: '15s' }).default('3s'),
  startupGrace: duration({ least: '0s', most: '1h' }).default('0s'),
  conditions: z.array(z.string().min(1).max(500)).max(20).default([]),
  degraded: z.array(z.string().min(1).max(500)).max(20).default([]),
};

/** The check of a service. Conditions are checked by checks/conditions.ts when the service is written. */
export const checkConfig = z
  .discriminatedUnion('check', [
    z.strictObject({
      check: z.literal('http'),
      url: secretText(z.string().max(2_000)),
      method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']).default('GET'),
      headers: headers.default({}),
      body: secretText(z.string().max(10_000)).optional(),
      followRedirects: z.int().min(0).max(5).default(0),
      showValues: z.boolean().default(false),
      ...shared,
    }),
    z.strictObject({ check: z.literal('tcp'), host: z.string().max(253), port: z.int().min(1).max(65_535), ...shared }),
    z.strictObject({
      check: z.literal('dns'),
      name: z.string().max(253),
      type: z.enum(['A', 'AAAA', 'CNAME', 'MX', 'TXT', 'NS', 'SRV', 'CAA', 'SOA', 'PTR']).default('A'),
      ...shared,
    }),
    z.strictObject({
      check: z.literal('certificate'),
      host: z.string().max(253),
      port: z.int().min(1).max(65_535).default(443),
      ...shared,
      interval: duration({ least: '1m', most: '1d' }).default('1h'),
    }),
    z.strictObject({
      check: z.literal('heartbeat'),
      period: duration({ least: '1m', most: '365d' }).optional(),
      cron: z.string().max(200).optional(),
      timeZone: timeZone.optional(),
      grace: duration({ least: '0s', most: '365d' }).default('1m'),
      early: duration({ least: '0s', most: '1h' }).default('1m'),
    }),
  ])
  .refine(
    (check) =>
      check.check !== 'heartbeat' ||
      (check.cron === undefined
        ? check.period !== undefined && check.timeZone === undefined
        : check.period === undefined && check.timeZone !== undefined),
    '`period`, or `cron` and `timeZone`',
  );

export type CheckConfig = z.output<typeof checkConfig>;
