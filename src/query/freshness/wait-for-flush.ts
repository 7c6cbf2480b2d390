import { setTimeout as delay } from 'node:timers/promises';
import { describeError } from '../../core/log.ts';
import { flushTable } from '../../flush/flush-table.ts';
import type { Table } from '../../schema/table.ts';
import type { QueryDeps } from '../deps.ts';

/** A flush that a reader waits for. One that takes longer is left to itself: being cut off does it no harm. */
export async function flushWithin(ctx: QueryDeps, table: Table, wait_ms: number): Promise<void> {
  const patience = new AbortController();
  const flush = flushTable(ctx, table, 'query', ctx.now() + wait_ms).catch((error) => {
    ctx.log({ event: 'query-flush-failed', dataset: table.dataset, table: table.name, ...describeError(error) });
  });
  await Promise.race([flush, delay(wait_ms, undefined, { signal: patience.signal }).catch(() => undefined)]);
  patience.abort();
}
