import type { Context } from '../context.ts';
import { TimestoreError } from '../errors.ts';

/**
 * A place among the queries of a key that run on this instance at once. Give it back when the answer has been sent.
 *
 * @throws TimestoreError `too-many-queries`
 */
export function takeSlot(ctx: Context, key: string): () => void {
  const { queries_per_key_max } = ctx.config.limits;
  const running = ctx.running.get(key) ?? 0;
  if (running >= queries_per_key_max) {
    throw new TimestoreError(
      'too-many-queries',
      `${running} queries of this key are running (limit queries_per_key_max). Try again when one has ended.`,
      { retryAfterMs: 1_000 },
    );
  }
  ctx.running.set(key, running + 1);
  let isTaken = true;
  return () => {
    if (!isTaken) return;
    isTaken = false;
    const left = (ctx.running.get(key) ?? 1) - 1;
    if (left > 0) ctx.running.set(key, left);
    else ctx.running.delete(key);
  };
}
