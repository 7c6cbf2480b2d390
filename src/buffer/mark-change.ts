import { StoreError } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import { runScript, runScriptAndWait } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import markChangeLua from './lua/mark-change.lua';

const markChangeScript = script(markChangeLua);

type Reply = ['marked' | 'unknown'];

/**
 * Marks the begin or the end of a change of stored rows, which invalidates cursors of earlier snapshots. `release` removes the
 * mark of a change that never ended. A begin is on the configured replicas before this returns. Idempotent.
 *
 * @param by id of the change; a later change takes the mark over
 * @throws StoreError, also if the hot buffer has lost the state of the table: rows must not be changed then
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
