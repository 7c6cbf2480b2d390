import type { Context } from 'hono';
import * as z from 'zod';
import { readDatasetLife } from '../../src/catalog/life.ts';
import { ApiError } from '../../src/core/errors.ts';
import { type JobOf, readJob } from '../../src/jobs/job.ts';
import { exportFormat } from '../../src/operations/export/day.ts';
import { exportPrefix } from '../../src/operations/export/export.ts';
import type { ImportFormat } from '../../src/operations/import/read-object.ts';
import { objectKey } from '../../src/operations/import/read-objects.ts';
import { importProgress, scheduleImport } from '../../src/operations/import/request.ts';
import { importPrefix, uploadFolder, uploadKey } from '../../src/operations/import/uploads.ts';
import { scheduleImportVerification } from '../../src/operations/import/verify.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { renameForm } from '../../src/schema/rename.ts';
import { fieldType, timestampPrecision } from '../../src/schema/types.ts';
import { clientKey, idempotencyHeader } from '../http/acknowledge.ts';
import { type App, routes } from '../http/app.ts';
import { requireScope } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { timeText } from '../http/paging.ts';
import { requireSlug } from '../http/params.ts';
import { isOwn, jobSchema, jobView, workBehind } from './jobs.ts';

const body = z.strictObject({
  format: exportFormat.optional().meta({ description: 'what the names of the objects end in by default' }),
  objects: z
    .array(objectKey)
    .min(1)
    .meta({ description: 'keys in the bucket, of one format; packed with gzip or zstd where they end in .gz or .zst' }),
  timeRange: queryBody.shape.timeRange,
  columns: queryBody.shape.columns.meta({
    description: 'those of the objects that are imported, by the names that their fields have; all by default',
  }),
  rename: renameForm.optional().meta({
    description:
      'names of the objects that are others in the table, such as `{"_time": "timestamp"}`: each object has them all, and no ' +
      'other column has the new name',
  }),
  fields: z
    .array(z.strictObject({ name: z.string(), type: fieldType }))
    .max(10_000)
    .optional()
    .meta({ description: 'types of fields that the table lacks; others are as the objects have them' }),
  missingOnly: z
    .boolean()
    .optional()
    .meta({ description: 'leaves out rows that the table has; of rows that are equal as many as it has' }),
  timestampColumn: z.string().optional().meta({ description: 'of a table that the import makes' }),
  timestampPrecision: timestampPrecision.optional().meta({ description: 'of a table that the import makes' }),
  keyFields: z.array(z.string()).max(16).optional().meta({ description: 'of a table that the import makes' }),
});

const compareBody = body.pick({ format: true, objects: true, timeRange: true, columns: true, rename: true });

const wrongSchema = z.object({
  object: z.string(),
  row: z.int().meta({ description: 'its place in the object, from 0' }),
  line: z.int().optional().meta({ description: 'of text, the line of the object that it begins on, from 1' }),
  field: z.string(),
  reason: z.string(),
  detail: z.string().optional(),
  value: z.string().meta({ description: 'its first 100 characters' }),
});

const importSchema = z
  .object({
    id: z.string(),
    dataset: z.string(),
    table: z.string(),
    state: z.string().meta({ description: 'as of its job: queued, running, done or failed' }),
    objects: z.object({ of: z.int(), read: z.int() }),
    rows: z.object({ read: z.int(), moved: z.int() }).meta({
      description: 'rows that were read, and those of them that are in ClickHouse; they show when all of them are',
    }),
    error: z.string().nullable(),
    wrongRows: z.int().meta({ description: 'rows that cannot be stored: then none is' }),
    errors: z.array(wrongSchema).meta({ description: 'the first 100 of them' }),
    actor: z.string(),
    createdAt: z.string(),
    finishedAt: z.string().nullable(),
  })
  .meta({ id: 'Import' });

const uploadBody = z.strictObject({
  name: z
    .string()
    .max(200)
    .regex(/^\.*[A-Za-z0-9_=-][A-Za-z0-9_.=-]*$/, 'letters, digits and _ . = - only, and not dots alone')
    .meta({ description: 'of the file' }),
});

const uploadSchema = z
  .object({
    key: z.string().meta({ description: 'what the import names it by' }),
    url: z.string().meta({ description: 'where the file is put, without a key' }),
    expiresAt: z.string(),
  })
  .meta({ id: 'Upload' });

const upload_s = 3_600;

export const importRoutes = routes()
  .post(
    '/v1/admin/datasets/:dataset/tables/:table/imports',
    openApiRoute({
      summary: 'Import objects',
      description:
        'A job that has ClickHouse read objects of the bucket, and makes the table or adds fields where they are lacking. Every ' +
        'row of all of them shows at one moment, once, or none does where an object is missing, broken or of another schema.',
      tag: 'Imports',
      path: ['dataset', 'table'],
      headers: idempotencyHeader(
        'the same key and body is the same import, however often it is sent, until the table is dropped',
      ),
      body: { required: true, types: { 'application/json': body } },
      answers: { 202: { description: 'The import', schema: importSchema } },
      errors: ['key-reused', 'dataset-frozen', 'schema-refused', 'forbidden'],
      example: {
        path: { dataset: 'demo', table: 'readings' },
        body: { objects: ['imports/demo/2025.parquet'], fields: [{ name: 'celsius', type: 'double' }] },
      },
    }),
    requireScope('admin'),
    async (c) => {
      const [dataset, table] = [
        requireSlug('dataset', c.req.param('dataset')),
        requireSlug('table', c.req.param('table')),
      ];
      const { format, ...rest } = await parseBody(c, body);
      await requireOwn(c, dataset, rest.objects);
      const request = { ...rest, format: format ?? formatOf(rest.objects) };
      const key = clientKey(c.req.header('idempotency-key'));
      const job = await scheduleImport(c.get('ctx'), dataset, table, request, key);
      workBehind(c);
      return c.json(importView(job), 202);
    },
  )
  .post(
    '/v1/admin/datasets/:dataset/tables/:table/comparisons',
    openApiRoute({
      summary: 'Compare objects with a table',
      description:
        'A job that reads objects, by other readers than those of imports and requests, and compares them with every row ' +
        'acknowledged before it: rows, and for each day and column how many values, least, greatest, sum and a hash of all. Its ' +
        'receipt has the days and rows that differ.',
      tag: 'Imports',
      path: ['dataset', 'table'],
      headers: idempotencyHeader(
        'the same key and body is the same comparison, however often it is sent, until the table is dropped',
      ),
      body: { required: true, types: { 'application/json': compareBody } },
      answers: { 202: { description: 'The job', schema: jobSchema } },
      errors: ['not-found', 'key-reused', 'forbidden'],
      example: { path: { dataset: 'demo', table: 'readings' }, body: { objects: ['imports/demo/2025.parquet'] } },
    }),
    requireScope('admin'),
    async (c) => {
      const [dataset, table] = [
        requireSlug('dataset', c.req.param('dataset')),
        requireSlug('table', c.req.param('table')),
      ];
      const { format, ...rest } = await parseBody(c, compareBody);
      await requireOwn(c, dataset, rest.objects);
      const key = clientKey(c.req.header('idempotency-key'));
      const request = { ...rest, format: format ?? formatOf(rest.objects) };
      const job = await scheduleImportVerification(c.get('ctx'), dataset, table, request, key);
      workBehind(c);
      return c.json(jobView(job), 202);
    },
  )
  .get(
    '/v1/admin/imports/:id',
    openApiRoute({
      summary: 'Read an import',
      tag: 'Imports',
      parameters: { id: 'of the import, which is that of its job' },
      answers: { 200: { description: 'How far it is, and what was wrong', schema: importSchema } },
      errors: ['not-found'],
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' } },
    }),
    requireScope('admin'),
    async (c) => {
      const id = c.req.param('id');
      const job = await readJob(c.get('ctx'), id).catch((error) => {
        throw error instanceof ApiError && error.code === 'not-found' ? noImport(id) : error;
      });
      if (job.kind !== 'import' || !isOwn(c, job)) throw noImport(id);
      return c.json(importView(job));
    },
  )
  .post(
    '/v1/admin/datasets/:dataset/uploads',
    openApiRoute({
      summary: 'Make room for a file',
      description:
        'An address in the bucket at which a file can be put for an hour, with PUT and no key. It is removed after a day, but not ' +
        'while an import has it.',
      tag: 'Imports',
      path: ['dataset'],
      body: { required: true, types: { 'application/json': uploadBody } },
      answers: { 201: { description: 'Where it goes', schema: uploadSchema } },
      example: { path: { dataset: 'demo' }, body: { name: '2025.parquet' } },
    }),
    requireScope('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const { name } = await parseBody(c, uploadBody);
      const key = await uploadKey(ctx, requireSlug('dataset', c.req.param('dataset')), name);
      const expiresAt = timeText(ctx.now() + upload_s * 1000);
      return c.json({ key, url: await ctx.objects.presignPut(key, upload_s), expiresAt }, 201);
    },
  );

function noImport(id: string): ApiError {
  return new ApiError('not-found', `There is no import ${id}.`);
}

/** What is in the bucket of other datasets is for whoever may read them all. */
async function requireOwn(c: Context<App>, dataset: string, objects: string[]): Promise<void> {
  if (c.get('key').coversAll('admin')) return;
  const uploads = uploadFolder(dataset, await readDatasetLife(c.get('ctx'), dataset));
  const own = [`${importPrefix}${dataset}/`, `${exportPrefix}${dataset}/`, uploads];
  const other = objects.find((key) => !own.some((prefix) => key.startsWith(prefix)));
  if (other === undefined) return;
  throw new ApiError(
    'forbidden',
    `objects: ${other} is not beneath ${own.join(', ')}, which is what a key of some datasets can import from.`,
  );
}

/** Throws TimestoreError `invalid-request` where the names do not tell one format. */
function formatOf(objects: string[]): ImportFormat {
  const found = new Set(objects.map((key) => /\.(parquet|csv|ndjson|jsonl)(?:\.(?:gz|zst))?$/.exec(key)?.[1]));
  const [format, ...others] = [...found];
  if (format !== undefined && others.length === 0) return format === 'jsonl' ? 'ndjson' : (format as ImportFormat);
  throw new ApiError(
    'invalid-request',
    'format: say what the objects are; their names do not all end in one of .parquet, .csv, .ndjson, .jsonl (.gz, .zst).',
  );
}

function importView(job: JobOf<'import'>): z.input<typeof importSchema> {
  const { objects, read, rows, moved } = importProgress(job);
  const { wrong = 0, rows: errors = [] } = (job.state === 'failed' ? job.progress : {}) as {
    wrong?: number;
    rows?: z.input<typeof wrongSchema>[];
  };
  return {
    id: job.id,
    dataset: job.dataset,
    table: job.table,
    state: job.state,
    objects: { of: objects, read },
    rows: { read: rows, moved },
    error: job.error,
    wrongRows: wrong,
    errors,
    actor: job.actor,
    createdAt: timeText(job.createdAt_ms),
    finishedAt: job.finishedAt_ms === null ? null : timeText(job.finishedAt_ms),
  };
}
