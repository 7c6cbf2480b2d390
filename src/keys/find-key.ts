import * as z from 'zod';
import { StoreError } from '../core/errors.ts';
import { inEachInstance } from '../core/instance-memory.ts';
import { describeError } from '../core/log.ts';
import { LruMap } from '../core/lru-map.ts';
import { readThrough } from '../core/read-through.ts';
import { epochMs } from '../stores/postgres/client.ts';
import { ask, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { KeyDeps } from './deps.ts';
import { hashSecret, isSame, type Key, keySchema, splitKey } from './key.ts';
import rememberKeyLua from './lua/remember-key.lua';

const rememberScript = script(rememberKeyLua);

/** Keys that this instance has looked up, including unknown ids. */
const seenKeys = inEachInstance(({ limits }) => new LruMap<SeenKey>(limits.kept_names_max));

/** How long a cached key is trusted. A revoked key stops working everywhere within this time. */
export const keyTrusted_ms = 8_000;
/** How long a key in the hot buffer is trusted before the catalogue is asked again. */
const checked_ms = 3_600_000;

/** A cached lookup of an id. `key` is undefined for an unknown id. */
export type SeenKey = {
  key: Key | undefined;
  seenAt_ms: number;
  /** The secret that matched the hash. */
  secret?: string;
};

/**
 * Finds the key of an API key text. The secret must match, and the key must be neither revoked nor expired.
 *
 * @returns undefined for any other text
 * @throws StoreError if the key is not cached and neither the hot buffer nor the catalogue answers
 */
export async function authenticate(ctx: KeyDeps, text: string): Promise<Key | undefined> {
  const halves = splitKey(text);
  if (halves === undefined) return undefined;
  const seen = await lookUpKey(ctx, halves.id);
  const { key } = seen;
  if (key === undefined || !matchesSecret(seen, key, halves.secret)) return undefined;
  if (key.revokedAt_ms !== null) return undefined;
  return key.expiresAt_ms !== null && key.expiresAt_ms <= ctx.now() ? undefined : key;
}

/** Whether this instance can authenticate a text without a store. */
export function isKnown(ctx: KeyDeps, text: string): boolean {
  const id = splitKey(text)?.id;
  const seen = id === undefined ? undefined : seenKeys(ctx).get(id);
  return (
    id === undefined || (seen !== undefined && ctx.now() - seen.seenAt_ms < keyTrusted_ms) || seen?.key !== undefined
  );
}

/** Computes the hash once per lookup of the key. */
function matchesSecret(seen: SeenKey, key: Key, secret: string): boolean {
  if (seen.secret !== undefined && isSame(secret, seen.secret)) return true;
  if (!isSame(hashSecret(secret), key.hash)) return false;
  seen.secret = secret;
  return true;
}

/** Looks in the cache, then in the hot buffer, then in the catalogue. Known keys stay valid without the catalogue. */
async function lookUpKey(ctx: KeyDeps, id: string): Promise<SeenKey> {
  const trust = { now_ms: ctx.now(), trusted_ms: keyTrusted_ms, use: (seen: SeenKey) => seen };
  return await readThrough(seenKeys(ctx), id, trust, async () => {
    const buffered = await readBuffered(ctx, id);
    if (buffered !== undefined && ctx.now() - buffered.checkedAt_ms < checked_ms)
      return cacheKey(ctx, id, buffered.key);
    try {
      const key = await readKey(ctx, id);
      return cacheKey(ctx, id, key === undefined ? undefined : await tryBuffering(ctx, key));
    } catch (error) {
      // The hot buffer's copy is used while the catalogue is unavailable.
      if (buffered === undefined || !(error instanceof StoreError)) throw error;
      return cacheKey(ctx, id, buffered.key);
    }
  });
}

const bufferedSchema = z.object({ key: keySchema, checkedAt_ms: z.number() });

type Buffered = z.output<typeof bufferedSchema>;

/** Undefined also if Redis is unavailable, so that the caller asks the catalogue. */
async function readBuffered(ctx: KeyDeps, id: string): Promise<Buffered | undefined> {
  try {
    const text = await ask(() => ctx.redis.hget<string>(ctx.keys.apiKeys, id));
    return text === null ? undefined : bufferedSchema.parse(JSON.parse(text));
  } catch (error) {
    ctx.log({ event: 'key-cache-unreadable', id, ...describeError(error) });
    return undefined;
  }
}

/** The columns of a `Key`. */
export const keyColumns = `id, name, secret_hash as hash, scopes, row_filter as "rowFilter", revision,
  ${epochMs('created_at')} as "createdAt_ms", ${epochMs('expires_at')} as "expiresAt_ms",
  ${epochMs('revoked_at')} as "revokedAt_ms", replaced_by as "replacedBy"`;

async function readKey(ctx: KeyDeps, id: string): Promise<Key | undefined> {
  const [row] = await ctx.postgres.rows(`select ${keyColumns} from api_keys where id = $id`, { id });
  return row === undefined ? undefined : keySchema.parse(row);
}

/** Publishes the recorded key to all instances. Throws StoreError: other instances keep their cached key then. */
export async function publishKey(ctx: KeyDeps, key: Key): Promise<void> {
  cacheKey(ctx, key.id, await writeBuffered(ctx, key));
}

/**
 * Writes a key to the hot buffer. A newer revision there means that the catalogue was restored from an older state: the
 * catalogue then gets a higher revision, and a revoked key stays revoked.
 *
 * @returns the recorded key
 */
async function writeBuffered(ctx: KeyDeps, key: Key): Promise<Key> {
  const buffered: Buffered = { key, checkedAt_ms: ctx.now() };
  const args = { id: key.id, revision: key.revision, record: JSON.stringify(buffered) };
  const newer = await runScript<string>(ctx.redis, rememberScript, { apiKeys: ctx.keys.apiKeys }, args);
  if (newer === '') return key;
  const { revision, revokedAt_ms } = bufferedSchema.parse(JSON.parse(newer)).key;
  const [raised] = await ctx.postgres.rows(
    `update api_keys set revision = $revision::int + 1, revoked_at = coalesce(revoked_at, to_timestamp($revokedAt_ms::float8 / 1000))
      where id = $id and revision < $revision::int returning ${keyColumns}`,
    { id: key.id, revision, revokedAt_ms },
  );
  // Undefined: another request has changed the key meanwhile.
  if (raised === undefined) return key;
  ctx.log({ event: 'catalogue-set-back', alarm: true, key: key.id, repaired: revision + 1 });
  return await writeBuffered(ctx, keySchema.parse(raised));
}

/** Never rejects, because the hot buffer is only a cache here: the next lookup asks the catalogue. */
async function tryBuffering(ctx: KeyDeps, key: Key): Promise<Key> {
  return await writeBuffered(ctx, key).catch((error) => {
    ctx.log({ event: 'key-cache-unwritten', id: key.id, ...describeError(error) });
    return key;
  });
}

function cacheKey(ctx: KeyDeps, id: string, key: Key | undefined): SeenKey {
  const seen: SeenKey = { key, seenAt_ms: ctx.now() };
  seenKeys(ctx).set(id, seen);
  return seen;
}
