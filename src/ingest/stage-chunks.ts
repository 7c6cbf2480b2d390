import { hash } from 'node:crypto';
import { encodePlan } from '../buffer/chunk-plan.ts';
import { findKeyedBatches } from '../buffer/idempotency-lookup.ts';
import type { QuotaLeft } from '../buffer/quota.ts';
import type { Replay } from '../buffer/replays.ts';
import { type Pending, retryMargin, type StagedBatch, type StageOutcome, stageBatch } from '../buffer/stage.ts';
import { assert, assertDefined } from '../core/assert.ts';
import type { PreparedRows } from '../schema/prepare.ts';
import type { Table } from '../schema/table.ts';
import type { IngestDeps } from './deps.ts';
import { cutBatches, estimateBytes, planChunks } from './split-batches.ts';

export type ChunksOutcome =
  | {
      outcome: 'accepted';
      /** One batch per chunk, in order. */
      batches: StagedBatch[];
      /** All chunks were accepted by an earlier request with the same key. */
      replayed: boolean;
      /** Pending rows of the lane after the last stored chunk. */
      pending: Pending | undefined;
      /** The rest of the dataset's quota, if it has one. */
      quota: QuotaLeft | undefined;
    }
  | (Extract<StageOutcome, { outcome: 'full' }> & { needs: { rows: number; bytes: number } })
  /** Too late to complete the request: the keys of its chunks expire before another retry. */
  | { outcome: 'expired'; stored: number }
  | Exclude<StageOutcome, { outcome: 'staged' | 'replayed' | 'full' | 'expired' }>;

export type ChunksRequest = {
  idempotencyKey: string;
  requestHash: string;
  meta: string;
  durable: boolean;
  isOwn?: boolean;
  /** Set for a quarantined row that is sent again. */
  replay?: Replay | undefined;
  /** Lifetime of the idempotency keys. Default: `idempotency_ms`. */
  life_ms?: number | undefined;
  /** Prepares the rows again, without those that the first attempt quarantined. */
  prepareAgain: (quarantined: number[]) => PreparedRows;
};

/**
 * Stages the rows of a request, split into chunks if they are too large for one script call. The first chunk has the
 * request's own key, stores the plan of all chunks and checks that the lane has room for all of them. The other chunks have
 * keys that no client can send. A retry completes a request that broke off between chunks.
 *
 * @param rows its lines are consumed
 *
 * @throws StoreError if Redis is unavailable
 */
export async function stageChunks(
  ctx: IngestDeps,
  table: Table,
  rows: PreparedRows,
  { idempotencyKey, requestHash, meta, durable, isOwn = false, replay, life_ms, prepareAgain }: ChunksRequest,
): Promise<ChunksOutcome> {
  const lane = chooseLane(idempotencyKey, table.lanes);
  let plan = planChunks(rows, ctx.config.limits.chunk_bytes_max);
  let chunks = cutBatches(rows, plan, table.window);
  const needs = { rows: rows.lines.length, bytes: estimateBytes(rows) + meta.length * plan.rows.length };
  const first = assertDefined(chunks.next().value ?? undefined, 'a request with rows has a chunk');
  const request = { lane, requestHash, meta, durable, isOwn, replay, life_ms };
  const place = { first: needs };
  const begun = await stageBatch(ctx, table, { ...request, idempotencyKey, batch: first, plan, place });
  if (begun.outcome === 'full') return { ...begun, needs };
  assert(begun.outcome !== 'expired', 'the first chunk never expires with the request');
  if (begun.outcome !== 'staged' && begun.outcome !== 'replayed') return begun;

  const accepted = {
    outcome: 'accepted' as const,
    batches: [begun.batch],
    replayed: begun.outcome === 'replayed',
    pending: begun.outcome === 'staged' ? begun.pending : undefined,
    quota: begun.outcome === 'staged' ? begun.quota : undefined,
  };
  const { request_ms } = retryMargin(life_ms ?? ctx.config.limits.idempotency_ms);
  if (begun.outcome === 'replayed' && begun.batch.plan.rows.length > 1 && begun.left_ms <= request_ms) {
    return await recallChunks(ctx, table, idempotencyKey, begun.batch);
  }
  // Split like the first attempt, even if limits or schema have changed since.
  if (begun.outcome === 'replayed' && encodePlan(begun.batch.plan) !== encodePlan(plan)) {
    plan = begun.batch.plan;
    if (plan.rows.length > 1) {
      chunks = cutBatches(prepareAgain(plan.quarantined), plan, table.window);
      chunks.next();
    }
  }
  for (let n = 1; n < plan.rows.length; n += 1) {
    const batch = assertDefined(
      chunks.next().value ?? undefined,
      `a request of ${plan.rows.length} chunks has chunk ${n}`,
    );
    const staged = await stageBatch(ctx, table, {
      ...request,
      idempotencyKey: chunkKey(n, idempotencyKey),
      batch,
      plan,
      place: { until_ms: begun.until_ms },
    });
    // The first chunk reserved room in the lane for all; the memory of Redis can still run out.
    if (staged.outcome === 'full') return { ...staged, needs };
    if (staged.outcome === 'expired') return { outcome: 'expired', stored: countRows(accepted.batches) };
    if (staged.outcome !== 'staged' && staged.outcome !== 'replayed') return staged;
    accepted.batches.push(staged.batch);
    if (staged.outcome === 'staged') {
      accepted.replayed = false;
      accepted.pending = staged.pending;
    }
  }
  return accepted;
}

/** A retry shortly before its key expires: it stages nothing any more. */
async function recallChunks(ctx: IngestDeps, table: Table, key: string, first: StagedBatch): Promise<ChunksOutcome> {
  const others = await findKeyedBatches(
    ctx,
    table,
    first.plan.rows.slice(1).map((_, i) => chunkKey(i + 1, key)),
  );
  const batches = [first, ...others.filter((batch) => batch !== undefined)];
  if (batches.length < first.plan.rows.length) return { outcome: 'expired', stored: countRows(batches) };
  return { outcome: 'accepted', batches, replayed: true, pending: undefined, quota: undefined };
}

const countRows = (batches: StagedBatch[]) => batches.reduce((sum, { rows }) => sum + rows, 0);

/** A key that no client can send. */
const chunkKey = (n: number, key: string) => `chunk:${n}:${key}`;

/** The lane depends on the key only, so that a retry on another instance finds it. */
function chooseLane(key: string, lanes: number): number {
  return lanes === 1 ? 0 : hash('sha256', key, 'buffer').readUInt32BE(0) % lanes;
}
