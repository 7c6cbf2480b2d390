import * as z from 'zod';
import { duration } from '../duration.ts';
import { label, serviceSelector, timeZone } from './common.ts';

const time = z.iso.datetime({ offset: true });

/** Alerts that match all of these are not notified from `from` until `until`. */
export const silenceDefinition = z
  .strictObject({
    matchers: z
      .array(
        z.strictObject({
          label: z.string().max(64),
          op: z.enum(['=', '!=', '=~', '!~']).default('=').meta({ description: '=~ and !~ take a glob with *' }),
          value: z.string().max(500),
        }),
      )
      .min(1)
      .max(20),
    from: time,
    until: time,
    comment: z.string().max(1_000).default(''),
  })
  .refine(({ from, until }) => Date.parse(from) < Date.parse(until), {
    error: '`until` is after `from`',
    path: ['until'],
  });

/** Planned work: once, or as often as a cron expression says. Ends are exclusive. */
export const maintenanceDefinition = z
  .strictObject({
    title: label,
    services: z.array(serviceSelector).min(1).max(1_000),
    from: time.optional(),
    until: time.optional(),
    cron: z
      .string()
      .max(200)
      .optional()
      .meta({ description: 'starts, in local time of `timeZone`; needs `duration` and `timeZone`' }),
    duration: duration({ least: '1m', most: '31d' }).optional(),
    timeZone: timeZone.optional(),
    isPublic: z.boolean().default(true),
  })
  .refine(
    ({ from, until, cron, duration: long, timeZone: zone }) =>
      cron === undefined
        ? from !== undefined && until !== undefined && Date.parse(from) < Date.parse(until) && long === undefined
        : from === undefined && until === undefined && long !== undefined && zone !== undefined,
    '`from` and a later `until`, or `cron`, `duration` and `timeZone`',
  );

export type SilenceDefinition = z.output<typeof silenceDefinition>;
export type MaintenanceDefinition = z.output<typeof maintenanceDefinition>;
