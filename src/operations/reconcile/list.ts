import * as z from 'zod';
import { checkRows, isRecord } from '../../stores/check-rows.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import type { OperationDeps } from '../deps.ts';
import type { Drift, Reconciled } from './reconcile-table.ts';

/** Differences are as `reconcileTable` stored them. */
const reconciledRow = z.object({
  dataset: z.string(),
  table: z.string(),
  drift: z.array(z.custom<Drift>(isRecord)),
  age_s: z.number(),
});

const listed_max = 1_000;

/** Tables with differences at their last reconciliation, of these datasets or of all. Throws StoreError. */
export async function listReconciled(
  ctx: OperationDeps,
  datasets: string[] | undefined,
): Promise<(Reconciled & { age_s: number })[]> {
  const rows = checkRows(
    reconciledRow,
    await ctx.postgres.rows(
      `select dataset, name as "table", drift, extract(epoch from now() - reconciled_at)::float8 as age_s
       from reconciliations join tables t using (dataset, name, life)
      where t.dropped_at is null and drift <> '[]' and ($datasets::text[] is null or dataset = any($datasets)) order by dataset, name limit ${listed_max}`,
      { datasets: datasets ?? null },
    ),
  );
  return rows.map((row) => ({ ...row, drift: fromJsonb(row.drift) }));
}
