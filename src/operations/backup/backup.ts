import * as z from 'zod';
import { lanePositionsSchema } from '../../buffer/lane-positions.ts';
import { readTable } from '../../catalog/find-table.ts';
import { partitionsThere } from '../../catalog/partitions.ts';
import { assertDefined } from '../../core/assert.ts';

import { physicalName } from '../../core/identifiers.ts';
import { flushSnapshot, readFlushPositions } from '../../flush/flush-snapshot.ts';
import { defineJob, type JobOf, type OutcomeOf } from '../../jobs/definition.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationDeps, OperationStep } from '../deps.ts';
import { recordCut } from '../row-audit/record-cut.ts';
import { readContent, writePartition } from './parquet.ts';

const storedLine = z.record(z.string(), z.unknown());
const manifestRow = z.object({ id: z.string(), line: storedLine, partitions: z.array(storedLine) });

const content = z.object({ rows: z.number(), checksum: z.string() });

/** The record of one table in a backup; its rows are in Parquet files. */
export const tableRecord = z.object({
  dataset: z.string(),
  name: z.string(),
  life: z.number(),
  definition: z.record(z.string(), z.unknown()),
  state: z.string(),
  schemaVersion: z.number(),
  until: lanePositionsSchema,
  partitions: z.record(z.string(), content),
  /** Rows of the catalogue's tables, unchanged. */
  schemaVersions: z.array(z.record(z.string(), z.unknown())),
  lanes: z.array(z.record(z.string(), z.unknown())),
  /** Number of objects with its manifests. */
  manifestPages: z.number(),
  deletions: z.array(z.record(z.string(), z.unknown())),
});

/** A page of manifests of a table with their partitions, as rows of the catalogue. */
export const manifestPage = z.object({
  manifests: z.array(z.record(z.string(), z.unknown())),
  partitions: z.array(z.record(z.string(), z.unknown())),
});

/** The record of a backup. It is written last, so a backup with a record is complete. */
export const backupRecord = z.object({
  id: z.string(),
  startedAt: z.string(),
  finishedAt: z.string(),
  tables: z.array(z.object({ dataset: z.string(), name: z.string(), rows: z.number() })),
  datasets: z.array(z.record(z.string(), z.unknown())),
  savedQueries: z.array(z.record(z.string(), z.unknown())),
  /** Keys with hashes of their secrets; the secrets are not stored. */
  keys: z.array(z.record(z.string(), z.unknown())),
});

const progressSchema = z.object({
  startedAt: z.string(),
  tables: z.array(z.object({ dataset: z.string(), name: z.string(), rows: z.number().nullable() })),
  /** Progress of the table that is being written. */
  current: z
    .object({
      until: lanePositionsSchema,
      isFlushed: z.boolean(),
      done: z.record(z.string(), content),
      /** Number of written manifest pages, and the id of the last written manifest. */
      pages: z.number(),
      lastManifest: z.string(),
      hasManifests: z.boolean(),
    })
    .optional(),
});

type Progress = z.output<typeof progressSchema>;

export const backupJob = defineJob({
  kinds: ['backup'],
  request: z.object({ datasets: z.array(z.string()).optional() }),
  /** Undefined before the first step. */
  progress: z.union([progressSchema, z.strictObject({}).transform(() => undefined)]),
  result: z.object({ tables: z.int(), rows: z.number() }),
});

export const backupPrefix = 'backups/';
export const backupKey = (id: string) => `${backupPrefix}${id}.json`;
export const tableKey = (id: string, dataset: string, name: string) =>
  `${backupPrefix}${id}/${dataset}/${name}/table.json`;
export const manifestKey = (id: string, dataset: string, name: string, page: number) =>
  `${backupPrefix}${id}/${dataset}/${name}/manifests-${page}.json`;
export const partitionKey = (id: string, dataset: string, name: string, partition: string) =>
  `${backupPrefix}${id}/${dataset}/${name}/${partition}.parquet`;

/**
 * Copies tables into the object store: all rows acknowledged before a table's turn, one Parquet file for each partition,
 * verified by reading it back, and the catalogue's records. Each step may be repeated: it overwrites its objects.
 */
export const backupStep: OperationStep<typeof backupJob> = async (ctx, job, deadline_ms) => {
  const { progress } = job;
  if (progress === undefined) return { progress: await begin(ctx, job) };
  const next = progress.tables.findIndex(({ rows }) => rows === null);
  if (next < 0) return await finish(ctx, job, progress);
  const { dataset, name } = progress.tables[next] ?? { dataset: '', name: '' };
  const table = await readTable(ctx, dataset, name);
  // The table was dropped since the job began, so the backup omits it.
  if (table === undefined || table.state === 'deleting') {
    return { progress: { ...progress, current: undefined, tables: progress.tables.filter((_, i) => i !== next) } };
  }
  const { current } = progress;
  if (current === undefined) {
    const { until } = await readFlushPositions(ctx, table);
    return {
      progress: {
        ...progress,
        current: { until, isFlushed: false, done: {}, pages: 0, lastManifest: '', hasManifests: false },
      },
    };
  }
  if (!current.isFlushed) return { progress: await flushCut(ctx, progress, current, table, deadline_ms) };

  const done = { ...current.done };
  const continueLater = (wait_ms = 0): OutcomeOf<typeof backupJob> => ({
    progress: { ...progress, current: { ...current, done } },
    wait_ms,
  });
  for (const partition of await partitionsThere(ctx, table)) {
    if (done[partition] !== undefined) continue;
    if (ctx.now() >= deadline_ms) return continueLater();
    const key = partitionKey(job.id, dataset, name, partition);
    const written = await writePartition(ctx, table, current.until, partition, key);
    const stored = await readContent(ctx, table, current.until, partition);
    // Rows were deleted, corrected or expired since the file was written: the partition is written again.
    if (written.rows !== stored.rows || written.checksum !== stored.checksum) return continueLater(1_000);
    done[partition] = written;
  }
  if (!current.hasManifests) {
    const paged = await writeManifests(ctx, job, table, current, deadline_ms);
    return { progress: { ...progress, current: { ...paged, done } } };
  }
  // Partitions that were removed since are omitted.
  const remaining = new Set(await partitionsThere(ctx, table));
  const kept = Object.fromEntries(
    Object.entries(done).filter(([partition, { rows }]) => remaining.has(partition) && rows > 0),
  );
  const record = await buildTableRecord(ctx, table, current.until, kept, current.pages);
  await ctx.objects.put(tableKey(job.id, dataset, name), JSON.stringify(record));
  const rows = Object.values(kept).reduce((sum, each) => sum + each.rows, 0);
  const tables = progress.tables.map((each, i) => (i === next ? { ...each, rows } : each));
  return { progress: { ...progress, current: undefined, tables } };
};

/** Limits the memory for a page: a manifest has up to a hundred partitions. */
const manifestsInPage = 500;

async function writeManifests(
  ctx: OperationDeps,
  { id }: JobOf<typeof backupJob>,
  { dataset, name, physical }: TableOf,
  current: Current,
  deadline_ms: number,
): Promise<Current> {
  let { pages, lastManifest } = current;
  while (ctx.now() < deadline_ms) {
    const manifests = checkRows(
      manifestRow,
      await ctx.postgres.rows(
        `select m.id, to_jsonb(m) as line,
              (select coalesce(jsonb_agg(to_jsonb(p)), '[]') from manifest_partitions p where p.manifest_id = m.id) as partitions
         from manifests m
        where m.dataset = $dataset and m.physical_table = $physical and m.id > $lastManifest
          and exists (select from jsonb_to_recordset($until::jsonb) as u(lane integer, seq bigint)
                       where u.lane = m.lane and m.seq_to <= u.seq)
        order by m.id limit ${manifestsInPage}`,
        { dataset, physical, until: JSON.stringify(current.until), lastManifest },
      ),
    );
    const last = manifests.at(-1);
    if (last === undefined) return { ...current, pages, lastManifest, hasManifests: true };
    const page: z.input<typeof manifestPage> = {
      manifests: manifests.map(({ line }) => line),
      partitions: manifests.flatMap(({ partitions }) => partitions),
    };
    await ctx.objects.put(manifestKey(id, dataset, name, pages), JSON.stringify(page));
    pages += 1;
    lastManifest = last.id;
  }
  return { ...current, pages, lastManifest };
}

const beginRow = z.object({ dataset: z.string(), name: z.string() });

async function begin(ctx: OperationDeps, { request }: JobOf<typeof backupJob>): Promise<Progress> {
  const tables = checkRows(
    beginRow,
    await ctx.postgres.rows(
      `select t.dataset, t.name from tables t join datasets d on d.name = t.dataset
      where t.dropped_at is null and 'deleting' not in (t.state, d.state) and ($datasets::text[] is null or t.dataset = any($datasets))
      order by t.dataset, t.name`,
      { datasets: request.datasets ?? null },
    ),
  );
  return { startedAt: new Date(ctx.now()).toISOString(), tables: tables.map((table) => ({ ...table, rows: null })) };
}

type TableOf = NonNullable<Awaited<ReturnType<typeof readTable>>>;
type Current = NonNullable<Progress['current']>;

async function flushCut(
  ctx: OperationDeps,
  progress: Progress,
  current: Current,
  table: TableOf,
  deadline_ms: number,
): Promise<Progress> {
  const isFlushed =
    (await flushSnapshot(ctx, table, current.until, deadline_ms)) && (await recordCut(ctx, table, current.until));
  return { ...progress, current: { ...current, isFlushed } };
}

async function buildTableRecord(
  ctx: OperationDeps,
  { dataset, name, life }: TableOf,
  to: Current['until'],
  partitions: Record<string, z.output<typeof content>>,
  manifestPages: number,
): Promise<z.input<typeof tableRecord>> {
  const key = { dataset, name, life };
  const [tables = [], schemaVersions = [], lanes = [], deletions = []] = await ctx.postgres.transaction([
    [
      'select definition, state, schema_version from tables where dataset = $dataset and name = $name and life = $life',
      key,
    ],
    [
      'select to_jsonb(s) as line from schema_versions s where dataset = $dataset and name = $name and life = $life',
      key,
    ],
    ['select to_jsonb(l) as line from lanes l where dataset = $dataset and name = $name and life = $life', key],
    [
      'select to_jsonb(d) as line from deletions d where dataset = $dataset and physical_table = $physical and done_at is not null',
      { dataset, physical: physicalName(name, life) },
    ],
  ]);
  const getLines = (rows: Record<string, unknown>[]) => rows.map(({ line }) => line as Record<string, unknown>);
  return {
    dataset,
    name,
    life,
    until: to,
    partitions,
    definition: tables[0]?.definition as Record<string, unknown>,
    state: String(tables[0]?.state),
    schemaVersion: Number(tables[0]?.schema_version),
    schemaVersions: getLines(schemaVersions),
    lanes: getLines(lanes),
    manifestPages,
    deletions: getLines(deletions),
  };
}

async function finish(
  ctx: OperationDeps,
  { id, request }: JobOf<typeof backupJob>,
  { startedAt, tables }: Progress,
): Promise<OutcomeOf<typeof backupJob>> {
  const params = { chosen: request.datasets ?? null };
  const [datasets = [], savedQueries = [], keys = []] = await ctx.postgres.transaction([
    [
      'select to_jsonb(d) as line from datasets d where dropped_at is null and ($chosen::text[] is null or name = any($chosen))',
      params,
    ],
    ['select to_jsonb(s) as line from saved_queries s where $chosen::text[] is null or dataset = any($chosen)', params],
    ['select to_jsonb(k) as line from api_keys k where $chosen::text[] is null', params],
  ]);
  const getLines = (rows: Record<string, unknown>[]) => rows.map(({ line }) => line as Record<string, unknown>);
  const counted = tables.map((table) => ({
    ...table,
    rows: assertDefined(table.rows ?? undefined, `the backup has the row count of ${table.name}`),
  }));
  const record: z.input<typeof backupRecord> = {
    id,
    startedAt,
    finishedAt: new Date(ctx.now()).toISOString(),
    tables: counted,
    datasets: getLines(datasets),
    savedQueries: getLines(savedQueries),
    keys: getLines(keys),
  };
  await ctx.objects.put(backupKey(id), JSON.stringify(record));
  return { done: { tables: counted.length, rows: counted.reduce((sum, { rows }) => sum + rows, 0) } };
}
