import { setTimeout as delay } from 'node:timers/promises';
import { describeError } from '../../core/log.ts';
import { flushTable } from '../../flush/flush-table.ts';
import type { Table } from '../../schema/table.ts';
import type { QueryDeps } from '../deps.ts';

/** Flushes a table and waits up to `wait_ms`. A longer flush continues in the background; an interrupted one is harmless. */
export async function waitForFlush(ctx: QueryDeps, table: Table, wait_ms: number): Promise<void> {
  const timeout = new AbortController();
  const flush = flushTable(ctx, table, 'query', ctx.now() + wait_ms).catch((error) => {
    ctx.log({ event: 'query-flush-failed', dataset: table.dataset, table: table.name, ...describeError(error) });
  });
  await Promise.race([flush, delay(wait_ms, undefined, { signal: timeout.signal }).catch(() => undefined)]);
  timeout.abort();
}
