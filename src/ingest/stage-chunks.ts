import { createHash } from 'node:crypto';
import { type Pending, type StagedBatch, type StageOutcome, stageBatch } from '../buffer/stage.ts';
import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import type { PreparedRows } from '../schema/prepare.ts';
import { cutBatches, planChunks } from './batches.ts';

export type ChunksOutcome =
  | {
      outcome: 'accepted';
      lane: number;
      /** One a chunk, in order; sequences ascend. */
      batches: StagedBatch[];
      /** Nothing was stored now: all of it was accepted before. */
      replayed: boolean;
      /** What the lane holds after the last chunk that was stored. */
      pending: Pending | undefined;
    }
  | Exclude<StageOutcome, { outcome: 'staged' | 'replayed' }>;

/**
 * Stages the rows of a request, in chunks where they are too many for one step. The first chunk is under the request's
 * own key, with the plan that all are cut by and after room for all was found; the others are under keys that no client
 * can send. Dying in between, the same request completes it.
 *
 * @throws StoreError when Redis is away
 */
export async function stageChunks(
  ctx: Context,
  table: Table,
  rows: PreparedRows,
  { idempotencyKey, requestHash }: { idempotencyKey: string; requestHash: string },
): Promise<ChunksOutcome> {
  const lane = laneOf(idempotencyKey, table.lanes);
  let plan = planChunks(rows, ctx.config.limits.chunk_bytes_max);
  let chunks = cutBatches(rows, plan, table.window);
  const [first] = chunks;
  if (first === undefined) throw new RangeError('a request without rows has no chunks');
  const needs = { rows: rows.lines.length, bytes: chunks.reduce((sum, { payload }) => sum + payload.length, 0) };
  const request = { lane, requestHash };
  const begun = await stageBatch(ctx, table, {
    ...request,
    idempotencyKey,
    batch: first,
    plan,
    place: { first: needs },
  });
  if (begun.outcome !== 'staged' && begun.outcome !== 'replayed') return begun;

  const accepted = {
    ...{ outcome: 'accepted' as const, lane, batches: [begun.batch], replayed: begun.outcome === 'replayed' },
    pending: begun.outcome === 'staged' ? begun.pending : undefined,
  };
  // Cut as it was at first, whatever the limits were then.
  if (begun.outcome === 'replayed' && String(begun.batch.plan) !== String(plan)) {
    plan = begun.batch.plan;
    chunks = cutBatches(rows, plan, table.window);
  }
  for (const [n, batch] of chunks.entries()) {
    if (n === 0) continue;
    const chunkKey = `chunk:${n}:${idempotencyKey}`;
    const place = { after_ms: begun.batch.receivedAt_ms };
    const staged = await stageBatch(ctx, table, { ...request, idempotencyKey: chunkKey, batch, plan, place });
    if (staged.outcome !== 'staged' && staged.outcome !== 'replayed') return staged;
    accepted.batches.push(staged.batch);
    if (staged.outcome === 'staged') {
      accepted.replayed = false;
      accepted.pending = staged.pending;
    }
  }
  return accepted;
}

/** The lane is a function of the key, so that a repeated request comes to the lane that remembers it. */
function laneOf(key: string, lanes: number): number {
  return createHash('sha256').update(key).digest().readUInt32BE(0) % lanes;
}
