import { randomUUID } from 'node:crypto';
import { ask } from '../stores/redis/client.ts';
import type { CatalogDeps } from './deps.ts';

/** Longer than a statement of a change can take: the Postgres client gives up after 10 s. */
const dirty_ms = 60_000;

/**
 * Says that the monitoring configuration of a dataset is about to change, so that readers ask Postgres instead of using their
 * copy. Call it before the statement. Throws StoreError.
 */
export async function markConfigDirty(ctx: CatalogDeps, dataset: string): Promise<void> {
  const mark = `dirty ${ctx.now() + dirty_ms} ${randomUUID()}`;
  await ask(() => ctx.redis.hset(ctx.keys.monitorMarks, { [dataset]: mark }));
}

/** Call this before the statements that remove a dataset: copies of its monitoring would bring it back. Throws StoreError. */
export async function forgetMonitoring(ctx: CatalogDeps, dataset: string): Promise<void> {
  await markConfigDirty(ctx, dataset);
  await ask(() => ctx.redis.del(ctx.keys.monitorAlerts(dataset)));
}
