import * as z from 'zod';
import { currentActor } from '../../core/request-context.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs } from '../../stores/postgres/client.ts';
import { fromJsonb, toJsonb, toText } from '../../stores/postgres/jsonb.ts';
import type { OperationDeps } from '../deps.ts';
import type { AnsweredRow } from './compare-answers.ts';

const answeredRow = z.record(z.string(), z.unknown());

const differenceRow: z.ZodType<RecordedDifference> = z.object({
  n: z.string(),
  at_ms: z.number(),
  table: z.string(),
  requestId: z.string(),
  query: z.string(),
  reason: z.enum(['rows', 'order', 'refused']),
  fields: z.array(z.string()),
  counts: z.object({ origin: z.number(), here: z.number(), originOnly: z.number(), hereOnly: z.number() }),
  originOnly: z.array(answeredRow),
  hereOnly: z.array(answeredRow),
});

/** A recorded difference between two answers to one query. */
export type RecordedDifference = {
  n: string;
  at_ms: number;
  table: string;
  requestId: string;
  /** The body, as it was sent. */
  query: string;
  /** `refused`: the source system answered a query that this deployment rejected. */
  reason: 'rows' | 'order' | 'refused';
  fields: string[];
  counts: { origin: number; here: number; originOnly: number; hereOnly: number };
  originOnly: AnsweredRow[];
  hereOnly: AnsweredRow[];
};

/** Differences that are kept for each dataset: the newest ones. */
const kept = 100;
const rows_max = 10;
const chars_max = 32 * 1024;

/** Records a difference and deletes the oldest ones of its dataset. Throws StoreError. */
export async function recordDifference(
  ctx: OperationDeps,
  dataset: string,
  { table, query, reason, fields, counts, originOnly, hereOnly }: Omit<RecordedDifference, 'n' | 'at_ms' | 'requestId'>,
): Promise<void> {
  await ctx.postgres.rows(
    `with made as (
       insert into read_comparisons (dataset, "table", request_id, query, reason, fields, counts, origin_only, here_only)
       -- Nothing is kept of a dataset that is being deleted.
       select $dataset, $table, $requestId, $query, $reason, $fields::jsonb, $counts::jsonb, $originOnly::jsonb, $hereOnly::jsonb
        where not exists (select from datasets where name = $dataset and (dropped_at is not null or state = 'deleting')))
     delete from read_comparisons where dataset = $dataset
        and n < (select n from read_comparisons where dataset = $dataset order by n desc offset ${kept - 2} limit 1)`,
    {
      dataset,
      table,
      requestId: currentActor().requestId,
      query: toText(query.slice(0, chars_max)),
      reason,
      fields: toJsonb(fields),
      counts: JSON.stringify(counts),
      originOnly: renderRows(originOnly),
      hereOnly: renderRows(hereOnly),
    },
  );
}

/** The first rows as JSON, up to `rows_max` and `chars_max`. */
function renderRows(rows: AnsweredRow[]): string {
  const texts: string[] = [];
  let chars = 0;
  for (const row of rows.slice(0, rows_max)) {
    // JavaScript clients would round integers beyond 2^53.
    const text = toJsonb(row, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
    chars += text.length;
    if (chars > chars_max) break;
    texts.push(text);
  }
  return `[${texts.join(',')}]`;
}

/** Newest first. Throws StoreError. */
export async function listDifferences(
  ctx: OperationDeps,
  dataset: string,
  before: number | undefined,
  limit: number,
): Promise<RecordedDifference[]> {
  const found = checkRows(
    differenceRow,
    await ctx.postgres.rows(
      `select n, ${epochMs('at')} as "at_ms", "table", request_id as "requestId", query, reason, fields, counts,
            origin_only as "originOnly", here_only as "hereOnly"
       from read_comparisons where dataset = $dataset and ($before::bigint is null or n < $before) order by n desc limit $limit`,
      { dataset, before: before ?? null, limit },
    ),
  );
  return found.map(({ fields, originOnly, hereOnly, ...rest }) => {
    return { ...rest, fields: fromJsonb(fields), originOnly: fromJsonb(originOnly), hereOnly: fromJsonb(hereOnly) };
  });
}
