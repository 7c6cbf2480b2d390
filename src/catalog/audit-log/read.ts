import { epochMs } from '../../stores/postgres/client.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import type { CatalogDeps } from '../deps.ts';

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
  /** Of these datasets alone, in the lives that they are in; all lines, also those of none, if left out. */
  datasets?: string[] | undefined;
};

/** Lines of the audit log, the newest first. Throws StoreError when the catalogue is away. */
export async function readLog(ctx: CatalogDeps, filter: LogFilter, limit: number): Promise<LogLine[]> {
  const { before, dataset, actor, action, outcome, from_ms, to_ms, datasets } = filter;
  const rows = await ctx.postgres.rows<LogLine & { n: string }>(
    `select n, ${epochMs('at')} as at_ms, actor, request_id as "requestId", action, outcome, dataset, "table", count, detail
       from audit_log
      where ($1::bigint is null or n < $1) and ($2::text is null or dataset = $2) and ($3::text is null or actor = $3)
        and ($4::text is null or action = $4) and ($5::text is null or outcome = $5)
        and ($6::float8 is null or at >= to_timestamp($6 / 1000)) and ($7::float8 is null or at < to_timestamp($7 / 1000))
        and ($8::text[] is null or (dataset = any($8) and dataset_life = life_of_dataset(dataset)))
      order by n desc limit $9`,
    [
      before ?? null,
      dataset ?? null,
      actor ?? null,
      action ?? null,
      outcome ?? null,
      from_ms ?? null,
      to_ms ?? null,
      datasets ?? null,
      limit,
    ],
  );
  return rows.map((row) => ({ ...row, n: Number(row.n), detail: fromJsonb(row.detail) }));
}
