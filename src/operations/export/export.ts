import * as z from 'zod';
import { lanePositionsSchema } from '../../buffer/lane-positions.ts';
import { readTable } from '../../catalog/find-table.ts';
import { ApiError, StoreError } from '../../core/errors.ts';
import { notFound } from '../../core/not-found.ts';
import { flushSnapshot, readFlushPositions } from '../../flush/flush-snapshot.ts';
import { defineJob, type JobOf, type OutcomeOf } from '../../jobs/definition.ts';
import { createJob, type Job } from '../../jobs/job.ts';
import { keyedJobId } from '../../jobs/job-id.ts';
import { queryBody, readTimeRange } from '../../query/request/parse.ts';
import type { Table } from '../../schema/table.ts';
import { listObjectPages } from '../../stores/s3/list-pages.ts';
import type { OperationDeps, OperationStep } from '../deps.ts';
import { notifyStatement } from '../webhooks/webhook.ts';
import { contentByDay, type Exported, exportFormat, exportFormats, writeDay } from './day.ts';
import { type ExportedObject, publishExport } from './published.ts';

/** The request of an export job. */
const requestSchema = z.object({
  format: exportFormat,
  timeRange: queryBody.shape.timeRange,
  columns: z.array(z.string()).optional(),
});

export type ExportRequest = z.output<typeof requestSchema>;

const content = z.object({ rows: z.number(), checksum: z.string() });

const progressSchema = z.object({
  life: z.number(),
  until: lanePositionsSchema,
  watermark: z.string(),
  columns: z.array(z.string()),
  isFlushed: z.boolean().default(false),
  days: z.record(z.string(), content).default({}),
  /** Number of comparisons between written objects and stored rows. */
  rounds: z.number().default(0),
});

export const exportJob = defineJob({
  kinds: ['export'],
  request: requestSchema,
  progress: progressSchema,
  result: z.object({ export: z.string(), objects: z.int(), rows: z.number(), bytes: z.number() }),
});

/** The export fails if rows still change after so many comparisons. */
const rounds_max = 50;
const days_max = 10_000;

export const exportPrefix = 'exports/';
export const exportFolder = (dataset: string, table: string, id: string) => `${exportPrefix}${dataset}/${table}/${id}/`;

/**
 * Creates an export job for all rows acknowledged by now. The same key gives the same export during the life of the table.
 *
 * @param scheduled id and life of the table, for an export that a schedule starts
 * @throws TimestoreError `not-found`, `invalid-request`, `key-reused`; StoreError
 */
export async function scheduleExport(
  ctx: OperationDeps,
  dataset: string,
  name: string,
  request: ExportRequest,
  key: string | undefined,
  scheduled?: { id: string; life: number },
): Promise<Job> {
  const table = await readTable(ctx, dataset, name);
  if (table === undefined || table.state === 'deleting' || table.life !== (scheduled?.life ?? table.life))
    throw notFound({ dataset, table: name });
  readTimeRange(request);
  const columns = chooseColumns(table, request.columns);
  const progress = { life: table.life, ...(await readFlushPositions(ctx, table)), columns };
  const id = scheduled?.id ?? keyedJobId('export', table, key);
  return await createJob(ctx, { id, kind: 'export', dataset, table: name, request, progress });
}

function chooseColumns({ name, schema }: Table, columns: string[] | undefined): string[] {
  const known = schema.fields.map((field) => field.name);
  const unknown = columns?.find((column) => !known.includes(column));
  if (unknown !== undefined) throw new ApiError('invalid-request', `columns: table ${name} has no field ${unknown}`);
  return columns ?? known;
}

/**
 * Writes each day as an object. Publishes the export once all objects match the table at one moment: days with rows that
 * were deleted or corrected in the meantime are written again.
 */
export const exportStep: OperationStep<typeof exportJob> = async (ctx, job, deadline_ms) => {
  const { request, progress } = job;
  const table = await readTable(ctx, job.dataset, job.table);
  if (table === undefined || table.life !== progress.life || table.state === 'deleting') {
    throw new ApiError(
      'not-found',
      `Table ${job.table} of dataset ${job.dataset} was deleted before the export was complete.`,
    );
  }
  if (!progress.isFlushed) {
    return { progress: { ...progress, isFlushed: await flushSnapshot(ctx, table, progress.until, deadline_ms) } };
  }

  const fields = progress.columns.flatMap((column) => table.schema.fields.find(({ name }) => name === column) ?? []);
  const exported: Exported = { table, fields, until: progress.until, range: readTimeRange(request) };
  const stored = await contentByDay(ctx, exported);
  if (stored.size > days_max) {
    throw new ApiError('limit-exceeded', `The rows cover ${stored.size} days; an export has at most ${days_max}.`);
  }
  const folder = exportFolder(table.dataset, table.name, job.id);
  const keyOfDay = (day: string) => `${folder}${day}.${exportFormats[request.format].extension}`;
  const days = { ...progress.days };
  const continueLater = (wait_ms: number): OutcomeOf<typeof exportJob> => ({
    progress: { ...progress, days, rounds: progress.rounds + 1 },
    wait_ms,
  });
  const changed = [...stored].filter(([day, { rows, checksum }]) => {
    return days[day]?.rows !== rows || days[day]?.checksum !== checksum;
  });
  const removed = Object.keys(days).filter((day) => !stored.has(day));
  if (changed.length === 0 && removed.length === 0)
    return await publish(ctx, job, progress, exported, keyOfDay, folder);
  if (progress.rounds >= rounds_max + stored.size) {
    throw new ApiError('conflict', `Rows of table ${table.name} change faster than they can be exported.`);
  }
  for (const day of removed) {
    await ctx.objects.remove(keyOfDay(day));
    delete days[day];
  }
  for (const [day] of changed) {
    if (ctx.now() >= deadline_ms) break;
    days[day] = await writeDay(ctx, exported, day, keyOfDay(day), request.format);
  }
  return continueLater(0);
};

async function publish(
  ctx: OperationDeps,
  job: JobOf<typeof exportJob>,
  { days, watermark, life }: z.output<typeof progressSchema>,
  { fields, range }: Exported,
  keyOfDay: (day: string) => string,
  folder: string,
): Promise<OutcomeOf<typeof exportJob>> {
  const bytes = new Map<string, number>();
  for await (const page of listObjectPages(ctx.objects, folder))
    for (const object of page) bytes.set(object.key, object.bytes);
  const bytesOf = (key: string): number => {
    const found = bytes.get(key);
    if (found === undefined)
      throw new StoreError('s3', `does not list object ${key} although it was written`, undefined);
    return found;
  };
  const objects: ExportedObject[] = Object.entries(days)
    .map(([day, each]) => ({ day, key: keyOfDay(day), ...each, bytes: bytesOf(keyOfDay(day)) }))
    .sort((a, b) => (a.day < b.day ? -1 : 1));
  const columns = fields.map(({ name, type }) => ({ name, type }));
  const record = { id: job.id, dataset: job.dataset, table: job.table, ...job.request, watermark, columns, objects };
  await ctx.objects.put(`${folder}manifest.json`, JSON.stringify(record));
  const total = (member: 'rows' | 'bytes') => objects.reduce((sum, each) => sum + each[member], 0);
  const sums = { rows: total('rows'), bytes: total('bytes') };
  return {
    done: { export: job.id, objects: objects.length, ...sums },
    alongside: [
      publishExport(job, {
        watermark,
        columns,
        objects,
        ...sums,
        start_ms: range.start?.time_ms,
        end_ms: range.end?.time_ms,
        life,
      }),
      notifyStatement(ctx, job.id, 'export.published', job.dataset, { ...record, ...sums }),
    ],
  };
}
