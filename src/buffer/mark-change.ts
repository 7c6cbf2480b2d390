import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { StoreError } from '../errors.ts';
import markChangeLua from './mark-change.lua';
import { runScript, script } from './redis.ts';

const markChangeScript = script(markChangeLua);

/**
 * Marks that stored rows of a table are going to be changed, or are changed: pages of an earlier cut end there. A release
 * takes a mark away whose end does not come. Safe to repeat.
 *
 * @param by who changes them; the next one takes the mark over
 * @throws StoreError also when the hot buffer has lost the table's state: then nothing may be changed yet
 */
export async function markChange(
  ctx: Context,
  table: Table,
  when: 'begin' | 'end' | 'release',
  by: string,
): Promise<void> {
  const [outcome] = await runScript<[string]>(ctx.redis, markChangeScript, [ctx.keys.state(table, 0)], [when, by]);
  if (outcome === 'unknown') throw new StoreError('redis', `does not know the lanes of table ${table.name}`, undefined);
}
