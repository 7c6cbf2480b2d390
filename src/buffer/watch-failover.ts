import type { Table } from '../schema/table.ts';
import { ask, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import watchFailoverLua from './lua/watch-failover.lua';

const watchScript = script(watchFailoverLua);

const watched_ms = 30 * 86_400_000;

/** Writes a marker that a failover to an earlier state would lose. Throws StoreError. */
export async function watchFailover(ctx: BufferDeps, table: Table, id: string): Promise<void> {
  await runScript(ctx.redis, watchScript, { cut: ctx.keys.cut(table, id) }, { watched_ms });
}

/** Whether the marker is lost: by a failover, or after its lifetime. Throws StoreError. */
export async function hasFailedOver(ctx: BufferDeps, table: Table, id: string): Promise<boolean> {
  return (await ask(() => ctx.redis.get(ctx.keys.cut(table, id)))) === null;
}
