import * as z from 'zod';
import { lanePositionsSchema } from '../../buffer/lane-positions.ts';
import { readTable } from '../../catalog/find-table.ts';
import { ApiError, StoreError } from '../../core/errors.ts';
import { flushableSnapshot, flushSnapshot } from '../../flush/flush-snapshot.ts';
import { createJob, type JobOf } from '../../jobs/job.ts';
import { keyedJobId } from '../../jobs/job-id.ts';
import type { Outcome } from '../../jobs/runner.ts';
import { queryBody, readTimeRange } from '../../query/request/parse.ts';
import type { Table } from '../../schema/table.ts';
import { pagesOf } from '../../stores/s3/list-pages.ts';
import type { OperationDeps, OperationStep } from '../deps.ts';
import { notifyStatement } from '../webhooks/webhook.ts';
import { contentByDay, type Exported, exportFormat, exportFormats, writeDay } from './day.ts';
import { type ExportedObject, publishExport } from './published.ts';

/** What is asked for. */
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
  /** How often what was written was compared with what is there. */
  rounds: z.number().default(0),
});

/** Rows that change so often while they are written are not to be had as one cut. */
const rounds_max = 50;
const days_max = 10_000;

export const exportPrefix = 'exports/';
export const exportFolder = (dataset: string, table: string, id: string) => `${exportPrefix}${dataset}/${table}/${id}/`;

/**
 * Puts an export on record: of every row acknowledged by now. The same key is the same export while the table is there.
 *
 * @param scheduled by the clock: at this time, of this life of the table
 * @throws TimestoreError `not-found`, `invalid-request`, `key-reused`; StoreError
 */
export async function scheduleExport(
  ctx: OperationDeps,
  dataset: string,
  name: string,
  request: ExportRequest,
  key: string | undefined,
  scheduled?: { id: string; life: number },
): Promise<JobOf<'export'>> {
  const table = await readTable(ctx, dataset, name);
  if (table === undefined || table.state === 'deleting' || table.life !== (scheduled?.life ?? table.life))
    throw new ApiError('not-found', `There is no table ${name} in dataset ${dataset}.`);
  readTimeRange(request);
  const columns = chosen(table, request.columns);
  const progress = { life: table.life, ...(await flushableSnapshot(ctx, table)), columns };
  const id = scheduled?.id ?? keyedJobId('export', table, key);
  return await createJob(ctx, { id, kind: 'export', dataset, table: name, request: { ...request }, progress });
}

function chosen({ name, schema }: Table, columns: string[] | undefined): string[] {
  const known = schema.fields.map((field) => field.name);
  const unknown = columns?.find((column) => !known.includes(column));
  if (unknown !== undefined) throw new ApiError('invalid-request', `columns: table ${name} has no field ${unknown}`);
  return columns ?? known;
}

/**
 * Writes each day as an object. It is published when all objects hold what the table has at one moment: what was deleted or
 * corrected while days were written is written again.
 */
export const exportStep: OperationStep<'export'> = async (ctx, job, deadline_ms) => {
  const progress = progressSchema.parse(job.progress);
  const request = requestSchema.parse(job.request);
  const table = await readTable(ctx, job.dataset, job.table);
  if (table === undefined || table.life !== progress.life || table.state === 'deleting') {
    throw new ApiError('not-found', `Table ${job.table} of dataset ${job.dataset} was deleted before it was exported.`);
  }
  if (!progress.isFlushed) {
    return { progress: { ...progress, isFlushed: await flushSnapshot(ctx, table, progress.until, deadline_ms) } };
  }

  const fields = progress.columns.flatMap((column) => table.schema.fields.find(({ name }) => name === column) ?? []);
  const exported: Exported = { table, fields, until: progress.until, range: readTimeRange(request) };
  const there = await contentByDay(ctx, exported);
  if (there.size > days_max) {
    throw new ApiError('limit-exceeded', `These rows are of ${there.size} days; an export has ${days_max} at most.`);
  }
  const folder = exportFolder(table.dataset, table.name, job.id);
  const keyOf = (day: string) => `${folder}${day}.${exportFormats[request.format].extension}`;
  const days = { ...progress.days };
  const soFar = (wait_ms: number): Outcome => ({
    progress: { ...progress, days, rounds: progress.rounds + 1 },
    wait_ms,
  });
  const others = [...there].filter(([day, { rows, checksum }]) => {
    return days[day]?.rows !== rows || days[day]?.checksum !== checksum;
  });
  const gone = Object.keys(days).filter((day) => !there.has(day));
  if (others.length === 0 && gone.length === 0) return await publish(ctx, job, progress, exported, keyOf, folder);
  if (progress.rounds >= rounds_max + there.size) {
    throw new ApiError('conflict', `Rows of table ${table.name} change faster than they can be exported.`);
  }
  for (const day of gone) {
    await ctx.objects.remove(keyOf(day));
    delete days[day];
  }
  for (const [day] of others) {
    if (ctx.now() >= deadline_ms) break;
    days[day] = await writeDay(ctx, exported, day, keyOf(day), request.format);
  }
  return soFar(0);
};

async function publish(
  ctx: OperationDeps,
  job: JobOf<'export'>,
  { days, watermark, life }: z.output<typeof progressSchema>,
  { fields, range }: Exported,
  keyOf: (day: string) => string,
  folder: string,
): Promise<Outcome> {
  const bytes = new Map<string, number>();
  for await (const page of pagesOf(ctx.objects, folder)) for (const object of page) bytes.set(object.key, object.bytes);
  const bytesOf = (key: string): number => {
    const found = bytes.get(key);
    if (found === undefined) throw new StoreError('s3', `does not list ${key}, which was written`, undefined);
    return found;
  };
  const objects: ExportedObject[] = Object.entries(days)
    .map(([day, each]) => ({ day, key: keyOf(day), ...each, bytes: bytesOf(keyOf(day)) }))
    .sort((a, b) => (a.day < b.day ? -1 : 1));
  const columns = fields.map(({ name, type }) => ({ name, type }));
  const record = { id: job.id, dataset: job.dataset, table: job.table, ...job.request, watermark, columns, objects };
  await ctx.objects.put(`${folder}manifest.json`, JSON.stringify(record));
  const total = (of: 'rows' | 'bytes') => objects.reduce((sum, each) => sum + each[of], 0);
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
