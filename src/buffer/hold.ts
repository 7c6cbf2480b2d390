import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import holdLua from './lua/hold.lua';

const holdScript = script(holdLua);

/** Has a table's lanes take no new seals for a while, so that its rows in ClickHouse stay what they are; 0 ends it. */
export async function holdSeals(ctx: BufferDeps, table: Table, hold_ms: number): Promise<void> {
  const states = Array.from({ length: table.readLanes }, (_, lane) => ctx.keys.state(table, lane));
  await runScript(ctx.redis, holdScript, { states }, { hold_ms });
}
