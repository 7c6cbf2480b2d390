import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { parsePlan } from './chunk-plan.ts';
import { ask } from './redis.ts';
import type { StagedBatch } from './stage.ts';

/** What a key stands for, if it is remembered. Throws StoreError when Redis is away. */
export async function recallBatch(
  ctx: Context,
  table: Table,
  idempotencyKey: string,
): Promise<(StagedBatch & { requestHash: string }) | undefined> {
  const text = await ask(() => ctx.redis.get<string>(ctx.keys.idem(table, idempotencyKey)));
  if (text === null) return undefined;
  const { hash, id, rows, lane, inc, seq, at, plan } = JSON.parse(text);
  return {
    ...{ requestHash: hash, batchId: id, rows, lane, incarnation: inc, seq, receivedAt_ms: at },
    plan: parsePlan(plan),
  };
}
