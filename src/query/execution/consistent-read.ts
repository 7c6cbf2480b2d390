import { type LaneSnapshot, laneIn, type Snapshot, snapshotTable } from '../../buffer/snapshot.ts';
import { hasRowsBeyondWatermarks } from '../../catalog/rows-beyond.ts';
import { StoreError } from '../../core/errors.ts';
import { describeError } from '../../core/log.ts';
import { ClickHouseError } from '../../stores/clickhouse/client.ts';
import type { QueryDeps } from '../deps.ts';
import type { ReadSnapshot } from './read-snapshot.ts';

/**
 * Rows of these lanes count only up to these sequences. With `below`, rows of other lanes do not count at all: a lane may
 * have come since.
 */
export type Fence = { lanes: { lane: number; watermark: number }[]; below?: number };

/** How an answer was kept to one cut. `none`: it was not, since the hot buffer was not read. */
export type Exactness = 'fenced' | 'validated' | 'none';

/**
 * Runs a read so that a flush in the middle of it cannot show.
 *
 * Fenced: only rows up to each lane's watermark count. Validated: only lanes with a seal are fenced, which reads less,
 * and afterwards the others are proved to have had no seal meanwhile: a flush that has not begun when the answer is
 * complete has inserted nothing. And ClickHouse is asked for rows of theirs beyond the watermark, which a buffer that
 * failed over has forgotten. Otherwise the read runs again, fenced everywhere.
 *
 * @param isCheap whether a fence costs less than the question that validates
 * @param run answers undefined when it cannot be complete before it is given out, and so cannot be validated
 */
export async function runConsistently<Answer>(
  ctx: QueryDeps,
  cuts: ReadSnapshot[],
  isCheap: boolean,
  run: (fences: Fence[], isLast: boolean) => Promise<Answer | undefined>,
): Promise<{ answer: Answer; exactness: Exactness }> {
  const fences = cuts.map(fenceOf);
  const last = async (exactness: Exactness) => {
    const answer = await run(fences, true);
    if (answer === undefined) throw new Error('a fenced read has an answer');
    return { answer, exactness };
  };
  if (cuts.some(({ lanes }) => lanes === undefined)) return await last('none');
  const open = cuts.map(({ lanes = [] }) => lanes.filter((lane) => lane.sealedTo === undefined));
  const mustFence = cuts.some(({ pin }) => pin !== undefined) || open.every((lanes) => lanes.length === 0);
  if (isCheap || mustFence) return await last('fenced');

  const answer = await run(
    cuts.map(({ lanes = [] }) => ({ lanes: lanes.filter((lane) => lane.sealedTo !== undefined) })),
    false,
  );
  if (answer !== undefined && (await areUnchanged(ctx, cuts, open))) return { answer, exactness: 'validated' };
  ctx.log({ event: 'query-fenced', tables: cuts.map(({ table }) => `${table.dataset}.${table.name}`) });
  return await last('fenced');
}

/** On every lane. */
function fenceOf({ lanes, pin }: ReadSnapshot): Fence {
  if (lanes === undefined) return { lanes: [] };
  if (pin === undefined) return { lanes, below: lanes.length };
  const pinned = pin.lanes.map(([lane, , seq]) => ({ lane, watermark: Math.min(seq, laneIn(lanes, lane).watermark) }));
  return { lanes: pinned, below: pinned.length };
}

async function areUnchanged(ctx: QueryDeps, cuts: ReadSnapshot[], open: LaneSnapshot[][]): Promise<boolean> {
  const asked = Promise.all([
    Promise.all(cuts.map(({ table }) => snapshotTable(ctx, table, 'state'))),
    Promise.all(cuts.map(({ table }, n) => hasRowsBeyondWatermarks(ctx, table, open[n] ?? []))),
  ]);
  const [states, beyond]: [(Snapshot | 'unknown')[], boolean[]] = await asked.catch((error) => {
    // The fenced read that follows needs neither answer: a store that stops meanwhile costs time, and no answer.
    if (!(error instanceof StoreError || error instanceof ClickHouseError)) throw error;
    ctx.log({ event: 'validation-failed', ...describeError(error) });
    return [[], []];
  });
  return (
    states.length === cuts.length &&
    !beyond.includes(true) &&
    states.every((after, i) => {
      if (after === 'unknown' || after.lanes.length !== cuts[i]?.lanes?.length) return false;
      return open[i]?.every((lane) => isUnchanged(lane, after));
    })
  );
}

function isUnchanged(before: LaneSnapshot, { lanes }: Snapshot): boolean {
  const after = lanes[before.lane];
  return after !== undefined && after.epoch === before.epoch && after.incarnation === before.incarnation;
}
