import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import leaseLua from './lua/lease.lua';
import releaseLua from './lua/release.lua';

const leaseScript = script(leaseLua);
const releaseScript = script(releaseLua);

/**
 * Takes the lease of a lane, so that two flushes do not do the same work. The lease only saves work: the seal, its token and
 * the count make a flush safe.
 *
 * @returns a function that releases the lease; undefined if another flush holds it
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
