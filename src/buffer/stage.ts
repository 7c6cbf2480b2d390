import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import type { PreparedRows } from '../schema/prepare.ts';
import { dueMember } from './keys.ts';
import { runScript, script } from './redis.ts';
import stageLua from './stage.lua';

const stageScript = script(stageLua);

export type StageRequest = {
  lane: number;
  /** As the client sent it, or one of our own making. */
  idempotencyKey: string;
  /** Of the request as it came, decompressed, before normalisation. */
  requestHash: string;
  rows: PreparedRows;
};

/** Where a batch is: what its receipt and the token of its answer are made of. */
export type StagedBatch = { batchId: string; rows: number; incarnation: string; seq: number; receivedAt_ms: number };

export type StageOutcome =
  | { outcome: 'staged'; batch: StagedBatch; pending: { rows: number; bytes: number; oldest_ms: number } }
  | { outcome: 'replayed'; batch: StagedBatch }
  | { outcome: 'reused' | 'unknown' | 'frozen' }
  | { outcome: 'full'; pending: { rows: number; bytes: number }; drainedRowsPerSecond: number | undefined };

type Reply =
  | ['staged', string, number, string, number, number, number, number, number]
  | ['replayed', string, number, string, number, number]
  | ['reused' | 'unknown' | 'frozen']
  | ['full', number, number, number | ''];

/**
 * Puts one batch into the hot buffer, in one step: all of it or nothing.
 *
 * @throws StoreError when Redis is away; the batch may be there then, and the same key finds out
 */
export async function stageBatch(ctx: Context, table: Table, request: StageRequest): Promise<StageOutcome> {
  const { keys, config } = ctx;
  const { lane, rows } = request;
  const reply = await runScript<Reply>(
    ctx.redis,
    stageScript,
    [keys.state(table, lane), keys.log(table, lane), keys.idem(table, request.idempotencyKey), keys.due],
    [
      request.requestHash,
      config.limits.idempotency_ms,
      crypto.randomUUID(),
      rows.rows,
      rows.payload,
      rows.rows * table.schema.fields.length,
      table.schema.version,
      rows.timeMin_ms,
      rows.timeMax_ms,
      rows.windows.join(','),
      config.limits.pending_rows_max,
      config.limits.pending_bytes_max,
      dueMember(table, lane),
    ],
  );
  switch (reply[0]) {
    case 'staged': {
      const [, , , , , , pendingRows, pendingBytes, oldest_ms] = reply;
      const pending = { rows: pendingRows, bytes: pendingBytes, oldest_ms };
      return { outcome: 'staged', batch: batchOf(reply), pending };
    }
    case 'replayed':
      return { outcome: 'replayed', batch: batchOf(reply) };
    case 'full':
      return {
        outcome: 'full',
        pending: { rows: reply[1], bytes: reply[2] },
        drainedRowsPerSecond: reply[3] === '' ? undefined : Number(reply[3]),
      };
    default:
      return { outcome: reply[0] };
  }
}

function batchOf(reply: Extract<Reply, ['staged' | 'replayed', ...unknown[]]>): StagedBatch {
  const [, batchId, rows, incarnation, seq, receivedAt_ms] = reply;
  return { batchId, rows, incarnation, seq, receivedAt_ms };
}
