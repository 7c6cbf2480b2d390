import type { CoreDeps } from './deps.ts';
import { ApiError, type ErrorCode } from './errors.ts';
import { inEachInstance } from './instance-memory.ts';
import type { Limits } from './limits.ts';

const kinds = {
  queries: { limit: 'queries_per_key_max', code: 'too-many-queries' },
  comparisons: { limit: 'comparisons_max', code: 'too-many-queries' },
  requests: { limit: 'requests_per_key_max', code: 'too-many-requests' },
} as const satisfies Record<string, { limit: keyof Limits; code: ErrorCode }>;

/** How many of a kind run for a key. Entries leave with what they count. */
const running = inEachInstance(() => new Map<string, number>());

/**
 * A place among what runs for a key on this instance at once. Give it back when that is over.
 *
 * @throws TimestoreError `too-many-queries`, `too-many-requests`
 */
export function acquireSlot(ctx: CoreDeps, kind: keyof typeof kinds, key: string): () => void {
  const { limit, code } = kinds[kind];
  const slot = `${kind} ${key}`;
  const now = running(ctx).get(slot) ?? 0;
  if (now >= ctx.config.limits[limit]) {
    throw new ApiError(code, `${now} ${kind} of this key are running (limit ${limit}). Try again when one has ended.`, {
      retryAfterMs: 1_000,
    });
  }
  running(ctx).set(slot, now + 1);
  let isTaken = true;
  return () => {
    if (!isTaken) return;
    isTaken = false;
    const left = (running(ctx).get(slot) ?? 1) - 1;
    if (left > 0) running(ctx).set(slot, left);
    else running(ctx).delete(slot);
  };
}
