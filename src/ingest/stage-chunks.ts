import { hash } from 'node:crypto';
import { encodePlan } from '../buffer/chunk-plan.ts';
import { findKeyedBatches } from '../buffer/idempotency-lookup.ts';
import type { QuotaLeft } from '../buffer/quota.ts';
import type { Replay } from '../buffer/replays.ts';
import { marginOf, type Pending, type StagedBatch, type StageOutcome, stageBatch } from '../buffer/stage.ts';
import type { PreparedRows } from '../schema/prepare.ts';
import type { Table } from '../schema/table.ts';
import type { IngestDeps } from './deps.ts';
import { bytesOf, cutBatches, planChunks } from './split-batches.ts';

export type ChunksOutcome =
  | {
      outcome: 'accepted';
      /** One a chunk, in order. */
      batches: StagedBatch[];
      /** Nothing was stored now: all of it was accepted before. */
      replayed: boolean;
      /** What the lane holds after the last chunk that was stored. */
      pending: Pending | undefined;
      /** What the dataset may take after it, where it has limits. */
      quota: QuotaLeft | undefined;
    }
  | (Extract<StageOutcome, { outcome: 'full' }> & { needs: { rows: number; bytes: number } })
  /** Too late to complete it: its chunks will be forgotten before they could be asked for again. */
  | { outcome: 'expired'; stored: number }
  | Exclude<StageOutcome, { outcome: 'staged' | 'replayed' | 'full' | 'expired' }>;

export type ChunksRequest = {
  idempotencyKey: string;
  requestHash: string;
  meta: string;
  durable: boolean;
  isOwn?: boolean;
  /** Of a row in quarantine that is sent again. */
  replay?: Replay | undefined;
  /** How long its keys are remembered; as long as a client's, if left out. */
  life_ms?: number | undefined;
  /** The rows again, without those that went into quarantine when the request came first. */
  prepareAgain: (quarantined: number[]) => PreparedRows;
};

/**
 * Stages the rows of a request, in chunks where they are too many for one step. The first chunk is under the request's
 * own key, with the plan that all are cut by and after room for all was found; the others are under keys that no client
 * can send. Dying in between, the same request completes it.
 *
 * @param rows whose lines are taken out on the way
 *
 * @throws StoreError when Redis is away
 */
export async function stageChunks(
  ctx: IngestDeps,
  table: Table,
  rows: PreparedRows,
  { idempotencyKey, requestHash, meta, durable, isOwn = false, replay, life_ms, prepareAgain }: ChunksRequest,
): Promise<ChunksOutcome> {
  const lane = laneOf(idempotencyKey, table.lanes);
  let plan = planChunks(rows, ctx.config.limits.chunk_bytes_max);
  let chunks = cutBatches(rows, plan, table.window);
  const needs = { rows: rows.lines.length, bytes: bytesOf(rows) + meta.length * plan.rows.length };
  const { value: first } = chunks.next();
  if (first === undefined) throw new RangeError('a request without rows has no chunks');
  const request = { lane, requestHash, meta, durable, isOwn, replay, life_ms };
  const place = { first: needs };
  const begun = await stageBatch(ctx, table, { ...request, idempotencyKey, batch: first, plan, place });
  if (begun.outcome === 'full') return { ...begun, needs };
  if (begun.outcome === 'expired') throw new RangeError('the first chunk of a request is not late for another one');
  if (begun.outcome !== 'staged' && begun.outcome !== 'replayed') return begun;

  const accepted = {
    outcome: 'accepted' as const,
    batches: [begun.batch],
    replayed: begun.outcome === 'replayed',
    pending: begun.outcome === 'staged' ? begun.pending : undefined,
    quota: begun.outcome === 'staged' ? begun.quota : undefined,
  };
  const { request_ms } = marginOf(life_ms ?? ctx.config.limits.idempotency_ms);
  if (begun.outcome === 'replayed' && begun.batch.plan.rows.length > 1 && begun.left_ms <= request_ms) {
    return await recallChunks(ctx, table, idempotencyKey, begun.batch);
  }
  // Cut as it was at first, whatever the limits and the schema were then.
  if (begun.outcome === 'replayed' && encodePlan(begun.batch.plan) !== encodePlan(plan)) {
    plan = begun.batch.plan;
    if (plan.rows.length > 1) {
      chunks = cutBatches(prepareAgain(plan.quarantined), plan, table.window);
      chunks.next();
    }
  }
  for (let n = 1; n < plan.rows.length; n += 1) {
    const { value: batch } = chunks.next();
    if (batch === undefined) throw new RangeError(`a request that is cut into ${plan.rows.length} has a chunk ${n}`);
    const staged = await stageBatch(ctx, table, {
      ...request,
      idempotencyKey: keyOfChunk(n, idempotencyKey),
      batch,
      plan,
      place: { until_ms: begun.until_ms },
    });
    // Room in the lane was found for all chunks with the first; the buffer's memory may end in between.
    if (staged.outcome === 'full') return { ...staged, needs };
    if (staged.outcome === 'expired') return { outcome: 'expired', stored: rowsOf(accepted.batches) };
    if (staged.outcome !== 'staged' && staged.outcome !== 'replayed') return staged;
    accepted.batches.push(staged.batch);
    if (staged.outcome === 'staged') {
      accepted.replayed = false;
      accepted.pending = staged.pending;
    }
  }
  return accepted;
}

/** A request that comes again shortly before its key is forgotten: nothing of it is staged any more. */
async function recallChunks(ctx: IngestDeps, table: Table, key: string, first: StagedBatch): Promise<ChunksOutcome> {
  const others = await findKeyedBatches(
    ctx,
    table,
    first.plan.rows.slice(1).map((_, i) => keyOfChunk(i + 1, key)),
  );
  const batches = [first, ...others.filter((batch) => batch !== undefined)];
  if (batches.length < first.plan.rows.length) return { outcome: 'expired', stored: rowsOf(batches) };
  return { outcome: 'accepted', batches, replayed: true, pending: undefined, quota: undefined };
}

const rowsOf = (batches: StagedBatch[]) => batches.reduce((sum, { rows }) => sum + rows, 0);

/** No client can send one like it. */
const keyOfChunk = (n: number, key: string) => `chunk:${n}:${key}`;

/** The lane is a function of the key, so that a request is spread by what it is and not by who takes it. */
function laneOf(key: string, lanes: number): number {
  return lanes === 1 ? 0 : hash('sha256', key, 'buffer').readUInt32BE(0) % lanes;
}
