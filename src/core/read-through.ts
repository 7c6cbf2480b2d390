import { StoreError } from './errors.ts';
import type { LruMap } from './lru-map.ts';

/**
 * Reads through a cache of this instance. An entry younger than `trusted_ms` answers by itself; an older one answers only
 * while no store does.
 *
 * @param use the value of an entry; undefined if the entry is not good enough for the caller
 * @param load reads the stores, and fills the cache
 * @throws what `load` throws; a StoreError only if the cache has no entry to use
 */
export async function readThrough<Entry extends { seenAt_ms: number }, Value>(
  cache: LruMap<Entry>,
  key: string,
  { now_ms, trusted_ms, use }: { now_ms: number; trusted_ms: number; use: (entry: Entry) => Value },
  load: () => Promise<Value>,
): Promise<Value> {
  const entry = cache.get(key);
  const known = entry === undefined ? undefined : use(entry);
  if (entry !== undefined && known !== undefined && now_ms - entry.seenAt_ms < trusted_ms) return known;
  try {
    return await load();
  } catch (error) {
    if (known === undefined || !(error instanceof StoreError)) throw error;
    return known;
  }
}
