import { StoreError } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import type { State } from '../schema/table-state.ts';
import { isMemoryRefusal, type Keys, runScript, runScriptAndWait } from '../stores/redis/client.ts';
import { dueMember } from '../stores/redis/keys.ts';
import { inOrder, type Script, script } from '../stores/redis/script.ts';
import { type ChunkPlan, encodePlan, parsePlan } from './chunk-plan.ts';
import type { BufferDeps } from './deps.ts';
import { newBatchId, shortHash } from './idempotency-lookup.ts';
import stageLua from './lua/stage.lua';
import { measured_ms, measureMemory } from './memory.ts';
import { type Quota, type QuotaLeft, type QuotaReply, quotaLeft } from './quota.ts';
import type { Replay } from './replays.ts';

const stageScript = script(stageLua);
/** For records about accepted rows: at the memory limit such rows could never leave the buffer without them. */
const ownScript = script(`#!lua flags=allow-oom\n${stageLua}`);

/** The rows of one chunk. */
export type Batch = {
  /** NDJSON; every row begins with its index in the batch: `{"_row":0,…}`. */
  payload: string;
  rows: number;
  timeMin_ms: number;
  timeMax_ms: number;
  /** The distinct partition windows of the rows. */
  windows: number[];
};

export type StageRequest = {
  lane: number;
  /** Key of the client, or a generated one. */
  idempotencyKey: string;
  /** Hash of the decompressed body, before normalisation. */
  requestHash: string;
  batch: Batch;
  plan: ChunkPlan;
  /** First chunk: size of the whole request. Other chunks: expiry of the key of the first chunk. */
  place: { first: { rows: number; bytes: number } } | { until_ms: number };
  /** Lifetime of the key. Default: `idempotency_ms`. */
  life_ms?: number | undefined;
  /** Metadata of the batch as JSON, or ''. */
  meta: string;
  /** Wait until the configured replicas have the batch. */
  durable: boolean;
  /** Set for a quarantined row that is sent again. */
  replay?: Replay | undefined;
  /**
   * Set for records about rows that were accepted before, such as their quarantine. Neither a memory limit nor a quota rejects
   * them, because the rows themselves have been counted.
   */
  isOwn?: boolean;
};

/** The position of a batch, from which its batch id and watermark token are made. */
export type StagedBatch = {
  batchId: string;
  rows: number;
  lane: number;
  incarnation: string;
  seq: number;
  receivedAt_ms: number;
  plan: ChunkPlan;
};

/** Pending rows of the lane including the batch, the age of the oldest, and whether a flush holds the lane. */
export type Pending = { rows: number; bytes: number; age_ms: number; isFlushed: boolean };

export type StageOutcome =
  | { outcome: 'staged'; batch: StagedBatch; until_ms: number; pending: Pending; quota: QuotaLeft | undefined }
  /** `until_ms` and `left_ms` are meaningful for a split request only. */
  | { outcome: 'replayed'; batch: StagedBatch; until_ms: number; left_ms: number }
  /** `fenced`: another replay has the turn. */
  | { outcome: 'reused' | 'unknown' | 'fenced' }
  | { outcome: 'expired' }
  /** The idempotency keys of the dataset have reached their memory limit, or the buffer is nearly full. */
  | { outcome: 'keys'; bytes: number; lapseIn_ms: number; full: 'limit' | 'memory' }
  | { outcome: 'frozen'; state: State }
  /** The request exceeds the rest of the dataset's quota. */
  | { outcome: 'quota'; exceeded: keyof Quota; quota: QuotaLeft }
  /** The table has another number of lanes: `lanes` for writers, `readLanes` for readers. */
  | { outcome: 'lanes'; lanes: number; readLanes: number }
  /** `lane`: the lane has reached its limits; `memory`: the whole buffer has. */
  | {
      outcome: 'full';
      full: 'lane' | 'memory';
      pending: { rows: number; bytes: number };
      drainedRowsPerSecond: number | undefined;
    };

type Where = [string, number, string, number, number, string, number];
type Reply =
  | ['staged', ...Where, number, number, number, number, 0 | 1, QuotaReply | '']
  | ['replayed', ...Where, number | '', number | '']
  | ['reused' | 'unknown' | 'expired' | 'fenced']
  | ['keys', number, number, 'limit' | 'memory']
  | ['frozen', State]
  | ['quota', keyof Quota, QuotaReply]
  | ['lanes', number, number]
  | ['full', number, number, number | '', 'lane' | 'memory', number | ''];

/**
 * Puts one batch into the hot buffer atomically.
 *
 * @throws StoreError if Redis is unavailable, or if its replicas do not have the batch in time. The batch may be stored then: a
 *   retry with the same key finds it.
 */
export async function stageBatch(ctx: BufferDeps, table: Table, request: StageRequest): Promise<StageOutcome> {
  const { keys, config } = ctx;
  const { lane, place } = request;
  const room = 'first' in place ? place.first : undefined;
  const isDurable = request.durable && config.BUFFER_WAIT_REPLICAS > 0;
  const stageKeys = {
    state: keys.state(table, lane),
    log: keys.log(table, lane),
    key: keys.idem(table, request.idempotencyKey),
    due: keys.due,
    firstState: keys.state(table, 0),
    lease: keys.lease(table, lane),
    quota: keys.quota(table.dataset),
    remembered: keys.remembered(table.dataset),
    memory: keys.memory,
    replays: request.replay && keys.replays(request.replay.quarantine),
  };
  const { limits } = config;
  const life_ms = request.life_ms ?? limits.idempotency_ms;
  const isCut = request.plan.rows.length > 1 || request.plan.quarantined.length > 0;
  const known = request.isOwn ? ownScript : stageScript;
  const header = inOrder<string | number>(known.header, {
    requestHash: shortHash(request.requestHash),
    remember_ms: life_ms,
    batchId: newBatchId(),
    rows: request.batch.rows,
    cells: request.batch.rows * table.schema.fields.length,
    schemaVersion: table.schema.version,
    timeMin_ms: request.batch.timeMin_ms,
    timeMax_ms: request.batch.timeMax_ms,
    windows: request.batch.windows.join(','),
    pending_rows_max: limits.pending_rows_max,
    pending_bytes_max: limits.pending_bytes_max,
    dueMember: dueMember(table, lane),
    request_rows: room?.rows ?? '',
    request_bytes: room?.bytes ?? '',
    plan: 'first' in place && isCut ? encodePlan(request.plan) : '',
    until_ms: 'until_ms' in place ? place.until_ms : '',
    lane,
    lanes: table.lanes,
    meta: request.meta,
    isDurable: isDurable ? '1' : '',
    margin_ms: retryMargin(life_ms).chunk_ms,
    buffer_bytes_max: config.BUFFER_BYTES_MAX ?? '',
    idempotency_bytes_max: request.isOwn ? '' : limits.idempotency_bytes_max,
    idempotency_bytes_min: request.isOwn ? '' : limits.idempotency_bytes_min,
    replayRow: request.replay?.id ?? '',
    replayTurn: request.replay?.turn ?? '',
  });
  // The payload follows the JSON array, so that nothing has to escape it.
  const args = { request: `${JSON.stringify(header.map(String))}\n${request.batch.payload}` };
  const run = async () => {
    try {
      return await (isDurable
        ? staged(ctx, known, stageKeys, args)
        : runScript<Reply>(ctx.redis, known, stageKeys, args));
    } catch (error) {
      // The server rejected the whole script, so the numbers of the lane are unknown.
      if (isMemoryRefusal(error)) return ['full', 0, 0, '', 'memory', ''] satisfies Reply;
      throw error;
    }
  };
  let reply: Reply = await run();
  // The measured memory use may be outdated: rows have left and keys have expired since.
  if (reply[0] === 'full' && Number(reply[5]) > measured_ms) {
    await measureMemory(ctx);
    reply = await run();
  }
  switch (reply[0]) {
    case 'staged': {
      const [, , , , , , , , until_ms, pendingRows, pendingBytes, oldest_ms, leases, left] = reply;
      const batch = parseStagedBatch(reply);
      const age_ms = batch.receivedAt_ms - oldest_ms;
      const pending = { rows: pendingRows, bytes: pendingBytes, age_ms, isFlushed: leases === 1 };
      return { outcome: 'staged', batch, until_ms, pending, quota: left === '' ? undefined : quotaLeft(left) };
    }
    case 'frozen':
      return { outcome: 'frozen', state: reply[1] };
    case 'quota':
      return { outcome: 'quota', exceeded: reply[1], quota: quotaLeft(reply[2]) };
    case 'replayed':
      return {
        outcome: 'replayed',
        batch: parseStagedBatch(reply),
        until_ms: Number(reply[8]),
        left_ms: Number(reply[9]),
      };
    case 'keys':
      return { outcome: 'keys', bytes: reply[1], lapseIn_ms: reply[2], full: reply[3] };
    case 'lanes':
      return { outcome: 'lanes', lanes: reply[1], readLanes: reply[2] };
    case 'full':
      return {
        outcome: 'full',
        full: reply[4],
        pending: { rows: reply[1], bytes: reply[2] },
        drainedRowsPerSecond: reply[3] === '' ? undefined : Number(reply[3]),
      };
    default:
      return { outcome: reply[0] };
  }
}

/**
 * How long before the expiry of its key a split request is no longer completed, because later chunks could not be retried. The
 * margin for the request is larger than for its chunks, so that a request in progress can finish.
 */
export function retryMargin(life_ms: number): { request_ms: number; chunk_ms: number } {
  const request_ms = Math.min(60_000, Math.floor(life_ms / 8));
  return { request_ms, chunk_ms: Math.floor(request_ms / 2) };
}

/** Waits for replicas also on a retry, because they may have been unavailable at the first attempt. */
async function staged(ctx: BufferDeps, known: Script, keys: Keys, args: { request: string }): Promise<Reply> {
  const needed = ctx.config.BUFFER_WAIT_REPLICAS;
  const { reply, replicas } = await runScriptAndWait<Reply>(ctx.redis, known, keys, args, {
    replicas: needed,
    timeout_ms: ctx.config.limits.replicas_timeout_ms,
  });
  const isThere = reply[0] === 'staged' || reply[0] === 'replayed';
  if (isThere && replicas < needed) {
    throw new StoreError('redis', `has the rows on ${replicas} of ${needed} replicas so far`, undefined);
  }
  return reply;
}

function parseStagedBatch(reply: ['staged' | 'replayed', ...Where, ...unknown[]]): StagedBatch {
  const [, batchId, rows, incarnation, seq, receivedAt_ms, plan, lane] = reply;
  return { batchId, rows, lane, incarnation, seq, receivedAt_ms, plan: parsePlan(plan || String(rows)) };
}
