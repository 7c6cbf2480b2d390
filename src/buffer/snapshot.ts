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
  /** The newest acknowledged sequence, and the newest that ClickHouse has for certain. */
  seq: number;
  watermark: number;
  /**
   * When the batches at these two were acknowledged: what tells them from others that had their sequence. Where the batch is
   * there, what it says counts, and not what the state says of it.
   */
  seqAt_ms: number | undefined;
  watermarkAt_ms: number | undefined;
  epoch: number;
  /** The end of the seal under way. */
  sealedTo: number | undefined;
  pendingRows: number;
  pendingBytes: number;
  oldest_ms: number | undefined;
  /** The newest that rows were staged with, flushed or not: what a reader must know to see all their fields. */
  schemaVersion: number;
  /** No row of the lane that is in ClickHouse is later than this; undefined when that is not known. */
  flushedTo_ms: number | undefined;
  tail: BufferedBatch[];
};

/** A lane of a snapshot, which has all of a table. One that it lacks must not be taken for an empty or a flushed one. Throws StoreError. */
export function laneIn(lanes: LaneSnapshot[], lane: number): LaneSnapshot {
  const found = lanes[lane];
  if (found === undefined) throw new StoreError('redis', `does not know lane ${lane} of the table`, undefined);
  return found;
}

/** All lanes of a table at one moment of the hot buffer. */
export type Snapshot = {
  now_ms: number;
  tail: 'ready' | 'too-large' | 'skipped';
  /** Counts changes of stored rows (deletions, corrections, rows that a flush left out); undefined while one is under way. */
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

/** The number of lanes may change between a reply that tells it and the next question. */
const roundsMax = 5;
/** Of replies with a part of the tail. */
const pagesMax = 50;

/**
 * Reads all lanes of a table in one step, on the primary. Batches that this instance has seen are not sent again: they
 * are used if the newest of them is still the log's, in a row from the watermark on. A tail that is too long for one reply
 * comes in several steps in this way, the last of which is the snapshot.
 *
 * @param want `entries` with the tail's rows, `state` without them
 * @returns 'unknown' when a lane has no state: it has to be set up before anything is known of it
 * @throws StoreError when Redis is away
 */
export async function snapshotTable(
  ctx: BufferDeps,
  table: Table,
  want: 'entries' | 'state',
): Promise<Snapshot | 'unknown'> {
  let { readLanes } = table;
  let kept = want === 'entries' ? tailCache(ctx).of(table) : undefined;
  for (let round = 0, pages = 0; round < roundsMax && pages < pagesMax; ) {
    const reply = await readLanesOf(ctx, table, readLanes, want, kept);
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
    const lanes = replies.map((lane, number) => laneOf(lane, number, kept?.get(number)));
    if (tail === 'more') {
      kept = new Map(lanes.map((lane) => [lane.lane, lane.tail]));
      pages += 1;
      continue;
    }
    if (tail === 'ready' && !lanes.every(isGapless)) {
      // What was kept is of another life of the lane: all of it is asked for again.
      kept = undefined;
      round += 1;
      continue;
    }
    if (tail === 'ready') tailCache(ctx).keep(table, lanes);
    return { now_ms, tail, lanes, changes: changes < 0 ? undefined : changes };
  }
  throw new StoreError('redis', `kept changing the lanes of table ${table.name}`, undefined);
}

async function readLanesOf(
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

function laneOf(reply: LaneReply, lane: number, kept: BufferedBatch[] = []): LaneSnapshot {
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
    // A lane that began at 0 and is still there has never been flushed.
    flushedTo_ms: watermark === 0 ? Number.NEGATIVE_INFINITY : flushedTo === '' ? undefined : Number(flushedTo),
    tail,
  };
}

/** Undefined when it is of another sequence: an older version of the functions does not keep it. */
function receivedAt(text: string, seq: number): number | undefined {
  const [of, at_ms = ''] = text.split(':');
  return Number(of) === seq && at_ms !== '' ? Number(at_ms) : undefined;
}

function isGapless({ watermark, seq, tail }: LaneSnapshot): boolean {
  return tail.length === seq - watermark && tail.every((batch, i) => batch.seq === watermark + 1 + i);
}
