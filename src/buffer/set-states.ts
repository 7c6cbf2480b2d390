import type { State } from '../catalog/state.ts';
import type { Context } from '../context.ts';
import { runScript, script } from './redis.ts';
import setStatesLua from './set-states.lua';

const setStatesScript = script(setStatesLua);

/** What is on record of a table, and how many lanes it has. */
export type TableState = {
  dataset: string;
  name: string;
  physical: string;
  life: number;
  version: number;
  revision: number;
  readLanes: number;
  state: State;
};

/**
 * Has the lanes of tables take rows or not, each table at one moment, and instances look their definitions up again.
 * Lanes that are not there get their state when they are set up.
 */
export async function setStates(ctx: Context, tables: TableState[]): Promise<void> {
  if (tables.length === 0) return;
  await runScript(
    ctx.redis,
    setStatesScript,
    tables.flatMap((table) => [
      ctx.keys.table(table.dataset, table.name),
      ...Array.from({ length: table.readLanes }, (_, lane) => ctx.keys.state(table, lane)),
    ]),
    tables.flatMap(({ readLanes, state, life, version, revision }) => {
      return [readLanes, state === 'active' ? '' : state, life, version, revision];
    }),
  );
}
