import { type LanePositions, reaches } from '../buffer/lane-positions.ts';
import { type LaneSnapshot, laneIn, snapshotTable } from '../buffer/snapshot.ts';
import { tokenOf } from '../buffer/watermark-token.ts';
import { ensureTable } from '../catalog/ensure-table.ts';
import { knownLanes } from '../catalog/provision-lanes.ts';
import type { Table } from '../schema/table.ts';
import { catchUpLanes } from './catch-up.ts';
import type { FlushDeps } from './deps.ts';
import { flushTable } from './flush-table.ts';
import { hiddenEnds } from './hidden-ends.ts';

/**
 * Every row acknowledged by now that is not lost, and the token that says the same. Rows that the hot buffer has forgotten
 * in a failover are among them, if ClickHouse has them: they show again sooner or later.
 *
 * @throws LifeEndedError; StoreError, ClickHouseError
 */
export async function flushableSnapshot(
  ctx: FlushDeps,
  table: Table,
): Promise<{ until: LanePositions; watermark: string }> {
  await ensureTable(ctx, table);
  const { lanes: before } = await knownLanes(ctx, table);
  await catchUpLanes(ctx, table, before);
  // Before the lanes are read again: of what ClickHouse has now, everything was acknowledged by then.
  const hidden = await hiddenEnds(ctx, table, before);
  const { lanes } = await knownLanes(ctx, table);
  const until: LanePositions = [];
  for (const end of [...endsOf(lanes), ...endsOf(before), ...hidden]) {
    if (!until.some((each) => reaches(each, end))) until.push(end);
  }
  return { until, watermark: tokenOf(table, lanes, 'seq') };
}

function endsOf(lanes: LaneSnapshot[]): LanePositions {
  // A lane has nothing before its first batch.
  return lanes.map(({ lane, seq, seqAt_ms }) => ({ lane, seq, at_ms: seqAt_ms ?? (seq === 0 ? 0 : undefined) }));
}

/**
 * Flushes what of a cut is not in ClickHouse yet. Answers whether all of it is there by now, but for what the hot buffer has
 * lost since: then a lane may never come to the sequence again, or other batches have it.
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
  // Lanes that have lost their state have nothing that waits.
  if (snapshot === 'unknown') return true;
  if (until.every(({ lane, seq }) => laneIn(snapshot.lanes, lane).watermark >= seq)) return true;
  const { complete } = await flushTable(ctx, table, 'admin', deadline_ms);
  return complete;
}
