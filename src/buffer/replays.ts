import { ApiError } from '../core/errors.ts';
import type { TableRef } from '../core/identifiers.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import beginReplayLua from './lua/begin-replay.lua';
import endReplayLua from './lua/end-replay.lua';

const beginScript = script(beginReplayLua);
const endScript = script(endReplayLua);

/**
 * A quarantined row that is staged again, and the turn of its replay. The hot buffer remembers it without an expiry until the
 * row is settled, so that no other replay stages it too.
 */
export type Replay = { quarantine: TableRef; id: string; turn: string };

/** Another replay or discard in the dataset's quarantine has begun. It knows the rows that this one has staged. */
export class TurnLost extends ApiError {
  constructor(dataset: string) {
    super(
      'conflict',
      `Another replay or discard in the quarantine of dataset ${dataset} has begun. Try again when it has ended.`,
      {
        retryAfterMs: 1_000,
      },
    );
    this.name = 'TurnLost';
  }
}

/**
 * Begins a replay. Earlier replays can stage nothing any more.
 *
 * @returns the turn, and the rows that earlier replays have staged and perhaps not settled
 * @throws StoreError
 */
export async function beginReplay(ctx: BufferDeps, quarantine: TableRef): Promise<{ turn: string; staged: string[] }> {
  const [turn, ...staged] = await runScript<[string, ...string[]]>(ctx.redis, beginScript, {
    replays: ctx.keys.replays(quarantine),
  });
  return { turn, staged };
}

/** Removes settled rows. Returns the next turn. Throws TurnLost, StoreError. */
export async function endReplay(ctx: BufferDeps, quarantine: TableRef, turn: string, ids: string[]): Promise<string> {
  const [next] = await runScript<[string?]>(
    ctx.redis,
    endScript,
    { replays: ctx.keys.replays(quarantine) },
    { turn, rowIds: ids },
  );
  if (next === undefined) throw new TurnLost(quarantine.dataset);
  return next;
}
