import { laneIn, snapshotTable } from '../buffer/snapshot.ts';
import { ensureTable } from '../catalog/ensure-table.ts';
import { setUpLanes } from '../catalog/set-up-lanes.ts';
import type { Table } from '../catalog/table.ts';
import type { Until } from '../clickhouse/until.ts';
import type { Context } from '../context.ts';
import { StoreError } from '../errors.ts';
import { tokenOf } from '../query/token.ts';
import { flushTable } from './flush-table.ts';

/** Every row acknowledged by now, and the token that says the same. Throws StoreError. */
export async function cutOf(ctx: Context, table: Table): Promise<{ until: Until; watermark: string }> {
  let snapshot = await snapshotTable(ctx, table, 'state');
  if (snapshot === 'unknown') {
    await setUpLanes(ctx, table);
    snapshot = await snapshotTable(ctx, table, 'state');
  }
  if (snapshot === 'unknown')
    throw new StoreError('redis', `does not know the lanes of table ${table.name}`, undefined);
  const { lanes } = snapshot;
  return { until: lanes.map(({ lane, seq }) => ({ lane, seq })), watermark: tokenOf(table, lanes, 'seq') };
}

/** Flushes what of a cut is not in ClickHouse yet. Answers whether all of it is there by now. Throws StoreError. */
export async function flushCut(ctx: Context, table: Table, until: Until, deadline_ms: number): Promise<boolean> {
  await ensureTable(ctx, table);
  const snapshot = await snapshotTable(ctx, table, 'state');
  // Lanes that have lost their state have nothing that waits.
  if (snapshot === 'unknown') return true;
  if (until.every(({ lane, seq }) => laneIn(snapshot.lanes, lane).watermark >= seq)) return true;
  await flushTable(ctx, table, 'admin', deadline_ms);
  return false;
}
