import * as z from 'zod';
import { auditLine } from '../../catalog/audit-log/statement.ts';
import { ApiError } from '../../core/errors.ts';
import { inEachInstance } from '../../core/instance-memory.ts';
import { limitExceeded } from '../../core/invalid-request.ts';
import { LruMap } from '../../core/lru-map.ts';
import { notFound } from '../../core/not-found.ts';
import { readThrough } from '../../core/read-through.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { Params } from '../../stores/postgres/client.ts';
import type { QueryDeps } from '../deps.ts';
import type { ReadScope } from '../execution/read-scope.ts';
import { compileSql } from './compile.ts';

const savedRow: z.ZodType<SavedQuery> = z.object({
  dataset: z.string(),
  name: z.string(),
  sql: z.string(),
  description: z.string(),
  params: z.record(z.string(), z.unknown()),
  savedAt: z.string(),
  savedBy: z.string().nullable(),
});

/** SQL under a name. */
export type SavedQuery = {
  dataset: string;
  name: string;
  sql: string;
  description: string;
  /** Default values of the parameters. */
  params: Record<string, unknown>;
  savedAt: string;
  /** Id of the key that owns the query. */
  savedBy: string | null;
};

/** Cached saved queries, by `<dataset>.<name>`. */
const seenQueries = inEachInstance(
  ({ limits }) =>
    new LruMap<{ query: SavedQuery; seenAt_ms: number }>(
      limits.saved_sql_chars_max,
      ({ query }) => JSON.stringify(query).length,
    ),
);

/** The key that changes a saved query: its owner, or an admin of the dataset. Any key with the scope `sql` may run it. */
export type Author = { id: string; isAdmin: boolean };

/** How long a cached query is trusted. */
export const trusted_ms = 10_000;

const columns = `dataset, name, sql, description, params,
  to_char(saved_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "savedAt", saved_by as "savedBy"`;

/** Throws ApiError `not-found`, `forbidden` for another key's, `invalid-request`, `limit-exceeded`; StoreError. */
export async function saveQuery(
  ctx: QueryDeps,
  reader: ReadScope,
  author: Author,
  query: Omit<SavedQuery, 'savedAt' | 'savedBy'>,
): Promise<SavedQuery> {
  const { dataset, name, sql, description, params } = query;
  const { limits } = ctx.config;
  compileSql(sql, dataset, limits);
  if (JSON.stringify(params).length > limits.sql_param_bytes_max) {
    throw limitExceeded(
      `params: the values are longer than ${limits.sql_param_bytes_max} bytes (limit sql_param_bytes_max)`,
    );
  }
  if (!reader.reads(dataset)) throw notFound({ dataset });
  const bound: Params = {
    dataset,
    name,
    sql,
    description,
    params: JSON.stringify(params),
    id: author.id,
    isAdmin: author.isAdmin,
  };
  const line = auditLine({ action: 'saved-query.save', dataset, detail: { name, sql } }, 'changed', bound);
  const [saved] = checkRows(
    savedRow,
    await ctx.postgres.rows(
      `with changed as (
       insert into saved_queries (dataset, name, sql, description, params, saved_by)
       select name, $name, $sql, $description, $params::jsonb, $id from datasets where name = $dataset and dropped_at is null
       on conflict (dataset, name) do update
         set sql = excluded.sql, description = excluded.description, params = excluded.params, saved_at = now()
         where saved_queries.saved_by = $id or $isAdmin::boolean
       returning *),
     line as (${line})
     select ${columns} from changed`,
      bound,
    ),
  );
  if (saved === undefined) throw (await isSaved(ctx, dataset, name)) ? notYours(dataset, name) : notFound({ dataset });
  seenQueries(ctx).delete(keyOf(dataset, name));
  return saved;
}

/** Saved queries by name: of `dataset`, else of the datasets in `of`, else of all. `after` is `[dataset, name]`. */
export async function listSaved(
  ctx: QueryDeps,
  {
    dataset,
    of,
    after = ['', ''],
    limit,
  }: { dataset: string | undefined; of: string[] | undefined; after?: [string, string] | undefined; limit: number },
): Promise<SavedQuery[]> {
  return checkRows(
    savedRow,
    await ctx.postgres.rows(
      `select ${columns} from saved_queries
      where ($dataset::text is null or dataset = $dataset) and ($datasets::text[] is null or dataset = any($datasets))
        and (dataset, name) > ($afterDataset, $afterName)
      order by dataset, name limit $limit`,
      { dataset: dataset ?? null, datasets: of ?? null, afterDataset: after[0], afterName: after[1], limit },
    ),
  );
}

/** Throws ApiError `not-found`; StoreError when the catalogue is unavailable and the query is not cached. */
export async function findSaved(ctx: QueryDeps, reader: ReadScope, dataset: string, name: string): Promise<SavedQuery> {
  const key = keyOf(dataset, name);
  if (!reader.reads(dataset)) throw noQuery(dataset, name);
  const trust = { now_ms: ctx.now(), trusted_ms, use: ({ query }: { query: SavedQuery }) => query };
  return await readThrough(seenQueries(ctx), key, trust, async () => {
    const [query] = checkRows(
      savedRow,
      await ctx.postgres.rows(
        `select ${columns} from saved_queries where dataset = $dataset and name = $name
          and exists (select from datasets d where d.name = dataset and d.state <> 'deleting')`,
        { dataset, name },
      ),
    );
    if (query === undefined) {
      seenQueries(ctx).delete(key);
      throw noQuery(dataset, name);
    }
    seenQueries(ctx).set(key, { query, seenAt_ms: ctx.now() });
    return query;
  });
}

/** Throws ApiError `not-found`, `forbidden` for another key's; StoreError. */
export async function dropSaved(
  ctx: QueryDeps,
  reader: ReadScope,
  author: Author,
  dataset: string,
  name: string,
): Promise<void> {
  if (!reader.reads(dataset)) throw noQuery(dataset, name);
  const params: Params = { dataset, name, id: author.id, isAdmin: author.isAdmin };
  const line = auditLine({ action: 'saved-query.delete', dataset, detail: { name } }, 'changed', params);
  const gone = await ctx.postgres.rows(
    `with changed as (
       delete from saved_queries where dataset = $dataset and name = $name and (saved_by = $id or $isAdmin::boolean) returning name),
     line as (${line})
     select name from changed`,
    params,
  );
  seenQueries(ctx).delete(keyOf(dataset, name));
  if (gone.length === 0) throw (await isSaved(ctx, dataset, name)) ? notYours(dataset, name) : noQuery(dataset, name);
}

async function isSaved(ctx: QueryDeps, dataset: string, name: string): Promise<boolean> {
  const found = await ctx.postgres.rows('select from saved_queries where dataset = $dataset and name = $name', {
    dataset,
    name,
  });
  return found.length > 0;
}

function keyOf(dataset: string, name: string): string {
  return `${dataset}.${name}`;
}

function notYours(dataset: string, name: string): ApiError {
  return new ApiError(
    'forbidden',
    `Saved query ${name} of dataset ${dataset} belongs to another key. That key, or one with the scope admin for the dataset, can change it.`,
  );
}

function noQuery(dataset: string, name: string): ApiError {
  return new ApiError('not-found', `Saved query ${name} not found in dataset ${dataset}.`);
}
