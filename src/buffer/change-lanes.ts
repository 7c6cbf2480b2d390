import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import changeLanesLua from './lua/change-lanes.lua';

const changeLanesScript = script(changeLanesLua);

/**
 * Changes the number of lanes that writers choose among, and with it what readers look at, at one moment for all of
 * them: staging and snapshots compare the number they were told with this one. The lanes must have been set up.
 *
 * @param lanes for writers; undefined for as many as there are
 * @param readLanes for readers, at least
 * @returns 'unknown' when lane 0 has no state; 'importing' when an import has one of the lanes for writers
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
