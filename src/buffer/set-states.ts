import type { State } from '../schema/table-state.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import setStatesLua from './lua/set-states.lua';

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
 *
 * @returns how many lanes were changed, and the tables of which something newer was known: they were left as they are
 */
export async function setStates<State extends TableState>(
  ctx: BufferDeps,
  tables: State[],
): Promise<{ changed: number; newer: State[] }> {
  if (tables.length === 0) return { changed: 0, newer: [] };
  const [changed, ...newer] = await runScript<[number, ...number[]]>(
    ctx.redis,
    setStatesScript,
    {
      keys: tables.flatMap((table) => [
        ctx.keys.table(table.dataset, table.name),
        ...Array.from({ length: table.readLanes }, (_, lane) => ctx.keys.state(table, lane)),
      ]),
    },
    {
      tables: tables.flatMap(({ readLanes, state, life, version, revision }) => {
        return [readLanes, state === 'active' ? '' : state, life, version, revision];
      }),
    },
  );
  return { changed, newer: tables.filter((_, i) => newer.includes(i + 1)) };
}
