import * as z from 'zod';
import { currentActor } from '../core/request-context.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { Statement } from '../stores/postgres/client.ts';
import type { KeyDeps } from './deps.ts';
import { keyColumns, publishKey } from './find-key.ts';
import { keySchema } from './key.ts';

const keys_max = 100;

const keysListingRow = z.object({ id: z.string() });

/** Ids of unrevoked keys that list a dataset, at most `keys_max`. Throws StoreError. */
export async function findKeysOfDataset(ctx: KeyDeps, dataset: string): Promise<string[]> {
  const keys = checkRows(
    keysListingRow,
    await ctx.postgres.rows(
      `select id from api_keys k
      where revoked_at is null and exists (
              select from jsonb_each(scopes) s where jsonb_typeof(s.value) = 'array' and s.value ? $dataset)
      order by n limit ${keys_max}`,
      { dataset },
    ),
  );
  return keys.map(({ id }) => id);
}

/**
 * The statement that removes a dropped dataset from keys and audits each change: a later dataset of the same name must not
 * inherit access. A key without remaining datasets is revoked.
 */
export function forgetDataset(dataset: string, ids: string[], job: string): Statement {
  return [
    `with less as (
       select id, (select jsonb_object_agg(s.key, case when jsonb_typeof(s.value) = 'array' then s.value - $dataset::text else s.value end)
                          filter (where jsonb_typeof(s.value) <> 'array' or s.value - $dataset::text <> '[]')
                     from jsonb_each(scopes) s) as scopes
         from api_keys where id = any($ids)),
     changed as (
       update api_keys k set scopes = coalesce(l.scopes, k.scopes), revision = k.revision + 1,
              revoked_at = coalesce(k.revoked_at, case when l.scopes is null then now() end)
         from less l where l.id = k.id
       returning k.id, k.scopes, k.revoked_at)
     insert into audit_log (actor, request_id, action, dataset, detail)
     select $actor, $job, case when revoked_at is null then 'key.change' else 'key.revoke' end, $dataset,
            jsonb_build_object('key', id, 'scopes', scopes)
       from changed`,
    { dataset, ids, actor: currentActor().actor, job },
  ];
}

/** Publishes recorded keys to all instances. Throws StoreError. */
export async function publishKeys(ctx: KeyDeps, ids: string[]): Promise<void> {
  const rows = await ctx.postgres.rows(`select ${keyColumns} from api_keys where id = any($ids)`, { ids });
  for (const row of rows) await publishKey(ctx, keySchema.parse(row));
}
