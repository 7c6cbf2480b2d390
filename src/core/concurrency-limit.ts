import type { CoreDeps } from './deps.ts';
import { ApiError, type ErrorCode } from './errors.ts';
import { inEachInstance } from './instance-memory.ts';
import type { Limits } from './limits.ts';

const kinds = {
  queries: { limit: 'queries_per_key_max', code: 'too-many-queries' },
  comparisons: { limit: 'comparisons_max', code: 'too-many-queries' },
  requests: { limit: 'requests_per_key_max', code: 'too-many-requests' },
} as const satisfies Record<string, { limit: keyof Limits; code: ErrorCode }>;

/** Running operations by kind and key. An entry is removed with its last operation, so the map stays small. */
const running = inEachInstance(() => new Map<string, number>());

/**
 * Reserves one of the key's concurrent operations on this instance. Call the result to release it.
 *
 * @throws ApiError `too-many-queries`, `too-many-requests`
 */
export function acquireSlot(ctx: CoreDeps, kind: keyof typeof kinds, key: string): () => void {
  const { limit, code } = kinds[kind];
  const slot = `${kind} ${key}`;
  const count = running(ctx).get(slot) ?? 0;
  if (count >= ctx.config.limits[limit]) {
    throw new ApiError(
      code,
      `${count} ${kind} of this key are running (limit ${limit}). Try again when one has ended.`,
      {
        retryAfterMs: 1_000,
      },
    );
  }
  running(ctx).set(slot, count + 1);
  let isReserved = true;
  return () => {
    if (!isReserved) return;
    isReserved = false;
    const remaining = (running(ctx).get(slot) ?? 1) - 1;
    if (remaining > 0) running(ctx).set(slot, remaining);
    else running(ctx).delete(slot);
  };
}
