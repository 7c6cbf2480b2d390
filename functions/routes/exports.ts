import type { Context } from 'hono';
import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { exportFormat } from '../../src/operations/export/day.ts';
import { exportFolder, scheduleExport } from '../../src/operations/export/export.ts';
import { type Export, listExports, readExport, removeExport } from '../../src/operations/export/published.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { clientKey, idempotencyHeader } from '../http/acknowledge.ts';
import type { App } from '../http/app.ts';
import { jobSchema, jobView, startJobs } from '../http/job-response.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, timeText, wanted, wholeNumber } from '../http/paging.ts';
import { idParams, tableParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const exportBody = z.strictObject({
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
const params = idParams('The id of the export, which is the id of its job');

export const exportRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/admin/datasets/:dataset/tables/:table/exports',
      scope: 'admin',
      tag: 'Exports',
      summary: 'Export rows',
      description:
        'A job that writes all rows acknowledged before it, or those of a time range, into the bucket: an object for each day, ' +
        'read back and compared with the table as of one moment before any of it is published.',
      params: tableParams,
      headers: idempotencyHeader(
        'the same key and body is the same export, however often it is sent, until the table is dropped',
      ),
      body: exportBody,
      responses: { 202: { description: 'The job', schema: jobSchema } },
      errors: ['not-found', 'key-reused'],
      example: {
        path: { dataset: 'demo', table: 'readings' },
        body: { format: 'parquet', timeRange: { start: '2026-05-01T00:00:00Z', end: '2026-06-01T00:00:00Z' } },
      },
    },
    async ({ c, ctx, params: { dataset, table }, headers, body, json }) => {
      const job = await scheduleExport(ctx, dataset, table, body, clientKey(headers['Idempotency-Key']));
      startJobs(c);
      return json(202, jobView(job));
    },
  ),
  route(
    {
      method: 'get',
      path,
      scope: 'admin',
      tag: 'Exports',
      summary: 'List exports',
      description: 'Those that are published, the newest first, of the datasets that the key lists.',
      query: listQuery,
      responses: {
        200: { description: 'A page of them', schema: z.object({ exports: z.array(exportSchema), next: nextSchema }) },
      },
      example: { query: { dataset: 'demo' } },
    },
    async ({ ctx, key, query: { cursor, limit, ...filter }, json }) => {
      const of = key.listed('admin');
      const found = await listExports(ctx, { ...filter, before: numberOf(cursor), of }, wanted(limit));
      const { items, last } = pageOf(found, limit);
      return json(200, { exports: items.map(exportView), next: last?.n ?? null });
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/:id`,
      scope: 'admin',
      tag: 'Exports',
      summary: 'Read an export',
      description: 'With an address for each object, at which it can be read without a key for a while.',
      params,
      query: readQuery,
      responses: { 200: { description: 'What it has, and where', schema: readSchema } },
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' }, query: { expiresIn: '600' } },
    },
    async ({ c, ctx, params, query: { expiresIn = seconds }, json }) => {
      const view = exportView(await ownExport(c, params.id));
      const urlsExpireAt = timeText(ctx.now() + expiresIn * 1000);
      const objects = await Promise.all(
        view.objects.map(async (each) => ({ ...each, url: await ctx.objects.presign(each.key, expiresIn) })),
      );
      return json(200, { ...view, objects, urlsExpireAt });
    },
  ),
  route(
    {
      method: 'delete',
      path: `${path}/:id`,
      scope: 'admin',
      tag: 'Exports',
      summary: 'Delete an export',
      description: 'And its objects.',
      params,
      responses: { 204: { description: 'It is gone' } },
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' } },
    },
    async ({ c, ctx, params }) => {
      const found = await ownExport(c, params.id);
      await removeExport(ctx, found, exportFolder(found.dataset, found.table, found.id));
      return c.body(null, 204);
    },
  ),
];

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
