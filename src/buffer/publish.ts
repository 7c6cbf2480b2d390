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

/** Batches and rows that wait in a lane by its state, batches in its log, and whether the log's last batch is another one. */
export type Waiting = { batches: number; rows: number; logged: number; isOther: boolean };

export type WaitingReply = [batches: number, rows: number, logged: number, isOther: 0 | 1];

export function waitingOf([batches, rows, logged, isOther]: WaitingReply): Waiting {
  return { batches, rows, logged, isOther: isOther === 1 };
}

/**
 * Whether a lane's log cannot be the one of its state: they are two keys, and a buffer that merges replicas after a split may
 * take each from another side. Compares what costs nothing to read; the audit reads every batch.
 */
export function differs({ batches, rows, logged, isOther }: Waiting): boolean {
  return isOther || batches !== logged || (batches === 0 ? rows !== 0 : rows < batches);
}

type Published = ['published', number, number, 'kept' | 'dropped', ...WaitingReply];
type Reply = Published | ['already', number] | ['fenced' | 'unknown'];

/**
 * Moves the watermark over a seal that ClickHouse holds in full. Only for whoever still holds that seal: `fenced` means
 * that somebody else has published it, and nothing was changed.
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
  return { outcome, batchesTrimmed, manifestKept: fate === 'kept', waiting: waitingOf(waiting) };
}
