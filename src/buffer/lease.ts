import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { ask, runScript, script } from './redis.ts';
import releaseLua from './release.lua';

const releaseScript = script(releaseLua);

/**
 * Takes a lane's lease, so that two flushers do not do the same work. It saves work and nothing else: safety comes from
 * the seal, its token and the count.
 *
 * @returns the function that gives it back, or undefined when somebody else has it
 */
export async function takeLease(ctx: Context, table: Table, lane: number): Promise<(() => Promise<void>) | undefined> {
  const key = ctx.keys.lease(table, lane);
  const token = crypto.randomUUID();
  // Answers with who had it before: with our own token when an answer was lost and the client asked again.
  const holder = await ask(() => ctx.redis.set(key, token, { nx: true, px: ctx.config.limits.lease_ms, get: true }));
  if (holder !== null && holder !== token) return undefined;
  return async () => {
    await runScript(ctx.redis, releaseScript, [key], [token]);
  };
}
