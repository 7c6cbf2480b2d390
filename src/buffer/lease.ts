import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import leaseLua from './lua/lease.lua';
import releaseLua from './lua/release.lua';

const leaseScript = script(leaseLua);
const releaseScript = script(releaseLua);

/**
 * Takes a lane's lease, so that two flushers do not do the same work. It saves work and nothing else: safety comes from
 * the seal, its token and the count.
 *
 * @returns the function that gives it back, or undefined when somebody else has it
 */
export async function takeLease(
  ctx: BufferDeps,
  table: Table,
  lane: number,
): Promise<(() => Promise<void>) | undefined> {
  const lease = ctx.keys.lease(table, lane);
  const token = crypto.randomUUID();
  const taken = await runScript<0 | 1>(
    ctx.redis,
    leaseScript,
    { lease },
    { token, lease_ms: ctx.config.limits.lease_ms },
  );
  if (taken === 0) return undefined;
  return async () => {
    await runScript(ctx.redis, releaseScript, { lease }, { token });
  };
}
