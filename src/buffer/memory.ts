import { ask, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import noteMemoryLua from './lua/note-memory.lua';

const noteScript = script(noteMemoryLua);

/** Memory use is measured at most once per `measured_ms`, and a measurement is valid for `counts_ms`. */
export const measured_ms = 1_000;
const counts_ms = 180_000;

/** A hosted service rejects every write at its limit, so pending rows could not leave: staging stops earlier. */
const hostedShare = 0.9;

/** Used bytes and the limit; undefined without a known limit. */
export type Memory = { used: number; max: number | undefined };

/**
 * Reads the memory use of the hot buffer. Redis and Valkey have `maxmemory`, at which pending rows can still leave; Upstash
 * has `max_data_size`, and its `maxmemory` is the size of a cache.
 *
 * @returns undefined if the server does not report it
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

/** Measures the memory use and stores it for the staging script. Throws StoreError. */
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
