import * as z from 'zod';
import { auditLine, type Line } from '../../catalog/audit-log/statement.ts';
import { currentActor } from '../../core/request-context.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs, type Params } from '../../stores/postgres/client.ts';
import { toJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import { kinds } from '../resources/kinds.ts';
import type { Plan } from './plan.ts';

const writtenRow = z.object({
  kind: z.enum(kinds).nullable(),
  id: z.string().nullable(),
  revision: z.number().nullable(),
  createdAt_ms: z.number().nullable(),
  changedAt_ms: z.number().nullable(),
});

export type Written = z.output<typeof writtenRow>;

/**
 * Writes a plan, its audit line and the new revision of the configuration in one statement.
 *
 * @param seen the revision that the plan is made from
 * @returns the written resources; undefined, and nothing is written, if the configuration has another revision by now
 * @throws StoreError: the plan may be written
 */
export async function commitPlan(
  ctx: MonitoringDeps,
  dataset: string,
  seen: number,
  plan: Plan,
  line: Pick<Line, 'action' | 'detail'>,
): Promise<Written[] | undefined> {
  const params: Params = {
    buffer: ctx.config.TIMESTORE_KEY_PREFIX,
    dataset,
    seen,
    who: currentActor().actor,
    put: toJsonb(plan.put.map(({ kind, id, definition }) => ({ kind, id, definition }))),
    removed: toJsonb(plan.removed),
    secretsPut: toJsonb(plan.secretsPut),
    secretsRemoved: plan.secretsRemoved,
  };
  // Every part needs the row of `bumped`: only one of the plans that were made from a revision has it.
  const rows = await ctx.postgres.rows(
    `with bumped as (
       insert into monitor_datasets as d (buffer, dataset, revision) values ($buffer, $dataset, $seen::bigint + 1)
       on conflict (buffer, dataset) do update set revision = d.revision + 1 where d.revision = $seen::bigint
       returning revision),
     removed as (
       delete from monitor_resources r using bumped, jsonb_to_recordset($removed::jsonb) as gone(kind text, id text)
        where r.buffer = $buffer and r.dataset = $dataset and r.kind = gone.kind and r.id = gone.id
       returning r.kind, r.id),
     -- A later service of the same name has addresses of its own.
     heartbeats as (
       delete from monitor_heartbeats h using removed
        where h.buffer = $buffer and h.dataset = $dataset and removed.kind = 'service' and h.service_id = removed.id),
     put as (
       insert into monitor_resources as r (buffer, dataset, kind, id, definition, actor)
       select $buffer, $dataset, wanted.kind, wanted.id, wanted.definition, $who
         from bumped, jsonb_to_recordset($put::jsonb) as wanted(kind text, id text, definition jsonb)
       on conflict (buffer, dataset, kind, id) do update
         set definition = excluded.definition, revision = r.revision + 1, changed_at = now(), actor = excluded.actor
       returning r.kind, r.id, r.revision, ${epochMs('r.created_at')} as "createdAt_ms", ${epochMs('r.changed_at')} as "changedAt_ms"),
     forgotten as (
       delete from monitor_secrets s using bumped
        where s.buffer = $buffer and s.dataset = $dataset and s.name = any($secretsRemoved::text[])),
     kept as (
       insert into monitor_secrets as s (buffer, dataset, name, value)
       select $buffer, $dataset, wanted.name, wanted.value
         from bumped, jsonb_to_recordset($secretsPut::jsonb) as wanted(name text, value text)
       on conflict (buffer, dataset, name) do update set value = excluded.value, changed_at = now()),
     line as (${auditLine({ ...line, dataset }, 'bumped', params)})
     select put.* from bumped left join put on true`,
    params,
  );
  return rows.length === 0 ? undefined : checkRows(writtenRow, rows);
}
