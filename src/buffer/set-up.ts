import type { Table } from '../schema/table.ts';
import { runScript, script } from '../stores/redis/client.ts';
import { dueMember } from '../stores/redis/keys.ts';
import type { BufferDeps } from './deps.ts';
import setUpLua from './lua/set-up.lua';
import type { ImportSeal } from './seal-import.ts';

const setUpScript = script(setUpLua);

/**
 * Gives a lane its state, if it has none.
 *
 * @param table as it is on record now: `stale` means that it was changed since, and has to be read again
 * @param incarnation the name of this life of the lane
 * @param watermark the sequence that the lane goes on from where the buffer knows nothing of it
 * @param importing what an import has of the table by the catalogue: its lane has that seal again
 */
export async function setUpLane(
  ctx: BufferDeps,
  table: Table,
  lane: number,
  { incarnation, watermark }: { incarnation: string; watermark: number },
  importing?: ImportSeal,
): Promise<{ outcome: 'created' | 'exists'; incarnation: string; watermark: number } | { outcome: 'stale' }> {
  const { keys } = ctx;
  const { dataset, name, life, revision, state } = table;
  const writers = Math.min(table.lanes, importing?.lane ?? table.lanes);
  const lanes = lane === 0 ? [writers, table.readLanes] : ['', ''];
  const seal =
    importing?.lane === lane ? [importing.from, importing.to, importing.token, importing.id] : ['', '', '', ''];
  const reply = await runScript<['created' | 'exists', string, number] | ['stale']>(
    ctx.redis,
    setUpScript,
    [keys.state(table, lane), keys.log(table, lane), keys.due, keys.table(dataset, name)],
    [
      incarnation,
      watermark,
      dueMember(table, lane),
      table.schema.version,
      ...lanes,
      state === 'active' ? '' : state,
      life,
      revision,
      importing?.lane ?? '',
      ...seal,
    ],
  );
  if (reply[0] === 'stale') return { outcome: 'stale' };
  const [outcome, made, from] = reply;
  return { outcome, incarnation: made, watermark: from };
}
