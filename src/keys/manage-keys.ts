import * as z from 'zod';
import { auditLine } from '../catalog/audit-log/statement.ts';
import { ApiError, StoreError } from '../core/errors.ts';
import { notFound } from '../core/not-found.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { Params } from '../stores/postgres/client.ts';
import { ask } from '../stores/redis/client.ts';
import type { KeyDeps } from './deps.ts';
import { keyColumns, publishKey } from './find-key.ts';
import { generateKey, type Key, keySchema, type RowFilter, type scopesSchema } from './key.ts';

export type NewKey = {
  name: string;
  scopes: z.output<typeof scopesSchema>;
  rowFilter: RowFilter | null;
  expiresAt_ms: number | null;
};

/** A new key. `text` is not stored anywhere. */
export type CreatedKey = { key: Key; text: string };

/** Throws StoreError if the catalogue is unavailable. */
export async function createKey(ctx: KeyDeps, { name, scopes, rowFilter, expiresAt_ms }: NewKey): Promise<CreatedKey> {
  const { id, hash, text } = generateKey();
  const params: Params = {
    id,
    name,
    hash,
    scopes: JSON.stringify(scopes),
    rowFilter: rowFilter === null ? null : JSON.stringify(rowFilter),
    expiresAt_ms,
  };
  const detail = { key: id, name, scopes, rowFilter, expiresAt_ms };
  const [row] = await ctx.postgres.rows(
    `with changed as (
       insert into api_keys (id, name, secret_hash, scopes, row_filter, expires_at)
       values ($id, $name, $hash, $scopes::jsonb, $rowFilter::jsonb, to_timestamp($expiresAt_ms::float8 / 1000)) returning *),
     line as (${auditLine({ action: 'key.create', detail }, 'changed', params)})
     select ${keyColumns} from changed`,
    params,
  );
  return { key: keySchema.parse(row), text };
}

// The other columns are those of a key, which its own schema checks.
const listKeysRow = z.looseObject({ n: z.string() });

/** Newest first. `after` is the `next` of the previous page. */
export async function listKeys(
  ctx: KeyDeps,
  { after, limit }: { after: number | undefined; limit: number },
): Promise<{ keys: Key[]; next: number | undefined }> {
  const rows = checkRows(
    listKeysRow,
    await ctx.postgres.rows(
      `select n, ${keyColumns} from api_keys where $after::bigint is null or n < $after order by n desc limit $limit`,
      { after: after ?? null, limit: limit + 1 },
    ),
  );
  const shown = rows.slice(0, limit);
  return {
    keys: shown.map((row) => keySchema.parse(row)),
    next: rows.length > limit ? Number(shown.at(-1)?.n) : undefined,
  };
}

/** Throws ApiError `not-found`; StoreError. */
export async function findKeyRecord(ctx: KeyDeps, id: string): Promise<Key> {
  const [row] = await ctx.postgres.rows(`select ${keyColumns} from api_keys where id = $id`, { id });
  if (row === undefined) throw notFound({ kind: 'Key', id });
  return keySchema.parse(row);
}

/**
 * Revokes a key. It stops working on all instances within seconds. Idempotent; a repetition publishes the key again.
 *
 * @throws ApiError `not-found`; StoreError, also if the revocation is recorded but could not be published
 */
export async function revokeKey(ctx: KeyDeps, id: string): Promise<Key> {
  const params: Params = { id };
  const [row] = await ctx.postgres.rows(
    `with changed as (
       update api_keys set revoked_at = coalesce(revoked_at, now()), revision = revision + 1 where id = $id returning *),
     line as (${auditLine({ action: 'key.revoke', detail: { key: id } }, 'changed', params)})
     select ${keyColumns} from changed`,
    params,
  );
  if (row === undefined) throw notFound({ kind: 'Key', id });
  const key = keySchema.parse(row);
  await publishChange(ctx, key);
  return key;
}

/**
 * Creates a key with the same permissions. The old key expires after an overlap in which both keys work.
 *
 * @throws ApiError `not-found`; `conflict` for a key that has ended or was rotated before; StoreError
 */
export async function rotateKey(ctx: KeyDeps, id: string, overlap_s: number): Promise<CreatedKey & { old: Key }> {
  // Checks Redis before anything is recorded, because a failure afterwards would lose the text of the new key.
  await ask(() => ctx.redis.ping());
  const made = generateKey();
  const params: Params = { id, newId: made.id, overlap_s };
  const line = auditLine(
    { action: 'key.rotate', detail: { key: id, replacedBy: made.id, overlap_s } },
    'changed',
    params,
  );
  const rows = await ctx.postgres.transaction([
    [
      `insert into api_keys (id, name, secret_hash, scopes, row_filter, expires_at)
       select $newId, name, $hash, scopes, row_filter, expires_at from api_keys
        where id = $id and revoked_at is null and replaced_by is null and (expires_at is null or expires_at > now())
          for update
       returning ${keyColumns}`,
      { id, newId: made.id, hash: made.hash },
    ],
    [
      `with changed as (
         update api_keys set replaced_by = $newId, revision = revision + 1,
                expires_at = least(expires_at, now() + make_interval(secs => $overlap_s))
          where id = $id and replaced_by is null and exists (select from api_keys as made where made.id = $newId)
         returning *),
       line as (${line})
       select ${keyColumns} from changed`,
      params,
    ],
    // Saved queries move to the new key.
    [
      'update saved_queries set saved_by = $newId where saved_by = $id and exists (select from api_keys where id = $newId)',
      { id, newId: made.id },
    ],
  ]);
  const [created, ended] = rows.map(([row]) => row);
  if (created === undefined || ended === undefined) {
    const { revokedAt_ms, replacedBy } = await findKeyRecord(ctx, id);
    const why =
      revokedAt_ms !== null ? 'was revoked' : replacedBy !== null ? `was rotated to ${replacedBy}` : 'has expired';
    throw new ApiError('conflict', `Key ${id} ${why}. Create a new key.`);
  }
  const old = keySchema.parse(ended);
  await publishChange(ctx, old);
  return { key: keySchema.parse(created), text: made.text, old };
}

async function publishChange(ctx: KeyDeps, key: Key): Promise<void> {
  await publishKey(ctx, key).catch((error) => {
    throw new StoreError('redis', `did not take the recorded change of key ${key.id}`, error);
  });
}
