import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { dueMember } from './keys.ts';
import { runScript, script } from './redis.ts';
import stageLua from './stage.lua';

const stageScript = script(stageLua);

/** The rows of one chunk, as they are staged. */
export type Batch = {
  /** NDJSON; every row begins with its place in the batch: `{"_row":0,…}`. */
  payload: string;
  rows: number;
  timeMin_ms: number;
  timeMax_ms: number;
  /** The distinct partition windows the rows lie in. */
  windows: number[];
};

/** How many rows each chunk of a request has. Kept with its key, so that the same request is always cut in the same way. */
export type ChunkPlan = number[];

export type StageRequest = {
  lane: number;
  /** As the client sent it, or one of our own making. */
  idempotencyKey: string;
  /** Of the request as it came, decompressed, before normalisation. */
  requestHash: string;
  batch: Batch;
  plan: ChunkPlan;
  /** Of the first chunk: what the whole request needs room for. Of the others: when the first was accepted. */
  place: { first: { rows: number; bytes: number } } | { after_ms: number };
};

/** Where a batch is: what its receipt and the token of its answer are made of. */
export type StagedBatch = {
  batchId: string;
  rows: number;
  incarnation: string;
  seq: number;
  receivedAt_ms: number;
  plan: ChunkPlan;
};

/** What waits in the lane, the batch included, and for how long its oldest has. */
export type Pending = { rows: number; bytes: number; age_ms: number };

export type StageOutcome =
  | { outcome: 'staged'; batch: StagedBatch; pending: Pending }
  | { outcome: 'replayed'; batch: StagedBatch }
  | { outcome: 'reused' | 'unknown' | 'frozen' }
  | { outcome: 'full'; pending: { rows: number; bytes: number }; drainedRowsPerSecond: number | undefined };

type Reply =
  | ['staged', string, number, string, number, number, string, number, number, number]
  | ['replayed', string, number, string, number, number, string]
  | ['reused' | 'unknown' | 'frozen']
  | ['full', number, number, number | ''];

/**
 * Puts one batch into the hot buffer, in one step: all of it or nothing.
 *
 * @throws StoreError when Redis is away; the batch may be there then, and the same key finds out
 */
export async function stageBatch(ctx: Context, table: Table, request: StageRequest): Promise<StageOutcome> {
  const { keys, config } = ctx;
  const { lane, place } = request;
  const room = 'first' in place ? place.first : undefined;
  const reply = await runScript<Reply>(
    ctx.redis,
    stageScript,
    [keys.state(table, lane), keys.log(table, lane), keys.idem(table, request.idempotencyKey), keys.due],
    [
      request.requestHash,
      config.limits.idempotency_ms,
      crypto.randomUUID(),
      request.batch.rows,
      request.batch.payload,
      request.batch.rows * table.schema.fields.length,
      table.schema.version,
      request.batch.timeMin_ms,
      request.batch.timeMax_ms,
      request.batch.windows.join(','),
      config.limits.pending_rows_max,
      config.limits.pending_bytes_max,
      dueMember(table, lane),
      room?.rows ?? '',
      room?.bytes ?? '',
      request.plan.join(','),
      'after_ms' in place ? place.after_ms : '',
    ],
  );
  switch (reply[0]) {
    case 'staged': {
      const [, , , , , , , pendingRows, pendingBytes, oldest_ms] = reply;
      const batch = batchOf(reply);
      const pending = { rows: pendingRows, bytes: pendingBytes, age_ms: batch.receivedAt_ms - oldest_ms };
      return { outcome: 'staged', batch, pending };
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
  const [, batchId, rows, incarnation, seq, receivedAt_ms, plan] = reply;
  return { batchId, rows, incarnation, seq, receivedAt_ms, plan: plan.split(',').map(Number) };
}
