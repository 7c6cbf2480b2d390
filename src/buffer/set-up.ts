import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { dueMember } from './keys.ts';
import { runScript, script } from './redis.ts';
import setUpLua from './set-up.lua';

const setUpScript = script(setUpLua);

/**
 * Gives a lane its state, if it has none.
 *
 * @param incarnation the name of this life of the lane
 * @param watermark the sequence that the lane goes on from where the buffer knows nothing of it
 */
export async function setUpLane(
  ctx: Context,
  table: Table,
  lane: number,
  { incarnation, watermark }: { incarnation: string; watermark: number },
): Promise<{ outcome: 'created' | 'exists'; incarnation: string; watermark: number }> {
  const { keys } = ctx;
  const lanes = lane === 0 ? [table.lanes, table.readLanes] : ['', ''];
  const [outcome, made, from] = await runScript<['created' | 'exists', string, number]>(
    ctx.redis,
    setUpScript,
    [keys.state(table, lane), keys.log(table, lane), keys.due],
    [incarnation, watermark, dueMember(table, lane), table.schema.version, ...lanes],
  );
  return { outcome, incarnation: made, watermark: from };
}
