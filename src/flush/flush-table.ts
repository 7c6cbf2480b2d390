import { setTimeout as delay } from 'node:timers/promises';
import type { FlushTrigger } from '../buffer/flush-trigger.ts';
import { laneIn, snapshotTable } from '../buffer/snapshot.ts';
import { requireCurrentLife } from '../catalog/life.ts';
import type { Table } from '../schema/table.ts';
import type { FlushDeps } from './deps.ts';
import { flushLane } from './flush-lane.ts';

const busyPoll_ms = 50;

export type TableFlush = {
  /** Whether all that was acknowledged when this began is published. */
  complete: boolean;
  rows: number;
  seals: number;
};

/**
 * Flushes a table until everything acknowledged before the call is published, or until the deadline.
 *
 * @param deadline_ms by `ctx.now()`
 * @throws LifeEndedError; StoreError, ClickHouseError when a store is away
 */
export async function flushTable(
  ctx: FlushDeps,
  table: Table,
  trigger: FlushTrigger,
  deadline_ms: number,
): Promise<TableFlush> {
  const start = await snapshotTable(ctx, table, 'state');
  if (start === 'unknown') {
    // A lane that has no state has nothing that could be flushed; but the table's next life may have.
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
      reached = laneIn(now.lanes, lane).watermark;
      if (reached >= seq) break;
      if (ctx.now() >= deadline_ms) return { complete: false, ...flushed };
      if (result.outcome !== 'ok') await delay(busyPoll_ms);
    }
  }
  return { complete: true, ...flushed };
}
