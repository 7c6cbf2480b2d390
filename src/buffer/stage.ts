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
/** For what is written down of rows that were accepted before: refused at the memory limit, those would never leave. */
const ownScript = script(`#!lua flags=allow-oom\n${stageLua}`);

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

export type StageRequest = {
  lane: number;
  /** As the client sent it, or one of our own making. */
  idempotencyKey: string;
  /** Of the request as it came, decompressed, before normalisation. */
  requestHash: string;
  batch: Batch;
  plan: ChunkPlan;
  /** Of the first chunk: what the whole request needs room for. Of the others: until when the first is remembered. */
  place: { first: { rows: number; bytes: number } } | { until_ms: number };
  /** How long its key is remembered; as long as a client's, if left out. */
  life_ms?: number | undefined;
  /** What was said of the rows as a whole, as canonical JSON; '' for nothing. */
  meta: string;
  /** Whether the buffer's replicas must have it, where there are any. */
  durable: boolean;
  /** Of a row in quarantine that is sent again. */
  replay?: Replay | undefined;
  /**
   * Whether these say what has become of rows that were accepted before: those count, so that neither a limit of the memory
   * nor a quota refuses what is said of them.
   */
  isOwn?: boolean;
};

/** Where a batch is: what its receipt and the token of its answer are made of. */
export type StagedBatch = {
  batchId: string;
  rows: number;
  lane: number;
  incarnation: string;
  seq: number;
  receivedAt_ms: number;
  plan: ChunkPlan;
};

/** What waits in the lane, the batch included, for how long its oldest has, and whether it is being flushed. */
export type Pending = { rows: number; bytes: number; age_ms: number; isFlushed: boolean };

export type StageOutcome =
  | { outcome: 'staged'; batch: StagedBatch; until_ms: number; pending: Pending; quota: QuotaLeft | undefined }
  /** `until_ms`, and how long that is: only of a request that was cut. */
  | { outcome: 'replayed'; batch: StagedBatch; until_ms: number; left_ms: number }
  /** `fenced`: another replay has the turn. */
  | { outcome: 'reused' | 'unknown' | 'fenced' }
  | { outcome: 'expired' }
  /** The keys that are remembered of the dataset take as much as they may, or the buffer is nearly full. */
  | { outcome: 'keys'; bytes: number; lapseIn_ms: number; full: 'limit' | 'memory' }
  | { outcome: 'frozen'; state: State }
  /** The dataset would have taken more than it may; what is left is too little for the request. */
  | { outcome: 'quota'; exceeded: keyof Quota; quota: QuotaLeft }
  /** The table has another number of lanes: `lanes` that writers choose among, `readLanes` that readers look at. */
  | { outcome: 'lanes'; lanes: number; readLanes: number }
  /** `lane` is full by its own limits, `memory` is that of the whole buffer. */
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
 * Puts one batch into the hot buffer, in one step: all of it or nothing.
 *
 * @throws StoreError when Redis is away, or its replicas do not have the batch in time; it may be there then, and the
 *   same key finds out
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
    margin_ms: marginOf(life_ms).chunk_ms,
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
      // A server that refuses the script as a whole: nothing is known of the lane then.
      if (isMemoryRefusal(error)) return ['full', 0, 0, '', 'memory', ''] satisfies Reply;
      throw error;
    }
  };
  let reply: Reply = await run();
  // What is known of the memory may be out of date: rows have left since, and keys were forgotten.
  if (reply[0] === 'full' && Number(reply[5]) > measured_ms) {
    await measureMemory(ctx);
    reply = await run();
  }
  switch (reply[0]) {
    case 'staged': {
      const [, , , , , , , , until_ms, pendingRows, pendingBytes, oldest_ms, leases, left] = reply;
      const batch = batchOf(reply);
      const age_ms = batch.receivedAt_ms - oldest_ms;
      const pending = { rows: pendingRows, bytes: pendingBytes, age_ms, isFlushed: leases === 1 };
      return { outcome: 'staged', batch, until_ms, pending, quota: left === '' ? undefined : quotaLeft(left) };
    }
    case 'frozen':
      return { outcome: 'frozen', state: reply[1] };
    case 'quota':
      return { outcome: 'quota', exceeded: reply[1], quota: quotaLeft(reply[2]) };
    case 'replayed':
      return { outcome: 'replayed', batch: batchOf(reply), until_ms: Number(reply[8]), left_ms: Number(reply[9]) };
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
 * How long before a key is forgotten a request that was cut is not completed any more: chunks that are staged later could
 * not be asked for again. The whole of it stops earlier, so that its last chunks can still come.
 */
export function marginOf(life_ms: number): { request_ms: number; chunk_ms: number } {
  const request_ms = Math.min(60_000, Math.floor(life_ms / 8));
  return { request_ms, chunk_ms: Math.floor(request_ms / 2) };
}

/** Also when it was staged before: the replicas may have been missing then. */
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

function batchOf(reply: ['staged' | 'replayed', ...Where, ...unknown[]]): StagedBatch {
  const [, batchId, rows, incarnation, seq, receivedAt_ms, plan, lane] = reply;
  return { batchId, rows, lane, incarnation, seq, receivedAt_ms, plan: parsePlan(plan || String(rows)) };
}
