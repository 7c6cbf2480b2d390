import type { Context } from 'hono';
import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { exportFormat } from '../../src/operations/export/day.ts';
import { exportFolder, scheduleExport } from '../../src/operations/export/export.ts';
import { type Export, listExports, readExport, removeExport } from '../../src/operations/export/published.ts';
import {
  type ExportSchedule,
  listSchedules,
  removeSchedule,
  setSchedule,
} from '../../src/operations/export/schedule.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { clientKey, idempotencyHeader } from '../http/acknowledge.ts';
import { type App, routes } from '../http/app.ts';
import { requireScope } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, queryAs, timeText, wanted, wholeNumber } from '../http/paging.ts';
import { requireSlug } from '../http/params.ts';
import { jobSchema, jobView, workBehind } from './jobs.ts';

const body = z.strictObject({
  format: exportFormat.default('parquet'),
  timeRange: queryBody.shape.timeRange,
  columns: queryBody.shape.columns,
});

const objectSchema = z.object({
  day: z.string().meta({ description: 'of UTC' }),
  key: z.string().meta({ description: 'in the bucket' }),
  rows: z.int(),
  bytes: z.int(),
  checksum: z.string().meta({ description: 'of all values of all its rows, whatever their order' }),
});

const exportSchema = z
  .object({
    id: z.string(),
    dataset: z.string(),
    table: z.string(),
    format: exportFormat,
    timeRange: z.object({ start: z.string().nullable(), end: z.string().nullable() }),
    watermark: z.string().meta({ description: 'token of the cut that it is of: `afterWatermark` has what came since' }),
    columns: z.array(z.object({ name: z.string(), type: z.string() })),
    rows: z.int(),
    bytes: z.int(),
    objects: z.array(objectSchema).meta({ description: 'one for each day that has rows' }),
    actor: z.string(),
    publishedAt: z.string(),
  })
  .meta({ id: 'Export' });

const readSchema = exportSchema
  .extend({
    objects: z.array(objectSchema.extend({ url: z.string() })),
    urlsExpireAt: z.string().meta({ description: 'until then anybody who has a `url` may read its object' }),
  })
  .meta({ id: 'ExportWithUrls' });

const listQuery = z.strictObject({
  ...numberedQuery,
  dataset: z.string().optional().meta({ description: 'of this dataset' }),
  table: z.string().optional().meta({ description: 'of tables of this name' }),
});

const seconds = 3_600;
const seconds_max = 7 * 86_400;

const readQuery = z.strictObject({
  expiresIn: wholeNumber(1, seconds_max)
    .optional()
    .meta({
      description: `how long the addresses are good, in seconds: ${seconds} by default, at most ${seconds_max}`,
    }),
});

const path = '/v1/admin/exports';
const parameters = { id: 'of the export, which is that of its job' };

export const exportRoutes = routes()
  .post(
    '/v1/admin/datasets/:dataset/tables/:table/exports',
    openApiRoute({
      summary: 'Export rows',
      description:
        'A job that writes all rows acknowledged before it, or those of a time range, into the bucket: an object for each day, ' +
        'read back and compared with the table as of one moment before any of it is published.',
      tag: 'Exports',
      path: ['dataset', 'table'],
      headers: idempotencyHeader(
        'the same key and body is the same export, however often it is sent, until the table is dropped',
      ),
      body: { required: true, types: { 'application/json': body } },
      answers: { 202: { description: 'The job', schema: jobSchema } },
      errors: ['not-found', 'key-reused'],
      example: {
        path: { dataset: 'demo', table: 'readings' },
        body: { format: 'parquet', timeRange: { start: '2026-05-01T00:00:00Z', end: '2026-06-01T00:00:00Z' } },
      },
    }),
    requireScope('admin'),
    async (c) => {
      const [dataset, table] = [
        requireSlug('dataset', c.req.param('dataset')),
        requireSlug('table', c.req.param('table')),
      ];
      const request = await parseBody(c, body);
      const key = clientKey(c.req.header('idempotency-key'));
      const job = await scheduleExport(c.get('ctx'), dataset, table, request, key);
      workBehind(c);
      return c.json(jobView(job), 202);
    },
  )
  .get(
    path,
    openApiRoute({
      summary: 'List exports',
      description: 'Those that are published, the newest first, of the datasets that the key lists.',
      tag: 'Exports',
      query: listQuery,
      answers: {
        200: { description: 'A page of them', schema: z.object({ exports: z.array(exportSchema), next: nextSchema }) },
      },
      example: { query: { dataset: 'demo' } },
    }),
    requireScope('admin'),
    async (c) => {
      const { cursor, limit, ...filter } = queryAs(c, listQuery);
      const of = c.get('key').listed('admin');
      const found = await listExports(c.get('ctx'), { ...filter, before: numberOf(cursor), of }, wanted(limit));
      const { items, last } = pageOf(found, limit);
      return c.json({ exports: items.map(exportView), next: last?.n ?? null });
    },
  )
  .get(
    `${path}/:id`,
    openApiRoute({
      summary: 'Read an export',
      description: 'With an address for each object, at which it can be read without a key for a while.',
      tag: 'Exports',
      parameters,
      query: readQuery,
      answers: { 200: { description: 'What it has, and where', schema: readSchema } },
      errors: ['not-found'],
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' }, query: { expiresIn: '600' } },
    }),
    requireScope('admin'),
    async (c) => {
      const { expiresIn = seconds } = queryAs(c, readQuery);
      const ctx = c.get('ctx');
      const view = exportView(await ownExport(c, c.req.param('id')));
      const urlsExpireAt = timeText(ctx.now() + expiresIn * 1000);
      const objects = await Promise.all(
        view.objects.map(async (each) => ({ ...each, url: await ctx.objects.presign(each.key, expiresIn) })),
      );
      return c.json({ ...view, objects, urlsExpireAt });
    },
  )
  .delete(
    `${path}/:id`,
    openApiRoute({
      summary: 'Delete an export',
      description: 'And its objects.',
      tag: 'Exports',
      parameters,
      answers: { 204: { description: 'It is gone' } },
      errors: ['not-found'],
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' } },
    }),
    requireScope('admin'),
    async (c) => {
      const found = await ownExport(c, c.req.param('id'));
      await removeExport(c.get('ctx'), found, exportFolder(found.dataset, found.table, found.id));
      return c.body(null, 204);
    },
  );

const scheduleBody = z.strictObject({
  hour: z.int().min(0).max(23).meta({ description: 'of the day, in UTC' }),
  days: z.int().min(1).max(366).default(1).meta({ description: 'so many whole days before it, each time' }),
  format: exportFormat.default('parquet'),
  columns: queryBody.shape.columns,
});

const scheduleSchema = z
  .object({
    dataset: z.string(),
    table: z.string(),
    hour: z.int(),
    days: z.int(),
    format: exportFormat,
    columns: z.array(z.string()).nullable(),
    nextAt: z.string().meta({ description: 'it begins within an hour of then' }),
    actor: z.string(),
  })
  .meta({ id: 'ExportSchedule' });

const schedulePath = '/v1/admin/datasets/:dataset/tables/:table/export-schedule';
const exampleTable = { path: { dataset: 'demo', table: 'readings' } };

export const exportScheduleRoutes = routes()
  .put(
    schedulePath,
    openApiRoute({
      summary: 'Export every day',
      description:
        'From then on whole days are exported at an hour of each day; one that was missed is made up for. A table has one schedule.',
      tag: 'Exports',
      path: ['dataset', 'table'],
      body: { required: true, types: { 'application/json': scheduleBody } },
      answers: { 200: { description: 'The schedule', schema: scheduleSchema } },
      errors: ['not-found'],
      example: { ...exampleTable, body: { hour: 3, days: 1 } },
    }),
    requireScope('admin'),
    async (c) => {
      const [dataset, table] = [
        requireSlug('dataset', c.req.param('dataset')),
        requireSlug('table', c.req.param('table')),
      ];
      const { columns = null, ...rest } = await parseBody(c, scheduleBody);
      return c.json(scheduleView(await setSchedule(c.get('ctx'), { dataset, table, columns, ...rest })));
    },
  )
  .delete(
    schedulePath,
    openApiRoute({
      summary: 'Export no more',
      tag: 'Exports',
      path: ['dataset', 'table'],
      answers: { 204: { description: 'There is no schedule' } },
      errors: ['not-found'],
      example: exampleTable,
    }),
    requireScope('admin'),
    async (c) => {
      const [dataset, table] = [
        requireSlug('dataset', c.req.param('dataset')),
        requireSlug('table', c.req.param('table')),
      ];
      if (await removeSchedule(c.get('ctx'), dataset, table)) return c.body(null, 204);
      throw new ApiError('not-found', `Table ${table} of dataset ${dataset} has no export schedule.`);
    },
  )
  .get(
    '/v1/admin/export-schedules',
    openApiRoute({
      summary: 'List export schedules',
      tag: 'Exports',
      answers: { 200: { description: 'All of them', schema: z.object({ schedules: z.array(scheduleSchema) }) } },
      example: {},
    }),
    requireScope('admin'),
    async (c) => {
      const schedules = await listSchedules(c.get('ctx'), c.get('key').listed('admin'));
      return c.json({ schedules: schedules.map(scheduleView) });
    },
  );

function scheduleView({ nextAt_ms, life: _, ...schedule }: ExportSchedule): z.input<typeof scheduleSchema> {
  return { ...schedule, nextAt: timeText(nextAt_ms) };
}

/** One of a dataset that the key lists. Throws TimestoreError `not-found`, in the same words for any other. */
async function ownExport(c: Context<App>, id: string): Promise<Export> {
  const found = await readExport(c.get('ctx'), id);
  const key = c.get('key');
  // What was of an earlier dataset of that name is for whoever may read them all.
  const isOwn = key.coversAll('admin') || (found.isOfThisLife && key.covers('admin', found.dataset));
  if (!isOwn) throw new ApiError('not-found', `There is no export ${id}.`);
  return found;
}

function exportView(found: Export): z.input<typeof exportSchema> {
  const { id, dataset, table, format, from_ms, to_ms, watermark, columns, rows, bytes, objects, actor } = found;
  const timeRange = {
    start: from_ms === null ? null : timeText(from_ms),
    end: to_ms === null ? null : timeText(to_ms),
  };
  const publishedAt = timeText(found.publishedAt_ms);
  return { id, dataset, table, format, timeRange, watermark, columns, rows, bytes, objects, actor, publishedAt };
}
