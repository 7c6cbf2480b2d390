import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { dueMember } from '../stores/redis/keys.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import setUpLua from './lua/set-up.lua';
import type { ImportSeal } from './seal-import.ts';

const setUpScript = script(setUpLua);

/**
 * Creates the state of a lane that has none.
 *
 * @param table the recorded table; `stale` means that it has changed and must be read again
 * @param incarnation the new incarnation of the lane
 * @param watermark the first watermark of a lane that the buffer does not know
 * @param importing the seal of an import in progress, which its lane gets again
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
