import { inEachInstance } from '../../core/instance-memory.ts';
import { LruMap } from '../../core/lru-map.ts';
import type { QueryDeps } from '../deps.ts';

/** Rows read, and whether the answer was too long to hold in memory. */
type ReadCost = { rows: number; isLong: boolean };

/** Observed costs of reads, by a key that similar queries share. */
const readCosts = inEachInstance(({ limits }) => new LruMap<ReadCost>(limits.read_costs_max));

/** A fence costs time for each row read, a validation costs one round trip to two stores. */
export function isFenceCheap(ctx: QueryDeps, costKey: string): boolean {
  const cost = readCosts(ctx).get(costKey);
  return cost !== undefined && (cost.isLong || cost.rows <= ctx.config.limits.fence_rows_max);
}

export function recordCost(ctx: QueryDeps, costKey: string, cost: ReadCost): void {
  readCosts(ctx).set(costKey, cost);
}

/** For an answer that is still being sent, whose rows are not known yet. */
export function recordLongAnswer(ctx: QueryDeps, costKey: string): void {
  recordCost(ctx, costKey, { rows: readCosts(ctx).get(costKey)?.rows ?? 0, isLong: true });
}
