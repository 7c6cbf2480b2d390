import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { dueMember } from '../stores/redis/keys.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import publishLua from './lua/publish.lua';
import type { Seal } from './seal.ts';
import { encodeSkip } from './skip.ts';

const publishScript = script(publishLua);

export type PublishOutcome =
  | { outcome: 'published'; batchesTrimmed: number; manifestKept: boolean; waiting: Waiting }
  | { outcome: 'already' | 'fenced' | 'unknown' };

/** Pending batches and rows by the state of a lane, batches in its log, and whether the last batch of the log is another one. */
export type Waiting = { batches: number; rows: number; logged: number; isOther: boolean };

export type WaitingReply = [batches: number, rows: number, logged: number, isOther: 0 | 1];

export function parseWaiting([batches, rows, logged, isOther]: WaitingReply): Waiting {
  return { batches, rows, logged, isOther: isOther === 1 };
}

/**
 * Whether the log of a lane does not match its state. They are two keys, and a buffer that merges replicas after a network
 * split can take them from different sides. This compares cheap counts only; the audit reads every batch.
 */
export function differs({ batches, rows, logged, isOther }: Waiting): boolean {
  return isOther || batches !== logged || (batches === 0 ? rows !== 0 : rows < batches);
}

type Published = ['published', number, number, 'kept' | 'dropped', ...WaitingReply];
type Reply = Published | ['already', number] | ['fenced' | 'unknown'];

/**
 * Moves the watermark over a seal whose rows are all in ClickHouse. The caller must still hold the seal: `fenced` means that
 * another flush has published it, and that nothing was changed.
 */
export async function publishSeal(
  ctx: BufferDeps,
  table: Table,
  lane: number,
  seal: Seal,
  manifest: string,
): Promise<PublishOutcome> {
  const { keys, config } = ctx;
  const reply = await runScript<Reply>(
    ctx.redis,
    publishScript,
    { state: keys.state(table, lane), log: keys.log(table, lane), due: keys.due, outbox: keys.outbox },
    {
      epoch: seal.epoch,
      token: seal.token,
      manifest,
      outbox_max: config.limits.outbox_max,
      dueMember: dueMember(table, lane),
      skip: encodeSkip(seal.skip),
      outbox_bytes_max: config.limits.outbox_bytes_max,
    },
  );
  if (reply[0] !== 'published') return { outcome: reply[0] };
  const [outcome, , batchesTrimmed, fate, ...waiting] = reply;
  return { outcome, batchesTrimmed, manifestKept: fate === 'kept', waiting: parseWaiting(waiting) };
}
