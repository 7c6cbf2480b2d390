import * as z from 'zod';
import rememberKeyLua from '../buffer/lua/remember-key.lua';
import { StoreError } from '../core/errors.ts';
import { inEachInstance } from '../core/instance-memory.ts';
import { describeError } from '../core/log.ts';
import { LruMap } from '../core/lru-map.ts';
import { readThrough } from '../core/read-through.ts';
import { epochMs } from '../stores/postgres/client.ts';
import { ask, runScript, script } from '../stores/redis/client.ts';
import type { KeyDeps } from './deps.ts';
import { hashOf, isSame, type Key, keySchema, splitKey } from './key.ts';

const rememberScript = script(rememberKeyLua);

/** Keys that an instance was sent, those that there are not among them. */
const seenKeys = inEachInstance(({ limits }) => new LruMap<SeenKey>(limits.kept_names_max));

/** How long an instance goes by what it has seen of a key: one that is revoked ends everywhere within that. */
export const trusted_ms = 8_000;
/** How long what the hot buffer has is believed without asking the catalogue, where that answers. */
const checked_ms = 3_600_000;

/** What an instance knows of an id: the key, or that there is none. */
export type SeenKey = {
  key: Key | undefined;
  seenAt_ms: number;
  /** The secret half that matched. */
  secret?: string;
};

/**
 * The key that a text is: one that is on record, with the right secret, neither revoked nor expired.
 *
 * @returns undefined for any other text
 * @throws StoreError when nobody can tell: neither the hot buffer nor the catalogue answers, and this instance has not seen it
 */
export async function authenticate(ctx: KeyDeps, text: string): Promise<Key | undefined> {
  const halves = splitKey(text);
  if (halves === undefined) return undefined;
  const seen = await find(ctx, halves.id);
  const { key } = seen;
  if (key === undefined || !holds(seen, key, halves.secret)) return undefined;
  if (key.revokedAt_ms !== null) return undefined;
  return key.expiresAt_ms !== null && key.expiresAt_ms <= ctx.now() ? undefined : key;
}

/** Whether this instance can tell what a text is without asking a store. */
export function isKnown(ctx: KeyDeps, text: string): boolean {
  const id = splitKey(text)?.id;
  const seen = id === undefined ? undefined : seenKeys(ctx).get(id);
  return id === undefined || (seen !== undefined && ctx.now() - seen.seenAt_ms < trusted_ms) || seen?.key !== undefined;
}

/** The hash is worked out once for each time that the key is looked up. */
function holds(seen: SeenKey, key: Key, secret: string): boolean {
  if (seen.secret !== undefined && isSame(secret, seen.secret)) return true;
  if (!isSame(hashOf(secret), key.hash)) return false;
  seen.secret = secret;
  return true;
}

/** From this instance's memory, then the hot buffer's, then the catalogue. Known keys go on while the catalogue is away. */
async function find(ctx: KeyDeps, id: string): Promise<SeenKey> {
  const trust = { now_ms: ctx.now(), trusted_ms, use: (seen: SeenKey) => seen };
  return await readThrough(seenKeys(ctx), id, trust, async () => {
    const buffered = await readBuffered(ctx, id);
    if (buffered !== undefined && ctx.now() - buffered.checkedAt_ms < checked_ms) return keep(ctx, id, buffered.key);
    try {
      const key = await readKey(ctx, id);
      return keep(ctx, id, key === undefined ? undefined : await tryBuffering(ctx, key));
    } catch (error) {
      // The hot buffer's copy is used while the catalogue is unavailable.
      if (buffered === undefined || !(error instanceof StoreError)) throw error;
      return keep(ctx, id, buffered.key);
    }
  });
}

const bufferedSchema = z.object({ key: keySchema, checkedAt_ms: z.number() });

type Buffered = z.output<typeof bufferedSchema>;

/** Undefined also when Redis is away: the catalogue may know. */
async function readBuffered(ctx: KeyDeps, id: string): Promise<Buffered | undefined> {
  try {
    const text = await ask(() => ctx.redis.hget<string>(ctx.keys.apiKeys, id));
    return text === null ? undefined : bufferedSchema.parse(JSON.parse(text));
  } catch (error) {
    ctx.log({ event: 'key-cache-unreadable', id, ...describeError(error) });
    return undefined;
  }
}

/** What is on record of a key, as columns of a statement. */
export const keyColumns = `id, name, secret_hash as hash, scopes, row_filter as "rowFilter", revision,
  ${epochMs('created_at')} as "createdAt_ms", ${epochMs('expires_at')} as "expiresAt_ms",
  ${epochMs('revoked_at')} as "revokedAt_ms", replaced_by as "replacedBy"`;

async function readKey(ctx: KeyDeps, id: string): Promise<Key | undefined> {
  const [row] = await ctx.postgres.rows(`select ${keyColumns} from api_keys where id = $id`, { id });
  return row === undefined ? undefined : keySchema.parse(row);
}

/** Tells all instances what is recorded now. Throws StoreError: those that have seen the key go on with what they know. */
export async function rememberKey(ctx: KeyDeps, key: Key): Promise<void> {
  keep(ctx, key.id, await writeBuffered(ctx, key));
}

/**
 * Where the hot buffer knows of a newer revision than the catalogue, the catalogue was set back in time. It gets a revision
 * beyond, and a key that was revoked since stays so.
 *
 * @returns the key as it is recorded then
 */
async function writeBuffered(ctx: KeyDeps, key: Key): Promise<Key> {
  const buffered: Buffered = { key, checkedAt_ms: ctx.now() };
  const args = [key.id, key.revision, JSON.stringify(buffered)];
  const newer = await runScript<string>(ctx.redis, rememberScript, [ctx.keys.apiKeys], args);
  if (newer === '') return key;
  const { revision, revokedAt_ms } = bufferedSchema.parse(JSON.parse(newer)).key;
  const [raised] = await ctx.postgres.rows(
    `update api_keys set revision = $revision::int + 1, revoked_at = coalesce(revoked_at, to_timestamp($revokedAt_ms::float8 / 1000))
      where id = $id and revision < $revision::int returning ${keyColumns}`,
    { id: key.id, revision, revokedAt_ms },
  );
  // Else somebody has changed it since it was read.
  if (raised === undefined) return key;
  ctx.log({ event: 'catalogue-set-back', alarm: true, key: key.id, repaired: revision + 1 });
  return await writeBuffered(ctx, keySchema.parse(raised));
}

/** Only a cache here: the next instance asks the catalogue, too. */
async function tryBuffering(ctx: KeyDeps, key: Key): Promise<Key> {
  return await writeBuffered(ctx, key).catch((error) => {
    ctx.log({ event: 'key-cache-unwritten', id: key.id, ...describeError(error) });
    return key;
  });
}

function keep(ctx: KeyDeps, id: string, key: Key | undefined): SeenKey {
  const seen: SeenKey = { key, seenAt_ms: ctx.now() };
  seenKeys(ctx).set(id, seen);
  return seen;
}
