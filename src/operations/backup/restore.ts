import * as z from 'zod';
import { applyQuota, applyStates } from '../../catalog/apply-states.ts';
import { requireTable } from '../../catalog/change-table.ts';
import { applyRetention, ensureTable } from '../../catalog/ensure-table.ts';
import { placeLanes } from '../../catalog/place-lanes.ts';
import { setUpLanes } from '../../catalog/provision-lanes.ts';
import { ApiError } from '../../core/errors.ts';
import { physicalName } from '../../core/identifiers.ts';
import { defineJob, type JobOf, type OutcomeOf } from '../../jobs/definition.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { ask } from '../../stores/redis/client.ts';
import type { OperationDeps, OperationStep } from '../deps.ts';
import { backupKey, backupRecord, manifestKey, manifestPage, partitionKey, tableKey, tableRecord } from './backup.ts';
import { readContent, readPartition } from './parquet.ts';

const progressSchema = z.object({
  tables: z.array(z.object({ dataset: z.string(), name: z.string(), rows: z.number() })),
  next: z.number(),
  /** Restored partitions of the next table, and the number of its restored manifest pages. */
  done: z.array(z.string()).optional(),
  pages: z.number().optional(),
});

type Progress = z.output<typeof progressSchema>;

export const restoreJob = defineJob({
  kinds: ['restore'],
  request: z.object({ backup: z.string(), datasets: z.array(z.string()).optional() }),
  /** Undefined before the first step. */
  progress: z.union([progressSchema, z.strictObject({}).transform(() => undefined)]),
  result: z.object({ backup: z.string(), tables: z.int(), rows: z.number() }),
});

/** Throws TimestoreError `not-found` without a complete backup of that name; StoreError. */
export async function readBackup(ctx: OperationDeps, id: string): Promise<z.output<typeof backupRecord>> {
  const text = await ctx.objects.get(backupKey(id));
  if (text === undefined) throw new ApiError('not-found', `No complete backup ${id} found.`);
  return backupRecord.parse(JSON.parse(text));
}

/**
 * Restores tables of a backup that do not exist. A table is hidden from readers and writers until all of its rows are
 * restored and verified. Each step may be repeated.
 */
export const restoreStep: OperationStep<typeof restoreJob> = async (ctx, job, deadline_ms) => {
  const { progress } = job;
  if (progress === undefined) return await begin(ctx, job);
  const { backup: id } = job.request;
  const target = progress.tables[progress.next];
  if (target === undefined) {
    const rows = progress.tables.reduce((sum, each) => sum + each.rows, 0);
    return { done: { backup: id, tables: progress.tables.length, rows } };
  }
  const { dataset, name } = target;
  const text = await ctx.objects.get(tableKey(id, dataset, name));
  if (text === undefined)
    throw new ApiError('not-found', `The record of table ${name} in dataset ${dataset} is missing from backup ${id}.`);
  const record = tableRecord.parse(JSON.parse(text));
  if (progress.done === undefined) {
    await recordTable(ctx, record);
    return { progress: { ...progress, done: [] } };
  }
  const table = await requireTable(ctx, dataset, name);
  // Otherwise an interrupted step has already made the table visible, and its rows may have changed since.
  if (table.state === 'deleting') {
    const remaining = await restoreHidden(ctx, table, record, id, progress, deadline_ms);
    if (remaining !== undefined) return { progress: remaining };
  }
  await applyStates(ctx, dataset, name);
  const shown = await requireTable(ctx, dataset, name);
  // Rows past their retention expire now.
  await applyRetention(ctx, shown);
  await setUpLanes(ctx, shown);
  return { progress: { tables: progress.tables, next: progress.next + 1 } };
};

/** Restores a table and makes it visible. Returns its progress when the deadline has passed before. */
async function restoreHidden(
  ctx: OperationDeps,
  table: Table,
  record: z.output<typeof tableRecord>,
  id: string,
  progress: Progress,
  deadline_ms: number,
): Promise<Progress | undefined> {
  const { dataset, name } = table;
  await ensureTable(ctx, table, table.shards, 'restore');
  const done = new Set(progress.done);
  for (const [partition, content] of Object.entries(record.partitions)) {
    if (done.has(partition)) continue;
    if (ctx.now() >= deadline_ms) return { ...progress, done: [...done] };
    await readPartition(ctx, table, partition, partitionKey(id, dataset, name, partition));
    const restored = await readContent(ctx, table, record.until, partition);
    if (restored.rows !== content.rows || restored.checksum !== content.checksum) {
      throw new ApiError(
        'invalid-request',
        `Partition ${partition} of table ${name} in dataset ${dataset} differs from the backup's record: its file in the bucket ` +
          'has changed. The table stays hidden. Delete it, and restore another backup.',
      );
    }
    done.add(partition);
  }
  for (let page = progress.pages ?? 0; page < record.manifestPages; page += 1) {
    if (ctx.now() >= deadline_ms) return { ...progress, done: [...done], pages: page };
    await recordManifests(ctx, table, record.life, await ctx.objects.get(manifestKey(id, dataset, name, page)));
  }
  await ctx.postgres.rows(
    `update tables set state = $state, definition = $definition::jsonb || jsonb_build_object('shards', definition->'shards'), revision = revision + 1
      where dataset = $dataset and name = $name and dropped_at is null and state = 'deleting'`,
    { dataset, name, state: record.state, definition: JSON.stringify(record.definition) },
  );
  return undefined;
}

const beginRow = z.object({ dataset: z.string(), name: z.string() });

async function begin(ctx: OperationDeps, { request }: JobOf<typeof restoreJob>): Promise<OutcomeOf<typeof restoreJob>> {
  const { backup: id, datasets: chosen } = request;
  const backup = await readBackup(ctx, id);
  const isChosen = (dataset: unknown) => chosen === undefined || chosen.includes(String(dataset));
  const tables = backup.tables.filter(({ dataset }) => isChosen(dataset));
  const existing = checkRows(
    beginRow,
    await ctx.postgres.rows(
      `select dataset, name from tables t join jsonb_to_recordset($tables::jsonb) as b(dataset text, name text) using (dataset, name)
      where t.dropped_at is null`,
      { tables: JSON.stringify(tables) },
    ),
  );
  if (existing.length > 0) {
    const names = existing.slice(0, 5).map(({ dataset, name }) => `${dataset}.${name}`);
    throw new ApiError(
      'invalid-request',
      `${existing.length} tables exist already (${names.join(', ')}). A restore does not replace tables.`,
    );
  }
  const datasets = backup.datasets.filter(({ name }) => isChosen(name));
  await ctx.postgres.transaction([
    [
      `insert into datasets as known (name, title, state, retention, quota, created_at)
       select name, title, case when state = 'deleting' then 'active' else state end, retention, quota, created_at
         from jsonb_populate_recordset(null::datasets, $datasets::jsonb)
       on conflict (name) do update
         set title = excluded.title, state = excluded.state, retention = excluded.retention, quota = excluded.quota,
             created_at = excluded.created_at, dropped_at = null, delete_at = null, revision = known.revision + 1
         where known.dropped_at is not null`,
      { datasets: JSON.stringify(datasets) },
    ],
    [
      `insert into saved_queries (dataset, name, sql, description, params, saved_at, saved_by)
       select dataset, name, sql, description, params, saved_at, saved_by from jsonb_populate_recordset(null::saved_queries, $queries::jsonb)
       on conflict do nothing`,
      { queries: JSON.stringify(backup.savedQueries.filter(({ dataset }) => isChosen(dataset))) },
    ],
    [
      `insert into api_keys (id, name, secret_hash, scopes, row_filter, revision, created_at, expires_at, revoked_at)
       select id, name, secret_hash, scopes, row_filter, revision, created_at, expires_at, revoked_at
         from jsonb_populate_recordset(null::api_keys, $chosen::jsonb) on conflict do nothing`,
      { chosen: JSON.stringify(chosen === undefined ? backup.keys : []) },
    ],
  ]);
  for (const { name } of datasets) await applyQuota(ctx, String(name));
  return { progress: { tables, next: 0 } };
}

const latestLifeRow = z.object({ life: z.number().nullable() });

const livingTableRow = z.object({ life: z.number() });

/** Records a table as hidden and without a time of deletion, with its history. Uses a new life if the name had one before. */
async function recordTable(ctx: OperationDeps, record: z.output<typeof tableRecord>): Promise<void> {
  const { dataset, name } = record;
  // The hot buffer may have a table of that name in a life that the catalogue has no record of.
  await ask(() => ctx.redis.del(ctx.keys.table(dataset, name)));
  const [known] = checkRows(
    latestLifeRow,
    await ctx.postgres.rows('select max(life) as life from tables where dataset = $dataset and name = $name', {
      dataset,
      name,
    }),
  );
  const [living] = checkRows(
    livingTableRow,
    await ctx.postgres.rows(
      `select life from tables where dataset = $dataset and name = $name and dropped_at is null and state = 'deleting' and delete_at is null`,
      { dataset, name },
    ),
  );
  const life = living?.life ?? (known?.life === null || known === undefined ? record.life : known.life + 1);
  // Lanes are placed on the shards of this deployment, which may differ from those of the backup.
  const { readLanes } = record.definition as { readLanes: number };
  const shards = placeLanes(ctx, { dataset, name }, [], readLanes);
  const inLife = (lines: Record<string, unknown>[]) => JSON.stringify(lines.map((line) => ({ ...line, life })));
  await ctx.postgres.transaction([
    [
      `insert into tables (dataset, name, life, definition, schema_version, state)
       values ($dataset, $name, $life, $definition::jsonb, $schemaVersion, 'deleting') on conflict do nothing`,
      // Without a retention at first: expired rows would be deleted before the verification.
      {
        dataset,
        name,
        life,
        definition: JSON.stringify({ ...record.definition, retention: null, shards }),
        schemaVersion: record.schemaVersion,
      },
    ],
    [
      `insert into schema_versions select * from jsonb_populate_recordset(null::schema_versions, $lines::jsonb)
       on conflict do nothing`,
      { lines: inLife(record.schemaVersions) },
    ],
    [
      'insert into lanes select * from jsonb_populate_recordset(null::lanes, $lines::jsonb) on conflict do nothing',
      { lines: inLife(record.lanes) },
    ],
    [
      `insert into deletions (dataset, physical_table, lane, partition, rows, deleted_at, job, done_at)
       select dataset, $physical, lane, partition, rows, deleted_at, coalesce(job, 'before') || ' restored ' || id, done_at
         from jsonb_populate_recordset(null::deletions, $deletions::jsonb)
       on conflict do nothing`,
      { deletions: JSON.stringify(record.deletions), physical: physicalName(name, life) },
    ],
  ]);
}

/** Throws TimestoreError `not-found` for an object that is missing from the bucket; StoreError. */
async function recordManifests(
  ctx: OperationDeps,
  table: Table,
  life: number,
  text: string | undefined,
): Promise<void> {
  const { dataset, name, physical } = table;
  if (text === undefined) throw new ApiError('not-found', `Manifests of table ${name} are missing from the backup.`);
  const { manifests, partitions } = manifestPage.parse(JSON.parse(text));
  const oldPhysical = physicalName(name, life);
  const renameId = (id: unknown) => String(id).replace(`${dataset}/${oldPhysical}/`, `${dataset}/${physical}/`);
  await ctx.postgres.transaction([
    [
      'insert into manifests select * from jsonb_populate_recordset(null::manifests, $lines::jsonb) on conflict do nothing',
      {
        lines: JSON.stringify(manifests.map((line) => ({ ...line, id: renameId(line.id), physical_table: physical }))),
      },
    ],
    [
      `insert into manifest_partitions select * from jsonb_populate_recordset(null::manifest_partitions, $lines::jsonb)
       on conflict do nothing`,
      { lines: JSON.stringify(partitions.map((line) => ({ ...line, manifest_id: renameId(line.manifest_id) }))) },
    ],
  ]);
}
