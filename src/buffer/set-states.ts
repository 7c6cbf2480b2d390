import type { State } from '../schema/table-state.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import setStatesLua from './lua/set-states.lua';

const setStatesScript = script(setStatesLua);

/** The recorded state of a table, and the number of its lanes. */
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
 * Opens or closes the lanes of tables for writes, atomically for each table, and invalidates their cached definitions. A
 * missing lane gets its state when it is set up.
 *
 * @returns the number of changed lanes, and the tables with a newer state in the buffer, which are not changed
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
