import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { dueMember } from '../stores/redis/keys.ts';
import { script } from '../stores/redis/script.ts';
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
  const lanes = lane === 0 ? { writeLanes: writers, readLanes: table.readLanes } : { writeLanes: '', readLanes: '' };
  const seal = importing?.lane === lane ? importing : { from: '', to: '', token: '', id: '' };
  const reply = await runScript<['created' | 'exists', string, number] | ['stale']>(
    ctx.redis,
    setUpScript,
    {
      state: keys.state(table, lane),
      log: keys.log(table, lane),
      due: keys.due,
      definition: keys.table(dataset, name),
    },
    {
      incarnation,
      watermark,
      dueMember: dueMember(table, lane),
      schemaVersion: table.schema.version,
      ...lanes,
      frozen: state === 'active' ? '' : state,
      life,
      revision,
      importLane: importing?.lane ?? '',
      importFrom: seal.from,
      importTo: seal.to,
      importToken: seal.token,
      importId: seal.id,
    },
  );
  if (reply[0] === 'stale') return { outcome: 'stale' };
  const [outcome, made, from] = reply;
  return { outcome, incarnation: made, watermark: from };
}
