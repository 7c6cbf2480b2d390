import { findTable } from '../catalog/find-table.ts';
import { withNewestLife } from '../catalog/life.ts';
import { StoreError } from '../core/errors.ts';
import { notFound } from '../core/not-found.ts';
import { ClickHouseError } from '../stores/clickhouse/client.ts';
import type { FlushDeps } from './deps.ts';
import { flushDue } from './flush-due.ts';
import { flushTable } from './flush-table.ts';

/** Half of the usual client timeout. */
const flush_ms_max = 25_000;

/**
 * Flushes all rows acknowledged before the call, of one table or of all tables.
 *
 * @returns the number of rows that this call moved
 * @throws ApiError `not-found`; StoreError if rows are still pending
 */
export async function flushNow(
  ctx: FlushDeps,
  target: { dataset: string; table: string } | undefined,
): Promise<number> {
  return target === undefined ? await flushAll(ctx) : await flushOne(ctx, target.dataset, target.table);
}

async function flushOne(ctx: FlushDeps, dataset: string, name: string): Promise<number> {
  return await withNewestLife(ctx, async (found) => {
    // Looked up here and not by the route, because a table that was dropped meanwhile is looked up again.
    const table = await findTable(ctx, dataset, name);
    if (table !== undefined) found.push(table);
    if (table === undefined) throw notFound({ dataset, table: name });
    try {
      const { complete, rows } = await flushTable(ctx, table, 'admin', ctx.now() + flush_ms_max);
      if (!complete)
        throw new StoreError('clickhouse', `has taken ${rows} rows so far, and more are pending`, undefined);
      return rows;
    } catch (error) {
      if (error instanceof ClickHouseError)
        throw new StoreError('clickhouse', 'rejected the rows; they stay in the hot buffer', error);
      throw error;
    }
  });
}

async function flushAll(ctx: FlushDeps): Promise<number> {
  const until_ms = ctx.now() + flush_ms_max;
  let rows = 0;
  for (;;) {
    const pass = await flushDue(ctx, until_ms, 'admin');
    rows += pass.rows;
    if (pass.failed > 0) {
      throw new StoreError(
        'clickhouse',
        `has not taken the rows of ${pass.failed} lanes; they stay in the hot buffer`,
        undefined,
      );
    }
    if (pass.left === 0) return rows;
    if (ctx.now() >= until_ms) {
      throw new StoreError('clickhouse', `has taken ${rows} rows so far, and more are pending`, undefined);
    }
  }
}
