import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { notFound } from '../../src/core/not-found.ts';
import { type JobOfKind, readJob } from '../../src/jobs/job.ts';
import { importErrors, importProgress, scheduleImport } from '../../src/operations/import/request.ts';
import { clientKey, idempotencyHeader } from '../http/acknowledge.ts';
import { importBody, requireFormat, requireOwnObjects } from '../http/import-request.ts';
import { startJobs } from '../http/job-response.ts';
import { timeText } from '../http/paging.ts';
import { idParams, tableParams } from '../http/params.ts';
import { route } from '../http/route.ts';
import { isVisible } from './jobs.ts';

const invalidRowSchema = z.object({
  object: z.string(),
  row: z.int().meta({ description: 'index of the row in the object, from 0' }),
  line: z.int().optional().meta({ description: 'text formats: the line on which the row begins, from 1' }),
  field: z.string(),
  reason: z.string(),
  detail: z.string().optional(),
  value: z.string().meta({ description: 'first 100 characters of the value' }),
});

const importSchema = z
  .object({
    id: z.string(),
    dataset: z.string(),
    table: z.string(),
    state: z.string().meta({ description: 'state of the job: queued, running, done or failed' }),
    objects: z.object({ of: z.int(), read: z.int() }),
    rows: z.object({ read: z.int(), moved: z.int() }).meta({
      description:
        'rows that were read, and rows that were inserted into ClickHouse; queries include them when all are inserted',
    }),
    error: z.string().nullable(),
    wrongRows: z.int().meta({ description: 'invalid rows; with any, no row is stored' }),
    errors: z.array(invalidRowSchema).meta({ description: 'first 100 invalid rows' }),
    actor: z.string(),
    createdAt: z.string(),
    finishedAt: z.string().nullable(),
  })
  .meta({ id: 'Import' });

export const importRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/admin/datasets/:dataset/tables/:table/imports',
      scope: 'admin',
      tag: 'Imports',
      summary: 'Import objects',
      description:
        'Starts a job in which ClickHouse reads objects of the bucket. The job creates the table, or adds missing fields. Queries ' +
        'include all rows of all objects from the same moment on. If an object is missing, invalid or of another schema, no row ' +
        'is imported.',
      params: tableParams,
      headers: idempotencyHeader('the same key with the same body is the same import, until the table is dropped'),
      body: importBody,
      responses: { 202: { description: 'The import', schema: importSchema } },
      errors: ['key-reused', 'dataset-frozen', 'schema-refused', 'forbidden'],
      example: {
        path: { dataset: 'demo', table: 'readings' },
        body: { objects: ['imports/demo/2025.parquet'], fields: [{ name: 'celsius', type: 'double' }] },
      },
    },
    async ({ c, ctx, key, params: { dataset, table }, headers, body, json }) => {
      const { format, ...rest } = body;
      await requireOwnObjects(ctx, key, dataset, rest.objects);
      const request = { ...rest, format: format ?? requireFormat(rest.objects) };
      const job = await scheduleImport(ctx, dataset, table, request, clientKey(headers['Idempotency-Key']));
      startJobs(c);
      return json(202, importView(job));
    },
  ),
  route(
    {
      method: 'get',
      path: '/v1/admin/imports/:id',
      scope: 'admin',
      tag: 'Imports',
      summary: 'Get an import',
      params: idParams('id of the import, which is the id of its job'),
      responses: { 200: { description: 'The progress of the import, and its invalid rows', schema: importSchema } },
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' } },
    },
    async ({ ctx, key, params: { id }, json }) => {
      const job = await readJob(ctx, id).catch((error) => {
        throw error instanceof ApiError && error.code === 'not-found' ? notFound({ kind: 'Import', id }) : error;
      });
      if (job.kind !== 'import' || !isVisible(key, job)) throw notFound({ kind: 'Import', id });
      return json(200, importView(job));
    },
  ),
];

function importView(job: JobOfKind<'import'>): z.input<typeof importSchema> {
  const { objects, read, rows, moved } = importProgress(job);
  const { wrong, rows: errors } = importErrors(job);
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
