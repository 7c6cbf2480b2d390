import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { dueMember } from './keys.ts';
import publishLua from './publish.lua';
import { runScript, script } from './redis.ts';
import type { Seal } from './seal.ts';
import { encodeSkip } from './skip.ts';

const publishScript = script(publishLua);

export type PublishOutcome =
  | { outcome: 'published'; batchesTrimmed: number; manifestKept: boolean }
  | { outcome: 'already' | 'fenced' | 'unknown' };

type Reply = ['published', number, number, 'kept' | 'dropped'] | ['already', number] | ['fenced' | 'unknown'];

/**
 * Moves the watermark over a seal that ClickHouse holds in full. Only for whoever still holds that seal: `fenced` means
 * that somebody else has published it, and nothing was changed.
 */
export async function publishSeal(
  ctx: Context,
  table: Table,
  lane: number,
  seal: Seal,
  manifest: string,
): Promise<PublishOutcome> {
  const { keys, config } = ctx;
  const reply = await runScript<Reply>(
    ctx.redis,
    publishScript,
    [keys.state(table, lane), keys.log(table, lane), keys.due, keys.outbox],
    [
      ...[seal.epoch, seal.token, manifest, config.limits.outbox_max, dueMember(table, lane), encodeSkip(seal.skip)],
      config.limits.outbox_bytes_max,
    ],
  );
  if (reply[0] !== 'published') return { outcome: reply[0] };
  return { outcome: 'published', batchesTrimmed: reply[2], manifestKept: reply[3] === 'kept' };
}
