import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { runScript, script } from './redis.ts';
import snapshotLua from './snapshot.lua';

const snapshotScript = script(snapshotLua);

/** A batch of the tail. The payload's rows begin with `{"_row":`, one a line. */
export type TailBatch = {
  seq: number;
  id: string;
  rows: number;
  receivedAt_ms: number;
  timeMax_ms: number;
  payload: string;
};

export type LaneSnapshot = {
  lane: number;
  incarnation: string;
  /** The newest acknowledged sequence, and the newest that ClickHouse has for certain. */
  seq: number;
  watermark: number;
  epoch: number;
  /** The end of the seal under way. */
  sealedTo: number | undefined;
  pendingRows: number;
  oldest_ms: number | undefined;
  /** The newest that rows were staged with, flushed or not: what a reader must know to see all their fields. */
  schemaVersion: number;
  tail: TailBatch[];
};

/** All lanes of a table at one moment of the hot buffer. */
export type Snapshot = { now_ms: number; tail: 'ready' | 'too-large' | 'skipped'; lanes: LaneSnapshot[] };

type BatchReply = [seq: number, id: string, rows: number, at: string, hi: string, payload: string];
type LaneReply = [string, number, number, number, string, number, string, number, BatchReply[]];
type Reply = ['unknown', number] | [number, Snapshot['tail'], ...LaneReply[]];

/**
 * Reads all lanes of a table in one step, on the primary.
 *
 * @param want `entries` with the tail's rows, `state` without them
 * @returns 'unknown' when a lane has no state: it has to be set up before anything is known of it
 * @throws StoreError when Redis is away
 */
export async function snapshotTable(
  ctx: Context,
  table: Table,
  want: 'entries' | 'state',
): Promise<Snapshot | 'unknown'> {
  const { keys, config } = ctx;
  const lanes = Array.from({ length: table.lanes }, (_, lane) => lane);
  const reply = await runScript<Reply>(
    ctx.redis,
    snapshotScript,
    lanes.flatMap((lane) => [keys.state(table, lane), keys.log(table, lane)]),
    [want, config.limits.tail_rows_max, config.limits.tail_bytes_max],
  );
  if (reply[0] === 'unknown') return 'unknown';
  const [now_ms, tail, ...rest] = reply as [number, Snapshot['tail'], ...LaneReply[]];
  return { now_ms, tail, lanes: rest.map(laneOf) };
}

function laneOf(reply: LaneReply, lane: number): LaneSnapshot {
  const [incarnation, seq, watermark, epoch, sealedTo, pendingRows, oldest, schemaVersion, batches] = reply;
  return {
    lane,
    incarnation,
    seq,
    watermark,
    epoch,
    sealedTo: sealedTo === '' ? undefined : Number(sealedTo),
    pendingRows,
    oldest_ms: oldest === '' ? undefined : Number(oldest),
    schemaVersion,
    tail: batches.map(([seq, id, rows, at, hi, payload]) => ({
      seq,
      id,
      rows,
      receivedAt_ms: Number(at),
      timeMax_ms: Number(hi),
      payload,
    })),
  };
}
