import * as z from 'zod';
import { noteJob } from '../buffer/due.ts';
import { ApiError } from '../core/errors.ts';
import { describeError } from '../core/log.ts';
import { currentActor } from '../core/request-context.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { Params } from '../stores/postgres/client.ts';
import type { CatalogDeps } from './deps.ts';
import { readTable } from './find-table.ts';
import { knownLanes } from './provision-lanes.ts';
import { quarantineTable } from './quarantine-table.ts';

/** The start of a mirror for a table: rows up to these positions are not mirrored. */
export type MirrorBeginning = { table: string; life: number; progress: Record<string, unknown> };

/** Keeps the request that enables a mirror short: each table needs a read of the hot buffer. */
const tables_max = 1_000;

const mirrorBeginningsRow = z.object({ name: z.string() });

/**
 * The start of a mirror of a dataset: after the rows that are published now.
 *
 * @throws ApiError `limit-exceeded`; StoreError
 */
export async function mirrorBeginnings(ctx: CatalogDeps, dataset: string): Promise<MirrorBeginning[]> {
  const names = checkRows(
    mirrorBeginningsRow,
    await ctx.postgres.rows(
      `select name from tables where dataset = $dataset and dropped_at is null and name <> $quarantineTable order by name limit ${tables_max + 1}`,
      { dataset, quarantineTable },
    ),
  );
  if (names.length > tables_max) {
    throw new ApiError('limit-exceeded', `A dataset with more than ${tables_max} tables cannot be mirrored.`);
  }
  const begun: MirrorBeginning[] = [];
  for (const { name } of names) {
    const table = await readTable(ctx, dataset, name);
    if (table === undefined) continue;
    const { lanes } = await knownLanes(ctx, table);
    begun.push({
      table: name,
      life: table.life,
      progress: {
        life: table.life,
        lanes: Object.fromEntries(
          lanes.map(({ lane, watermark, watermarkAt_ms }) => [lane, { at: watermark, at_ms: watermarkAt_ms }]),
        ),
      },
    });
  }
  return begun;
}

/** The job id, in SQL. `since` is the dataset revision that enabled the mirror. */
const mirrorId = (dataset: string, table: string, life: string, since: string) =>
  `'mirror-' || ${dataset} || '.' || ${table} || '.' || ${life} || '-' || ${since}`;

/**
 * Part of the statement that changes a dataset: creates the jobs of a newly enabled mirror. `from` is the common table expression
 * of the change, with `name`, `revision` and `migration`.
 */
export function mirrorStatement(from: string, begun: MirrorBeginning[], params: Params): string {
  const { actor, requestId } = currentActor();
  Object.assign(params, { begun: JSON.stringify(begun), actor, requestId });
  return `insert into jobs (id, kind, dataset, "table", request, progress, actor, request_id, buffer)
    select ${mirrorId('d.name', 't."table"', 't.life', 'd.revision')}, 'mirror', d.name, t."table",
           jsonb_build_object('since', d.revision), t.progress, $actor::text, $requestId::text, d.migration->>'buffer'
      from ${from} d, jsonb_to_recordset($begun::jsonb) as t("table" text, life int, progress jsonb)
     where d.migration->>'since' = d.revision::text`;
}

/**
 * Wakes the mirror of a table after a flush. Never rejects, because the mirror also runs on its own schedule.
 *
 * @returns whether a mirror was woken
 */
export async function wakeMirror(
  ctx: CatalogDeps,
  { dataset, table }: { dataset: string; table: string },
): Promise<boolean> {
  if (ctx.config.TIMESTORE_ORIGIN_URL === undefined) return false;
  try {
    // The table may be new.
    await mirrorDue(ctx);
    const woken = await ctx.postgres.rows(
      `update jobs set due_at = least(due_at, now())
        where kind = 'mirror' and dataset = $dataset and "table" = $table and state in ('queued', 'running') returning id`,
      { dataset, table },
    );
    if (woken.length > 0) await noteJob(ctx, ctx.now());
    return woken.length > 0;
  } catch (error) {
    ctx.log({ event: 'mirror-not-woken', dataset, table, ...describeError(error) });
    return false;
  }
}

/**
 * Creates the mirror jobs of tables that were created after their dataset's mirror was enabled. All rows of these are mirrored.
 * Idempotent.
 *
 * @returns the number of created jobs
 * @throws StoreError
 */
export async function mirrorDue(ctx: CatalogDeps): Promise<number> {
  if (ctx.config.TIMESTORE_ORIGIN_URL === undefined) return 0;
  const { actor, requestId } = currentActor();
  const id = mirrorId('t.dataset', 't.name', 't.life', `(d.migration->>'since')`);
  const made = await ctx.postgres.rows(
    `insert into jobs (id, kind, dataset, "table", request, progress, actor, request_id, buffer)
     select ${id}, 'mirror', t.dataset, t.name, jsonb_build_object('since', d.migration->'since'),
            jsonb_build_object('life', t.life), $actor, $requestId, $buffer
       from tables t join datasets d on d.name = t.dataset
      where (d.migration->>'mirror')::boolean and d.migration->>'buffer' = $buffer and t.dropped_at is null and t.name <> $quarantineTable
        and not exists (select from jobs where id = ${id})
     on conflict do nothing returning id`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, actor, requestId, quarantineTable },
  );
  if (made.length > 0) await noteJob(ctx, ctx.now());
  return made.length;
}
