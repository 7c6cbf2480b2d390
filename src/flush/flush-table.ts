import { setTimeout as delay } from 'node:timers/promises';
import type { FlushTrigger } from '../buffer/flush-trigger.ts';
import { requireLane, snapshotTable } from '../buffer/snapshot.ts';
import { requireCurrentLife } from '../catalog/life.ts';
import type { Table } from '../schema/table.ts';
import type { FlushDeps } from './deps.ts';
import { flushLane } from './flush-lane.ts';

const busyPoll_ms = 50;

export type TableFlush = {
  /** Whether all rows acknowledged before the flush are published. */
  complete: boolean;
  rows: number;
  seals: number;
};

/**
 * Flushes a table until everything acknowledged before the call is published, or until the deadline.
 *
 * @param deadline_ms by `ctx.now()`
 * @throws LifeEndedError; StoreError, ClickHouseError if a store is unavailable
 */
export async function flushTable(
  ctx: FlushDeps,
  table: Table,
  trigger: FlushTrigger,
  deadline_ms: number,
): Promise<TableFlush> {
  const start = await snapshotTable(ctx, table, 'state');
  if (start === 'unknown') {
    // Lanes without a state have no pending rows, but a later life of the table may have some.
    await requireCurrentLife(ctx, table);
    return { complete: true, rows: 0, seals: 0 };
  }
  const flushed = { rows: 0, seals: 0 };
  for (const { lane, seq, watermark } of start.lanes) {
    let reached = watermark;
    while (reached < seq) {
      const result = await flushLane(ctx, table, lane, trigger);
      if (result.outcome === 'ok') {
        flushed.rows += result.rows;
        flushed.seals += 1;
      }
      const now = await snapshotTable(ctx, table, 'state');
      if (now === 'unknown') break;
      reached = requireLane(now.lanes, lane).watermark;
      if (reached >= seq) break;
      if (ctx.now() >= deadline_ms) return { complete: false, ...flushed };
      if (result.outcome !== 'ok') await delay(busyPoll_ms);
    }
  }
  return { complete: true, ...flushed };
}
