import type { Limits } from './config.ts';
import type { Context } from './context.ts';
import { type ErrorCode, TimestoreError } from './errors.ts';

const kinds = {
  queries: { limit: 'queries_per_key_max', code: 'too-many-queries' },
  comparisons: { limit: 'comparisons_max', code: 'too-many-queries' },
  requests: { limit: 'requests_per_key_max', code: 'too-many-requests' },
} as const satisfies Record<string, { limit: keyof Limits; code: ErrorCode }>;

/**
 * A place among what runs for a key on this instance at once. Give it back when that is over.
 *
 * @throws TimestoreError `too-many-queries`, `too-many-requests`
 */
export function takeSlot(ctx: Context, kind: keyof typeof kinds, key: string): () => void {
  const { limit, code } = kinds[kind];
  const slot = `${kind} ${key}`;
  const running = ctx.running.get(slot) ?? 0;
  if (running >= ctx.config.limits[limit]) {
    throw new TimestoreError(
      code,
      `${running} ${kind} of this key are running (limit ${limit}). Try again when one has ended.`,
      { retryAfterMs: 1_000 },
    );
  }
  ctx.running.set(slot, running + 1);
  let isTaken = true;
  return () => {
    if (!isTaken) return;
    isTaken = false;
    const left = (ctx.running.get(slot) ?? 1) - 1;
    if (left > 0) ctx.running.set(slot, left);
    else ctx.running.delete(slot);
  };
}
