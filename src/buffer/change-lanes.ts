import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import changeLanesLua from './change-lanes.lua';
import { runScript, script } from './redis.ts';

const changeLanesScript = script(changeLanesLua);

/**
 * Changes the number of lanes that writers choose among, and with it what readers look at, at one moment for all of
 * them: staging and snapshots compare the number they were told with this one. The lanes must have been set up.
 *
 * @returns 'unknown' when lane 0 has no state
 */
export async function changeLanes(ctx: Context, table: Table, lanes: number): Promise<'changed' | 'unknown'> {
  const [outcome] = await runScript<['changed' | 'unknown']>(
    ctx.redis,
    changeLanesScript,
    [ctx.keys.state(table, 0)],
    [lanes],
  );
  return outcome;
}
