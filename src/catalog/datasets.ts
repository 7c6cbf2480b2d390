import * as z from 'zod';
import { noteJob } from '../buffer/due.ts';
import type { Quota } from '../buffer/quota.ts';
import { ApiError } from '../core/errors.ts';
import { notFound } from '../core/not-found.ts';
import type { Retention } from '../schema/table.ts';
import { retentionSchema } from '../schema/table.ts';
import type { State } from '../schema/table-state.ts';
import { states } from '../schema/table-state.ts';
import { checkRows } from '../stores/check-rows.ts';
import { epochMs, type Params } from '../stores/postgres/client.ts';
import { applyQuota, applyStates } from './apply-states.ts';
import { auditLine } from './audit-log/statement.ts';
import type { CatalogDeps } from './deps.ts';
import { cancelDrop, scheduleDrop } from './drop-job.ts';
import { mirrorBeginnings, mirrorStatement } from './mirror-jobs.ts';
import { applyReadMode, readModes, type Takeover } from './read-routing.ts';

const deletedRow = z.object({ revision: z.number(), deleteAt_ms: z.number().nullable() });

const datasetRow: z.ZodType<Dataset> = z.object({
  name: z.string(),
  title: z.string().nullable(),
  state: z.enum(states),
  retention: retentionSchema.nullable(),
  quota: z
    .object({
      rowsPerDay: z.number().optional(),
      bytesPerDay: z.number().optional(),
      storageBytes: z.number().optional(),
    })
    .nullable(),
  migration: z.object({ reads: z.enum(readModes), mirror: z.boolean() }).nullable(),
  revision: z.number(),
  tables: z.number(),
  createdAt_ms: z.number(),
  deleteAt_ms: z.number().nullable(),
});

export type Dataset = {
  name: string;
  title: string | null;
  state: State;
  /** For tables without their own; null keeps rows for ever. */
  retention: Retention | null;
  quota: Quota | null;
  /** Null: this deployment alone reads and writes. */
  migration: Takeover | null;
  revision: number;
  tables: number;
  createdAt_ms: number;
  /** Time of the final drop of a dataset that is being deleted. */
  deleteAt_ms: number | null;
};

export type DatasetChange = {
  title?: string | null | undefined;
  state?: Exclude<State, 'deleting'> | undefined;
  retention?: Retention | null | undefined;
  quota?: Quota | null | undefined;
  migration?: Takeover | null | undefined;
};

const columns = `d.name, d.title, d.state, d.retention, d.quota, d.migration - 'since' - 'buffer' as migration, d.revision, ${epochMs('d.created_at')} as "createdAt_ms",
  ${epochMs('d.delete_at')} as "deleteAt_ms",
  (select count(*)::int from tables t where t.dataset = d.name and t.dropped_at is null) as tables`;

export type Page = { after?: string | undefined; search?: string | undefined; limit: number };

/** Sorted by name. `of`: only these datasets; `state`: by default all but archived ones. Throws StoreError. */
export async function listDatasets(
  ctx: CatalogDeps,
  { after, search, limit, state, of }: Page & { state?: State | undefined; of?: string[] | undefined },
): Promise<Dataset[]> {
  return checkRows(
    datasetRow,
    await ctx.postgres.rows(
      `select ${columns} from datasets d
      where d.dropped_at is null and ($after::text is null or d.name > $after)
        and ($search::text is null or strpos(d.name, $search) > 0 or strpos(lower(d.title), $search) > 0)
        and (d.state = $state or ($state::text is null and d.state <> 'archived')) and ($datasets::text[] is null or d.name = any($datasets))
      order by d.name limit $limit`,
      {
        after: after ?? null,
        search: search?.toLowerCase() ?? null,
        state: state ?? null,
        datasets: of ?? null,
        limit,
      },
    ),
  );
}

/** Throws ApiError `not-found`; StoreError. */
export async function readDataset(ctx: CatalogDeps, name: string): Promise<Dataset> {
  const [dataset] = checkRows(
    datasetRow,
    await ctx.postgres.rows(`select ${columns} from datasets d where d.name = $name and d.dropped_at is null`, {
      name,
    }),
  );
  if (dataset === undefined) throw notFound({ dataset: name });
  return dataset;
}

export type NewDataset = Pick<DatasetChange, 'title' | 'retention' | 'quota'> & { name: string };

/** Throws ApiError `conflict` if the name exists; StoreError. */
export async function createDataset(ctx: CatalogDeps, { name, title, retention, quota }: NewDataset): Promise<Dataset> {
  const params: Params = { name, title: title ?? null, retention: json(retention), quota: json(quota) };
  const made = await ctx.postgres.rows(
    `with changed as (
       insert into datasets as d (name, title, retention, quota) values ($name, $title, $retention::jsonb, $quota::jsonb)
       on conflict (name) do update
         set title = excluded.title, retention = excluded.retention, quota = excluded.quota, state = 'active',
             created_at = now(), dropped_at = null, delete_at = null, revision = d.revision + 1
         where d.dropped_at is not null
       returning d.name),
     line as (${auditLine({ action: 'dataset.create', dataset: name, detail: { title, retention, quota } }, 'changed', params)})
     select name from changed`,
    params,
  );
  if (made.length === 0) throw new ApiError('conflict', `Dataset ${name} exists already.`);
  await applyQuota(ctx, name);
  return await readDataset(ctx, name);
}

/**
 * Changes a dataset. A new state is in effect in the lanes of its tables when this returns.
 *
 * @param revision the required revision, if any
 * @throws ApiError `not-found`, `precondition-failed`, `conflict` if the dataset is being dropped, `limit-exceeded` for a mirror
 *   of too many tables; StoreError: the change may be recorded, and a repetition completes it
 */
export async function changeDataset(
  ctx: CatalogDeps,
  name: string,
  change: DatasetChange,
  revision: number | undefined,
): Promise<Dataset> {
  const { title, state, retention, quota, migration } = change;
  // Recorded in the same statement as the switch, so that rows published in between are mirrored.
  const begun = migration?.mirror ? await mirrorBeginnings(ctx, name) : [];
  const params: Params = {
    name,
    revision: revision ?? null,
    setsTitle: title !== undefined,
    title: title ?? null,
    state: state ?? null,
    setsRetention: retention !== undefined,
    retention: json(retention),
    setsQuota: quota !== undefined,
    quota: json(quota),
    setsMigration: migration !== undefined,
    migration: json(migration),
    buffer: ctx.config.TIMESTORE_KEY_PREFIX,
  };
  const line = auditLine({ action: 'dataset.change', dataset: name, detail: change }, 'changed', params);
  const mirror = mirrorStatement('changed', begun, params);
  const [changed] = await ctx.postgres.rows(
    `with changed as (
       update datasets set title = case when $setsTitle then $title else title end, state = coalesce($state, state),
              delete_at = case when $state::text is null then delete_at end,
              retention = case when $setsRetention then $retention::jsonb else retention end,
              quota = case when $setsQuota then $quota::jsonb else quota end, revision = revision + 1,
              migration = case when not $setsMigration then migration
                when not ($migration::jsonb->>'mirror')::boolean then $migration::jsonb
                -- One that goes on keeps its place.
                when (migration->>'mirror')::boolean then migration || $migration::jsonb
                else $migration::jsonb || jsonb_build_object('since', revision + 1, 'buffer', $buffer::text) end
        where name = $name and dropped_at is null and ($revision::int is null or revision = $revision)
          -- Once it is being taken apart nothing brings it back.
          and not (state = 'deleting' and delete_at is null)
       returning name, revision, migration),
     bumped as (
       update tables set revision = revision + 1
        where dataset in (select name from changed) and dropped_at is null and ($state::text is not null or $setsRetention)),
     cancelled as (${cancelDrop('changed', '$state::text is not null', `"table" is null and dataset = $name`)}),
     mirrors as (${mirror}),
     woken as (
       update jobs set due_at = now()
        where $setsMigration and kind = 'mirror' and dataset in (select name from changed) and state in ('queued', 'running')),
     line as (${line})
     select name from changed`,
    params,
  );
  if (changed === undefined) throw await explainRejection(ctx, name, revision);
  if (state !== undefined || retention !== undefined) await applyStates(ctx, name);
  if (state !== undefined || migration !== undefined) await applyReadMode(ctx, name);
  if (migration !== undefined) await noteJob(ctx, ctx.now());
  if (quota !== undefined) await applyQuota(ctx, name);
  return await readDataset(ctx, name);
}

/** Hides a dataset at once and schedules its drop after the grace period. Throws as `changeDataset`. */
export async function deleteDataset(
  ctx: CatalogDeps,
  name: string,
  grace_s: number,
  revision: number | undefined,
): Promise<Dataset> {
  // Read before the change, because without a grace period the dataset may be dropped before the response.
  const dataset = await readDataset(ctx, name);
  const params: Params = { name, revision: revision ?? null, grace_s };
  const line = auditLine({ action: 'dataset.delete', dataset: name, detail: { grace_s } }, 'changed', params);
  const [changed] = checkRows(
    deletedRow,
    await ctx.postgres.rows(
      `with changed as (
       update datasets set state = 'deleting', delete_at = now() + make_interval(secs => $grace_s), revision = revision + 1
        where name = $name and dropped_at is null and ($revision::int is null or revision = $revision)
          and not (state = 'deleting' and delete_at is null)
       returning name, delete_at, revision),
     bumped as (
       update tables set revision = revision + 1 where dataset in (select name from changed) and dropped_at is null),
     cancelled as (${cancelDrop('changed', 'true', `"table" is null and dataset = $name`)}),
     job as (${scheduleDrop('drop-dataset', 'changed', '$name', 'null', ctx.config.TIMESTORE_KEY_PREFIX, params)}),
     line as (${line})
     select revision, ${epochMs('delete_at')} as "deleteAt_ms" from changed`,
      params,
    ),
  );
  if (changed === undefined) throw await explainRejection(ctx, name, revision);
  await applyStates(ctx, name);
  await applyReadMode(ctx, name);
  await noteJob(ctx, ctx.now() + grace_s * 1_000);
  return { ...dataset, ...changed, state: 'deleting' };
}

async function explainRejection(ctx: CatalogDeps, name: string, revision: number | undefined): Promise<ApiError> {
  const { state, deleteAt_ms, revision: now } = await readDataset(ctx, name);
  if (state === 'deleting' && deleteAt_ms === null) return sourceGone(`Dataset ${name}`);
  return changedSince(`Dataset ${name}`, `"${revision}"`, `"${now}"`);
}

export function sourceGone(what: string): ApiError {
  return new ApiError('conflict', `${what} is being dropped; its grace period is over.`);
}

export function changedSince(what: string, wanted: string, now: string): ApiError {
  return new ApiError('precondition-failed', `${what} is now ${now}, not ${wanted}. Read it again.`);
}

function json(value: object | null | undefined): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}
