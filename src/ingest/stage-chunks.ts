import { hash } from 'node:crypto';
import { encodePlan } from '../buffer/chunk-plan.ts';
import type { QuotaLeft } from '../buffer/quota.ts';
import { type Pending, type StagedBatch, type StageOutcome, stageBatch } from '../buffer/stage.ts';
import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import type { PreparedRows } from '../schema/prepare.ts';
import { bytesOf, cutBatches, planChunks } from './batches.ts';

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
  | Exclude<StageOutcome, { outcome: 'staged' | 'replayed' | 'full' }>;

export type ChunksRequest = {
  idempotencyKey: string;
  requestHash: string;
  meta: string;
  durable: boolean;
  isRelief?: boolean;
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
  ctx: Context,
  table: Table,
  rows: PreparedRows,
  { idempotencyKey, requestHash, meta, durable, isRelief = false, prepareAgain }: ChunksRequest,
): Promise<ChunksOutcome> {
  const lane = laneOf(idempotencyKey, table.lanes);
  let plan = planChunks(rows, ctx.config.limits.chunk_bytes_max);
  let chunks = cutBatches(rows, plan, table.window);
  const needs = { rows: rows.lines.length, bytes: bytesOf(rows) + meta.length * plan.rows.length };
  const { value: first } = chunks.next();
  if (first === undefined) throw new RangeError('a request without rows has no chunks');
  const request = { lane, requestHash, meta, durable, isRelief };
  const place = { first: needs };
  const begun = await stageBatch(ctx, table, { ...request, idempotencyKey, batch: first, plan, place });
  if (begun.outcome === 'full') return { ...begun, needs };
  if (begun.outcome !== 'staged' && begun.outcome !== 'replayed') return begun;

  const accepted = {
    ...{ outcome: 'accepted' as const, batches: [begun.batch], replayed: begun.outcome === 'replayed' },
    pending: begun.outcome === 'staged' ? begun.pending : undefined,
    quota: begun.outcome === 'staged' ? begun.quota : undefined,
  };
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
      idempotencyKey: `chunk:${n}:${idempotencyKey}`,
      ...{ batch, plan, place: { after_ms: begun.batch.receivedAt_ms } },
    });
    // Room in the lane was found for all chunks with the first; the buffer's memory may end in between.
    if (staged.outcome === 'full') return { ...staged, needs };
    if (staged.outcome !== 'staged' && staged.outcome !== 'replayed') return staged;
    accepted.batches.push(staged.batch);
    if (staged.outcome === 'staged') {
      accepted.replayed = false;
      accepted.pending = staged.pending;
    }
  }
  return accepted;
}

/** The lane is a function of the key, so that a request is spread by what it is and not by who takes it. */
function laneOf(key: string, lanes: number): number {
  return lanes === 1 ? 0 : hash('sha256', key, 'buffer').readUInt32BE(0) % lanes;
}
