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
 * A row in quarantine that is staged again, and the turn under which it is. The hot buffer remembers it without an expiry,
 * until the row is settled and nobody can take it for an open one.
 */
export type Replay = { quarantine: TableRef; id: string; turn: string };

/** Another replay or discard in the dataset's quarantine has begun, and knows what this one has staged. */
export class TurnLost extends ApiError {
  constructor(dataset: string) {
    super(
      'conflict',
      `Another replay or discard in the quarantine of dataset ${dataset} has begun. Try again after it.`,
      {
        retryAfterMs: 1_000,
      },
    );
    this.name = 'TurnLost';
  }
}

/**
 * Begins a replay; earlier ones stage nothing any more.
 *
 * @returns its turn, and the rows that earlier ones have staged and perhaps not settled
 * @throws StoreError
 */
export async function beginReplay(ctx: BufferDeps, quarantine: TableRef): Promise<{ turn: string; staged: string[] }> {
  const [turn, ...staged] = await runScript<[string, ...string[]]>(ctx.redis, beginScript, {
    replays: ctx.keys.replays(quarantine),
  });
  return { turn, staged };
}

/** Forgets rows that are settled. Returns the turn to go on with. Throws TurnLost, StoreError. */
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
