import type { TableRef } from '../core/identifiers.ts';
import { runScript } from '../stores/redis/client.ts';
import { dueMember } from '../stores/redis/keys.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import dropLanesLua from './lua/drop-lanes.lua';

const dropLanesScript = script(dropLanesLua);

/** Removes the lanes and the cached definition of a dropped table. Returns the number of pending rows that are discarded. */
export async function dropLanes(
  ctx: BufferDeps,
  table: TableRef & { name: string },
  life: number,
  lanes: number,
): Promise<number> {
  const { keys } = ctx;
  const numbers = Array.from({ length: lanes }, (_, lane) => lane);
  return await runScript<number>(
    ctx.redis,
    dropLanesScript,
    {
      definition: keys.table(table.dataset, table.name),
      due: keys.due,
      lanes: numbers.flatMap((lane) => [keys.state(table, lane), keys.log(table, lane), keys.lease(table, lane)]),
    },
    { life, dueMembers: numbers.map((lane) => dueMember(table, lane)) },
  );
}
