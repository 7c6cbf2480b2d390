import type { Table } from '../schema/table.ts';
import { ask, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import watchFailoverLua from './lua/watch-failover.lua';

const watchScript = script(watchFailoverLua);

const watched_ms = 30 * 86_400_000;

/** From now on it is known whether the hot buffer has failed over to before this moment. Throws StoreError. */
export async function watchFailover(ctx: BufferDeps, table: Table, id: string): Promise<void> {
  await runScript(ctx.redis, watchScript, { cut: ctx.keys.cut(table, id) }, { watched_ms });
}

/** Whether it may have, as far as anybody can know. Throws StoreError. */
export async function hasFailedOver(ctx: BufferDeps, table: Table, id: string): Promise<boolean> {
  return (await ask(() => ctx.redis.get(ctx.keys.cut(table, id)))) === null;
}
