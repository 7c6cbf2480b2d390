import { type LaneSnapshot, requireLane, type Snapshot, snapshotTable } from '../../buffer/snapshot.ts';
import { hasRowsBeyondWatermarks } from '../../catalog/rows-beyond.ts';
import { StoreError } from '../../core/errors.ts';
import { describeError } from '../../core/log.ts';
import { ClickHouseError } from '../../stores/clickhouse/client.ts';
import type { QueryDeps } from '../deps.ts';
import type { ReadSnapshot } from './read-snapshot.ts';

/**
 * Excludes the rows of these lanes after these sequences. `below` excludes all rows of lanes from this number on: a lane may
 * have been added since the snapshot.
 */
export type Fence = { lanes: { lane: number; watermark: number }[]; below?: number };

/** How an answer was kept to its snapshot. `none`: it was not, because the hot buffer was not read. */
export type Exactness = 'fenced' | 'validated' | 'none';

/** The fences of a read, one a snapshot. A `validated` read is repeated with `fallback` where its validation fails. */
export type FencePlan =
  | { exactness: 'fenced' | 'none'; fences: Fence[] }
  | { exactness: 'validated'; fences: Fence[]; fallback: Fence[]; openLanes: LaneSnapshot[][] };

/**
 * Plans a read so that a concurrent flush cannot change its result.
 *
 * Fenced: only rows up to the watermark of each lane count. Validated: only lanes with a seal are fenced, which reads less.
 * After the read, `areUnchanged` proves that the open lanes had no seal in the meantime: a flush that has not begun when
 * the answer is complete has inserted nothing.
 *
 * @param isFenceCheap whether a fence costs less than the validation
 */
export function planFences(snapshots: ReadSnapshot[], isFenceCheap: boolean): FencePlan {
  const fences = snapshots.map(fenceAllLanes);
  if (snapshots.some(({ lanes }) => lanes === undefined)) return { exactness: 'none', fences };
  const openLanes = snapshots.map(({ lanes = [] }) => lanes.filter((lane) => lane.sealedTo === undefined));
  const isPinned = snapshots.some(({ pin }) => pin !== undefined);
  if (isFenceCheap || isPinned || openLanes.every((lanes) => lanes.length === 0))
    return { exactness: 'fenced', fences };
  const sealed = snapshots.map(({ lanes = [] }) => ({ lanes: lanes.filter((lane) => lane.sealedTo !== undefined) }));
  return { exactness: 'validated', fences: sealed, fallback: fences, openLanes };
}

function fenceAllLanes({ lanes, pin }: ReadSnapshot): Fence {
  if (lanes === undefined) return { lanes: [] };
  if (pin === undefined) return { lanes, below: lanes.length };
  const pinned = pin.lanes.map(([lane, , seq]) => ({
    lane,
    watermark: Math.min(seq, requireLane(lanes, lane).watermark),
  }));
  return { lanes: pinned, below: pinned.length };
}

/**
 * Whether no flush began on the open lanes since the snapshots. ClickHouse is asked too: a buffer that failed over has
 * forgotten flushes, whose rows lie beyond the watermark.
 */
export async function areUnchanged(
  ctx: QueryDeps,
  snapshots: ReadSnapshot[],
  openLanes: LaneSnapshot[][],
): Promise<boolean> {
  const lookups = Promise.all([
    Promise.all(snapshots.map(({ table }) => snapshotTable(ctx, table, 'state'))),
    Promise.all(snapshots.map(({ table }, n) => hasRowsBeyondWatermarks(ctx, table, openLanes[n] ?? []))),
  ]);
  const [states, beyond]: [(Snapshot | 'unknown')[], boolean[]] = await lookups.catch((error) => {
    // The fenced read needs neither store for validation: an unavailable store only costs the second read.
    if (!(error instanceof StoreError || error instanceof ClickHouseError)) throw error;
    ctx.log({ event: 'validation-failed', ...describeError(error) });
    return [[], []];
  });
  return (
    states.length === snapshots.length &&
    !beyond.includes(true) &&
    states.every((after, i) => {
      if (after === 'unknown' || after.lanes.length !== snapshots[i]?.lanes?.length) return false;
      return openLanes[i]?.every((lane) => isUnchanged(lane, after));
    })
  );
}

function isUnchanged(before: LaneSnapshot, { lanes }: Snapshot): boolean {
  const after = lanes[before.lane];
  return after !== undefined && after.epoch === before.epoch && after.incarnation === before.incarnation;
}
