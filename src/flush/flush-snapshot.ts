import { type LanePositions, reaches } from '../buffer/lane-positions.ts';
import { type LaneSnapshot, requireLane, snapshotTable } from '../buffer/snapshot.ts';
import { encodeSnapshotToken } from '../buffer/watermark-token.ts';
import { ensureTable } from '../catalog/ensure-table.ts';
import { knownLanes } from '../catalog/provision-lanes.ts';
import type { Table } from '../schema/table.ts';
import { catchUpLanes } from './catch-up.ts';
import type { FlushDeps } from './deps.ts';
import { flushTable } from './flush-table.ts';
import { findHiddenPositions } from './hidden-ends.ts';

/**
 * The positions of all acknowledged rows that are not lost, and the same as a watermark token. They include rows in ClickHouse
 * that a failover of the hot buffer has hidden, because these become visible again.
 *
 * @throws LifeEndedError; StoreError, ClickHouseError
 */
export async function readFlushPositions(
  ctx: FlushDeps,
  table: Table,
): Promise<{ until: LanePositions; watermark: string }> {
  await ensureTable(ctx, table);
  const { lanes: before } = await knownLanes(ctx, table);
  await catchUpLanes(ctx, table, before);
  // Before the second read of the lanes, so that it includes the acknowledgement of everything found here.
  const hidden = await findHiddenPositions(ctx, table, before);
  const { lanes } = await knownLanes(ctx, table);
  const until: LanePositions = [];
  for (const end of [...lanePositions(lanes), ...lanePositions(before), ...hidden]) {
    if (!until.some((each) => reaches(each, end))) until.push(end);
  }
  return { until, watermark: encodeSnapshotToken(table, lanes, 'seq') };
}

function lanePositions(lanes: LaneSnapshot[]): LanePositions {
  // Sequence 0 is before the first batch of a lane.
  return lanes.map(({ lane, seq, seqAt_ms }) => ({ lane, seq, at_ms: seqAt_ms ?? (seq === 0 ? 0 : undefined) }));
}

/**
 * Flushes the rows up to these positions. Returns whether ClickHouse has all of them, except rows that the hot buffer has lost
 * since: their lane may never reach the sequence again, or other batches may have it.
 *
 * @throws LifeEndedError; StoreError, ClickHouseError
 */
export async function flushSnapshot(
  ctx: FlushDeps,
  table: Table,
  until: LanePositions,
  deadline_ms: number,
): Promise<boolean> {
  await ensureTable(ctx, table);
  const snapshot = await snapshotTable(ctx, table, 'state');
  // Lanes without a state have no pending rows.
  if (snapshot === 'unknown') return true;
  if (until.every(({ lane, seq }) => requireLane(snapshot.lanes, lane).watermark >= seq)) return true;
  const { complete } = await flushTable(ctx, table, 'admin', deadline_ms);
  return complete;
}
