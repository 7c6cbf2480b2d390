import * as z from 'zod';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs } from '../../stores/postgres/client.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import { type AlertInstance, alertInstance } from './instance.ts';

const instanceRow = z.object({ instance: z.unknown() });

/** Alert instances that are not normal, by rule. Throws StoreError. */
export async function listActive(ctx: MonitoringDeps, dataset: string): Promise<AlertInstance[]> {
  const rows = await ctx.postgres.rows(
    `select instance from alert_instances where buffer = $buffer and dataset = $dataset order by rule_id, fingerprint`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset },
  );
  return checkRows(instanceRow, rows).map(({ instance }) => alertInstance.parse(fromJsonb(instance)));
}

const eventRow = z.object({
  n: z.string(),
  id: z.string(),
  at_ms: z.number(),
  kind: z.string(),
  ruleId: z.string(),
  fingerprint: z.string(),
  serviceId: z.string(),
  episode: z.number(),
  detail: z.record(z.string(), z.unknown()),
});

/** The history of alerts, the newest first. Throws StoreError. */
export async function listEvents(
  ctx: MonitoringDeps,
  dataset: string,
  { before, rule, service }: { before?: number | undefined; rule?: string | undefined; service?: string | undefined },
  limit: number,
): Promise<z.output<typeof eventRow>[]> {
  const rows = await ctx.postgres.rows(
    `select n::text as n, id, ${epochMs('at')} as at_ms, kind, rule_id as "ruleId", fingerprint, service_id as "serviceId",
            episode, detail
       from alert_events
      where buffer = $buffer and dataset = $dataset and ($before::bigint is null or n < $before)
        and ($rule::text is null or rule_id = $rule) and ($service::text is null or service_id = $service)
      order by n desc limit $limit`,
    {
      buffer: ctx.config.TIMESTORE_KEY_PREFIX,
      dataset,
      before: before ?? null,
      rule: rule ?? null,
      service: service ?? null,
      limit,
    },
  );
  return checkRows(eventRow, rows).map((row) => ({ ...row, detail: fromJsonb(row.detail) }));
}
