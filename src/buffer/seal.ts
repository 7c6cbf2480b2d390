import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { runScript, script } from './redis.ts';
import sealLua from './seal.lua';

const sealScript = script(sealLua);

/** A batch as the hot buffer holds it. The payload's rows begin with `{"_row":`, one a line. */
export type SealedBatch = {
  seq: number;
  id: string;
  receivedAt_ms: number;
  schemaVersion: number;
  payload: string;
};

/** The fixed range that one flush moves, with everything in it. */
export type Seal = {
  epoch: number;
  token: string;
  from: number;
  to: number;
  incarnation: string;
  rows: number;
  bytes: number;
  /** The version of the insert settings that its first insert was sent with: every other one needs the same. */
  settingsVersion: number;
  batches: SealedBatch[];
};

export type SealOutcome =
  | { outcome: 'sealed' | 'taken-over'; seal: Seal }
  | { outcome: 'empty' | 'unknown' }
  | { outcome: 'fenced'; what: 'gap' | 'other-batches' };

type BatchReply = [seq: number, id: string, at: string, version: string, payload: string];
type Reply =
  | ['sealed' | 'taken-over', number, string, number, number, string, number, number, number, BatchReply[]]
  | ['empty' | 'unknown']
  | ['fenced', 'gap' | 'other-batches'];

/** Fixes what to flush next, or takes over what is fixed already. Throws StoreError when Redis is away. */
export async function sealLane(
  ctx: Context,
  table: Table,
  lane: number,
  settingsVersion: number,
): Promise<SealOutcome> {
  const { keys, config } = ctx;
  const { limits } = config;
  const reply = await runScript<Reply>(
    ctx.redis,
    sealScript,
    [keys.state(table, lane), keys.log(table, lane)],
    [
      lane,
      limits.flush_rows_max,
      limits.flush_bytes_max,
      limits.flush_partitions_max,
      limits.flush_cells_max,
      limits.flush_batches_max,
      settingsVersion,
    ],
  );
  switch (reply[0]) {
    case 'fenced':
      return { outcome: 'fenced', what: reply[1] };
    case 'sealed':
    case 'taken-over': {
      const [outcome, epoch, token, from, to, incarnation, rows, bytes, version, batches] = reply;
      return {
        outcome,
        seal: {
          epoch,
          token,
          from,
          to,
          incarnation,
          rows,
          bytes,
          settingsVersion: version,
          batches: batches.map(batchOf),
        },
      };
    }
    default:
      return { outcome: reply[0] };
  }
}

function batchOf([seq, id, at, version, payload]: BatchReply): SealedBatch {
  return { seq, id, receivedAt_ms: Number(at), schemaVersion: Number(version), payload };
}
