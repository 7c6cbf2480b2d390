import { StoreError } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import { pageBytes, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import { type BatchReply, type BufferedBatch, bufferedBatch } from './buffered-batch.ts';
import type { BufferDeps } from './deps.ts';
import snapshotLua from './lua/snapshot.lua';
import type { CachedTails } from './tail-cache.ts';
import { tailCache } from './tail-cache.ts';

const snapshotScript = script(snapshotLua);

export type LaneSnapshot = {
  lane: number;
  incarnation: string;
  /** The newest acknowledged sequence, and the newest sequence that ClickHouse has for certain. */
  seq: number;
  watermark: number;
  /**
   * Times of acknowledgement of these two batches. They distinguish them from other batches that had the same sequence. The
   * time in the log takes precedence over the time in the state.
   */
  seqAt_ms: number | undefined;
  watermarkAt_ms: number | undefined;
  epoch: number;
  /** The last sequence of the current seal. */
  sealedTo: number | undefined;
  pendingRows: number;
  pendingBytes: number;
  oldest_ms: number | undefined;
  /** The newest schema version of staged rows, flushed or not. A reader needs it to see all fields. */
  schemaVersion: number;
  /** The latest event time of the lane's rows in ClickHouse; undefined if unknown. */
  flushedTo_ms: number | undefined;
  tail: BufferedBatch[];
};

/** A lane of a snapshot. A missing lane is an error, because an empty or flushed lane would hide its rows. Throws StoreError. */
export function requireLane(lanes: LaneSnapshot[], lane: number): LaneSnapshot {
  const found = lanes[lane];
  if (found === undefined) throw new StoreError('redis', `does not know lane ${lane} of the table`, undefined);
  return found;
}

/** All lanes of a table, read atomically. */
export type Snapshot = {
  now_ms: number;
  tail: 'ready' | 'too-large' | 'skipped';
  /** Number of changes of stored rows (deletions, corrections, rows omitted by a flush); undefined during a change. */
  changes: number | undefined;
  lanes: LaneSnapshot[];
};

type LaneReply = [
  string,
  number,
  number,
  number,
  string,
  number,
  number,
  string,
  number,
  string,
  first: number,
  batches: BatchReply[],
  at: string,
  watermarkAt: string,
];
type SnapshotReply = [now_ms: number, tail: Snapshot['tail'] | 'more', ...LaneReply[], changes: number];
type Reply = ['unknown', number] | ['lanes', number, number] | SnapshotReply;

/** The number of lanes may change between two reads. */
const rounds_max = 5;
/** Replies with a part of the tail. */
const pages_max = 50;

/**
 * Reads all lanes of a table atomically, on the primary. Redis does not send cached batches again: they are valid if the newest
 * cached batch is still in the log and the batches follow the watermark without a gap. A tail that is too long for one reply
 * is read in several steps in this way; the last step is the snapshot.
 *
 * @param want `entries` with the rows of the tail, `state` without them
 * @returns 'unknown' if a lane has no state and must be set up
 * @throws StoreError if Redis is unavailable
 */
export async function snapshotTable(
  ctx: BufferDeps,
  table: Table,
  want: 'entries' | 'state',
): Promise<Snapshot | 'unknown'> {
  let { readLanes } = table;
  let kept = want === 'entries' ? tailCache(ctx).of(table) : undefined;
  for (let round = 0, pages = 0; round < rounds_max && pages < pages_max; ) {
    const reply = await requestSnapshot(ctx, table, readLanes, want, kept);
    if (reply[0] === 'unknown') return 'unknown';
    if (reply[0] === 'lanes') {
      readLanes = reply[2];
      kept = undefined;
      round += 1;
      continue;
    }
    const [now_ms, tail] = reply as SnapshotReply;
    const replies = reply.slice(2, -1) as LaneReply[];
    const changes = Number(reply.at(-1));
    const lanes = replies.map((lane, number) => parseLane(lane, number, kept?.get(number)));
    if (tail === 'more') {
      kept = new Map(lanes.map((lane) => [lane.lane, lane.tail]));
      pages += 1;
      continue;
    }
    if (tail === 'ready' && !lanes.every(isGapless)) {
      // The cached batches belong to another incarnation of the lane: read the whole tail.
      kept = undefined;
      round += 1;
      continue;
    }
    if (tail === 'ready') tailCache(ctx).keep(table, lanes);
    return { now_ms, tail, lanes, changes: changes < 0 ? undefined : changes };
  }
  throw new StoreError('redis', `kept changing the lanes of table ${table.name}`, undefined);
}

async function requestSnapshot(
  ctx: BufferDeps,
  table: Table,
  count: number,
  want: 'entries' | 'state',
  kept: CachedTails | undefined,
): Promise<Reply> {
  const { keys, config } = ctx;
  const lanes = Array.from({ length: count }, (_, lane) => lane);
  return await runScript<Reply>(
    ctx.redis,
    snapshotScript,
    { lanes: lanes.flatMap((lane) => [keys.state(table, lane), keys.log(table, lane)]) },
    {
      want,
      tail_rows_max: config.limits.tail_rows_max,
      tail_bytes_max: config.limits.tail_bytes_max,
      reply_bytes_max: pageBytes(config.limits),
      newest: lanes.flatMap((lane) => {
        const newest = kept?.get(lane)?.at(-1);
        return [newest?.seq ?? 0, newest?.id ?? ''];
      }),
    },
  );
}

function parseLane(reply: LaneReply, lane: number, kept: BufferedBatch[] = []): LaneSnapshot {
  const [incarnation, seq, watermark, epoch, sealedTo, pendingRows, pendingBytes, oldest, schemaVersion, flushedTo] =
    reply;
  const [first, batches, at, watermarkAt] = reply.slice(10) as [number, BatchReply[], string, string];
  const known = kept.filter(({ seq: number }) => number > watermark && number < first);
  const tail = [...known, ...batches.map(bufferedBatch)];
  const watermarkAt_ms = receivedAt(watermarkAt, watermark);
  const newestAt_ms = seq === watermark ? watermarkAt_ms : tail.find((batch) => batch.seq === seq)?.receivedAt_ms;
  return {
    lane,
    incarnation,
    seq,
    watermark,
    seqAt_ms: newestAt_ms ?? receivedAt(at, seq),
    watermarkAt_ms,
    epoch,
    sealedTo: sealedTo === '' ? undefined : Number(sealedTo),
    pendingRows,
    pendingBytes,
    oldest_ms: oldest === '' ? undefined : Number(oldest),
    schemaVersion,
    // A lane with watermark 0 has never been flushed.
    flushedTo_ms: watermark === 0 ? Number.NEGATIVE_INFINITY : flushedTo === '' ? undefined : Number(flushedTo),
    tail,
  };
}

/** Undefined if the time belongs to another sequence: older versions do not update it. */
function receivedAt(text: string, seq: number): number | undefined {
  const [of, at_ms = ''] = text.split(':');
  return Number(of) === seq && at_ms !== '' ? Number(at_ms) : undefined;
}

function isGapless({ watermark, seq, tail }: LaneSnapshot): boolean {
  return tail.length === seq - watermark && tail.every((batch, i) => batch.seq === watermark + 1 + i);
}
