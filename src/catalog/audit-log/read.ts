import * as z from 'zod';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs } from '../../stores/postgres/client.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import type { CatalogDeps } from '../deps.ts';

const logRow = z.object({
  n: z.string(),
  at_ms: z.number(),
  actor: z.string(),
  requestId: z.string(),
  action: z.string(),
  outcome: z.enum(['done', 'refused']),
  dataset: z.string().nullable(),
  table: z.string().nullable(),
  count: z.number(),
  detail: z.record(z.string(), z.unknown()),
});

export type LogLine = {
  n: number;
  at_ms: number;
  actor: string;
  requestId: string;
  action: string;
  outcome: 'done' | 'refused';
  dataset: string | null;
  table: string | null;
  count: number;
  detail: Record<string, unknown>;
};

export type LogFilter = {
  /** Lines before this one. */
  before?: number | undefined;
  dataset?: string | undefined;
  actor?: string | undefined;
  action?: string | undefined;
  outcome?: string | undefined;
  from_ms?: number | undefined;
  to_ms?: number | undefined;
  /** Only lines of these datasets in their current lives. Default: all lines, also those without a dataset. */
  datasets?: string[] | undefined;
};

/** Lines of the audit log, newest first. Throws StoreError if the catalogue is unavailable. */
export async function readLog(ctx: CatalogDeps, filter: LogFilter, limit: number): Promise<LogLine[]> {
  const { before, dataset, actor, action, outcome, from_ms, to_ms, datasets } = filter;
  const rows = checkRows(
    logRow,
    await ctx.postgres.rows(
      `select n, ${epochMs('at')} as at_ms, actor, request_id as "requestId", action, outcome, dataset, "table", count, detail
       from audit_log
      where ($before::bigint is null or n < $before) and ($dataset::text is null or dataset = $dataset) and ($actor::text is null or actor = $actor)
        and ($action::text is null or action = $action) and ($outcome::text is null or outcome = $outcome)
        and ($from_ms::float8 is null or at >= to_timestamp($from_ms / 1000)) and ($to_ms::float8 is null or at < to_timestamp($to_ms / 1000))
        and ($datasets::text[] is null or (dataset = any($datasets) and dataset_life = life_of_dataset(dataset)))
      order by n desc limit $limit`,
      {
        before: before ?? null,
        dataset: dataset ?? null,
        actor: actor ?? null,
        action: action ?? null,
        outcome: outcome ?? null,
        from_ms: from_ms ?? null,
        to_ms: to_ms ?? null,
        datasets: datasets ?? null,
        limit,
      },
    ),
  );
  return rows.map((row) => ({ ...row, n: Number(row.n), detail: fromJsonb(row.detail) }));
}
