import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import changeLanesLua from './lua/change-lanes.lua';

const changeLanesScript = script(changeLanesLua);

/**
 * Changes the numbers of lanes for writers and for readers atomically: staging and snapshots compare the numbers that they
 * know with these. The lanes must be set up before.
 *
 * @param lanes lanes for writers; undefined keeps the number
 * @param readLanes minimum of lanes for readers
 * @returns 'unknown' if lane 0 has no state; 'importing' if an import uses one of the lanes for writers
 */
export async function changeLanes(
  ctx: BufferDeps,
  table: Table,
  lanes: number | undefined,
  readLanes: number,
): Promise<'changed' | 'unknown' | 'importing'> {
  const [outcome] = await runScript<['changed' | 'unknown' | 'importing']>(
    ctx.redis,
    changeLanesScript,
    { firstState: ctx.keys.state(table, 0) },
    { writeLanes: lanes ?? '', readLanes },
  );
  return outcome;
}
