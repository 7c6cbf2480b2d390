import { StoreError } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import { runScript, runScriptAndWait } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import markChangeLua from './lua/mark-change.lua';

const markChangeScript = script(markChangeLua);

type Reply = ['marked' | 'unknown'];

/**
 * Marks that stored rows of a table are going to be changed, or are changed: pages of an earlier cut end there. A release
 * takes a mark away whose end does not come. Where the buffer has replicas they know of the beginning before this returns.
 * Safe to repeat.
 *
 * @param by who changes them; the next one takes the mark over
 * @throws StoreError also when the hot buffer has lost the table's state: then nothing may be changed yet
 */
export async function markChange(
  ctx: BufferDeps,
  table: Table,
  when: 'begin' | 'end' | 'release',
  by: string,
): Promise<void> {
  const { BUFFER_WAIT_REPLICAS: needed, limits } = ctx.config;
  const wait = { replicas: needed, timeout_ms: limits.replicas_timeout_ms };
  const keys = { firstState: ctx.keys.state(table, 0) };
  const args = { mark: when, changedBy: by };
  const { reply, replicas } =
    when === 'begin' && needed > 0
      ? await runScriptAndWait<Reply>(ctx.redis, markChangeScript, keys, args, wait)
      : { reply: await runScript<Reply>(ctx.redis, markChangeScript, keys, args), replicas: needed };
  const [outcome] = reply;
  if (replicas < needed) {
    throw new StoreError('redis', `has the mark of a change on ${replicas} of ${needed} replicas so far`, undefined);
  }
  if (outcome === 'unknown') throw new StoreError('redis', `does not know the lanes of table ${table.name}`, undefined);
}
