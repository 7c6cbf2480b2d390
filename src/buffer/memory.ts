import { ask, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import noteMemoryLua from './lua/note-memory.lua';

const noteScript = script(noteMemoryLua);

/** What staging goes by is not measured more often than this, and not used when it is older than that. */
export const measured_ms = 1_000;
const counts_ms = 180_000;

/** A service that refuses every write at its limit must not get there: pending rows could not leave. */
const hostedShare = 0.9;

/** Bytes that the hot buffer uses, and may use: undefined where it has no limit, or tells of none. */
export type Memory = { used: number; max: number | undefined };

/**
 * What the hot buffer says of its memory. Redis and Valkey have `maxmemory`, at which pending rows can still leave; Upstash
 * has `max_data_size`, and its `maxmemory` is of a cache.
 *
 * @returns undefined where it does not tell
 * @throws StoreError
 */
export async function readMemory(ctx: BufferDeps): Promise<Memory | undefined> {
  const [reply] = await ask(() => ctx.redis.inTurn([['INFO']]));
  const fields = new Map(
    [...String(reply?.result ?? '').matchAll(/^(\w+):(\d+)\r?$/gm)].map(([, name, n]) => [name, Number(n)]),
  );
  const limit = ctx.config.BUFFER_BYTES_MAX ?? Number.POSITIVE_INFINITY;
  const [stored, storedMax] = [fields.get('total_data_size'), fields.get('max_data_size')];
  const used = stored ?? fields.get('used_memory');
  if (used === undefined) return undefined;
  const own = stored === undefined ? fields.get('maxmemory') || undefined : (storedMax ?? 0) * hostedShare || undefined;
  const max = Math.min(limit, own ?? Number.POSITIVE_INFINITY);
  return { used, max: Number.isFinite(max) ? Math.floor(max) : undefined };
}

/** Looks how much memory is used, and keeps it for scripts that stage. Throws StoreError. */
export async function measureMemory(ctx: BufferDeps): Promise<void> {
  const memory = await readMemory(ctx);
  if (memory === undefined) return;
  await runScript(
    ctx.redis,
    noteScript,
    { memory: ctx.keys.memory },
    { used_bytes: memory.used, bytes_max: memory.max ?? '', valid_ms: counts_ms },
  );
}
