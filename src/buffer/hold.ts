import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import holdLua from './lua/hold.lua';

const holdScript = script(holdLua);

/** Stops new seals of a table's lanes for a while, so that its rows in ClickHouse do not change. 0 ends the hold. */
export async function holdSeals(ctx: BufferDeps, table: Table, hold_ms: number): Promise<void> {
  const states = Array.from({ length: table.readLanes }, (_, lane) => ctx.keys.state(table, lane));
  await runScript(ctx.redis, holdScript, { states }, { hold_ms });
}
