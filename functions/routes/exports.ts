import type { Context } from 'hono';
import * as z from 'zod';
import { notFound } from '../../src/core/not-found.ts';
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
  day: z.string().meta({ description: 'day in UTC' }),
  key: z.string().meta({ description: 'key of the object in the bucket' }),
  rows: z.int(),
  bytes: z.int(),
  checksum: z.string().meta({ description: 'checksum of all values, independent of the order of the rows' }),
});

const exportSchema = z
  .object({
    id: z.string(),
    dataset: z.string(),
    table: z.string(),
    format: exportFormat,
    timeRange: z.object({ start: z.string().nullable(), end: z.string().nullable() }),
    watermark: z.string().meta({
      description: 'token of the read snapshot; a query with it as `afterWatermark` returns the rows that came later',
    }),
    columns: z.array(z.object({ name: z.string(), type: z.string() })),
    rows: z.int(),
    bytes: z.int(),
    objects: z.array(objectSchema).meta({ description: 'one object for each day with rows' }),
    actor: z.string(),
    publishedAt: z.string(),
  })
  .meta({ id: 'Export' });

const readSchema = exportSchema
  .extend({
    objects: z.array(objectSchema.extend({ url: z.string() })),
    urlsExpireAt: z.string().meta({ description: 'until this time, a `url` gives access without a key' }),
  })
  .meta({ id: 'ExportWithUrls' });

const listQuery = z.strictObject({
  ...numberedQuery,
  dataset: z.string().optional().meta({ description: 'only exports of this dataset' }),
  table: z.string().optional().meta({ description: 'only exports of tables with this name' }),
});

const urlLifetime_s = 3_600;
const urlLifetime_s_max = 7 * 86_400;

const readQuery = z.strictObject({
  expiresIn: wholeNumber(1, urlLifetime_s_max)
    .optional()
    .meta({
      description: `lifetime of the URLs in seconds: ${urlLifetime_s} by default, at most ${urlLifetime_s_max}`,
    }),
});

const path = '/v1/admin/exports';
const params = idParams('id of the export, which is the id of its job');

export const exportRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/admin/datasets/:dataset/tables/:table/exports',
      scope: 'admin',
      tag: 'Exports',
      summary: 'Export rows',
      description:
        'Starts a job that writes the rows acknowledged before it, or those in a time range, into the bucket, with an object for ' +
        'each day. The job reads the objects back and compares them with the same snapshot of the table before it publishes the ' +
        'export.',
      params: tableParams,
      headers: idempotencyHeader('the same key with the same body is the same export, until the table is dropped.'),
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
      description: 'Lists the published exports of the datasets of the key, newest first.',
      query: listQuery,
      responses: {
        200: {
          description: 'A page of exports',
          schema: z.object({ exports: z.array(exportSchema), next: nextSchema }),
        },
      },
      example: { query: { dataset: 'demo' } },
    },
    async ({ ctx, key, query: { cursor, limit, ...filter }, json }) => {
      const of = key.listed('admin');
      const found = await listExports(ctx, { ...filter, before: numberOf(cursor), visibleDatasets: of }, wanted(limit));
      const { items, last } = pageOf(found, limit);
      return json(200, { exports: items.map(renderExport), next: last?.n ?? null });
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/:id`,
      scope: 'admin',
      tag: 'Exports',
      summary: 'Get an export',
      description:
        'Returns the export with a URL for each object. The URLs are valid for a limited time and need no key.',
      params,
      query: readQuery,
      responses: { 200: { description: 'The export, with the URLs of its objects', schema: readSchema } },
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' }, query: { expiresIn: '600' } },
    },
    async ({ c, ctx, params, query: { expiresIn = urlLifetime_s }, json }) => {
      const view = renderExport(await visibleExport(c, params.id));
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
      description: 'Deletes the export and its objects.',
      params,
      responses: { 204: { description: 'The export is deleted' } },
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' } },
    },
    async ({ c, ctx, params }) => {
      const found = await visibleExport(c, params.id);
      await removeExport(ctx, found, exportFolder(found.dataset, found.table, found.id));
      return c.body(null, 204);
    },
  ),
];

/** Throws ApiError `not-found`, with the same text for an unknown export and for one that the key may not see. */
async function visibleExport(c: Context<App>, id: string): Promise<Export> {
  const found = await readExport(c.get('ctx'), id);
  const key = c.get('key');
  // Only keys of all datasets see the exports of an earlier dataset of the same name.
  const isOwn = key.coversAll('admin') || (found.isOfThisLife && key.covers('admin', found.dataset));
  if (!isOwn) throw notFound({ kind: 'Export', id });
  return found;
}

function renderExport(found: Export): z.input<typeof exportSchema> {
  const { id, dataset, table, format, from_ms, to_ms, watermark, columns, rows, bytes, objects, actor } = found;
  const timeRange = {
    start: from_ms === null ? null : timeText(from_ms),
    end: to_ms === null ? null : timeText(to_ms),
  };
  const publishedAt = timeText(found.publishedAt_ms);
  return { id, dataset, table, format, timeRange, watermark, columns, rows, bytes, objects, actor, publishedAt };
}
