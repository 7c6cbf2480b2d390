import * as z from 'zod';
import { readUsage } from '../../src/buffer/quota.ts';
import {
  changeDataset,
  createDataset,
  type Dataset,
  deleteDataset,
  listDatasets,
  readDataset,
} from '../../src/catalog/datasets.ts';
import { ApiError } from '../../src/core/errors.ts';
import { slug } from '../../src/core/identifiers.ts';
import { createJob } from '../../src/jobs/job.ts';
import { readMirrorState } from '../../src/operations/takeover/mirror-state.ts';
import { states } from '../../src/schema/table-state.ts';
import { requireDataset } from '../http/auth.ts';
import {
  etagHeader,
  grace_s,
  graceQuery,
  listQuery,
  requireRetention,
  retentionSchema,
  stateSchema,
} from '../http/catalogue-schema.ts';
import { startJobs } from '../http/job-response.ts';
import { nextSchema, pageOf, timeText, wanted } from '../http/paging.ts';
import { datasetParams, ifMatchHeader } from '../http/params.ts';
import { route } from '../http/route.ts';
import { mirrorStateView, requireSource, takeoverSchema, withMirrorSchema } from '../http/takeover-schema.ts';

const most = z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional();
const quotaSchema = z.strictObject({
  rowsPerDay: most.meta({ description: 'rows accepted in a day of UTC' }),
  bytesPerDay: most.meta({ description: 'and bytes, as the rows are buffered' }),
  storageBytes: most.meta({
    description: 'bytes on ClickHouse’s disks when they were last looked at, every hour, and buffered since',
  }),
});

const title = z.string().min(1).max(255).nullable();

const datasetSchema = z
  .object({
    name: z.string(),
    title: title.meta({ description: 'what people call it' }),
    state: z.enum(states),
    retention: retentionSchema
      .nullable()
      .meta({ description: 'of tables without their own; null keeps rows for ever' }),
    quota: quotaSchema.nullable(),
    migration: takeoverSchema.nullable().meta({ description: 'null: this deployment alone reads and writes' }),
    tables: z.int(),
    createdAt: z.string(),
    deleteAt: z.string().nullable().meta({ description: 'when it goes for good, while its state is `deleting`' }),
  })
  .meta({ id: 'Dataset' });

const withUsageSchema = datasetSchema
  .extend({
    migration: withMirrorSchema.nullable(),
    usage: z.object({ rowsToday: z.int(), bytesToday: z.int(), storedBytes: z.int(), bytesSince: z.int() }).meta({
      description: 'what its quota counts; 0 without one. Stored bytes as last looked at, and those buffered since',
    }),
  })
  .meta({ id: 'DatasetWithUsage' });

const createBody = z.strictObject({
  name: slug,
  title: title.optional(),
  retention: retentionSchema.nullable().optional(),
  quota: quotaSchema.nullable().optional(),
});

const changeBody = z.strictObject({
  title: title.optional(),
  state: stateSchema.optional(),
  retention: retentionSchema.nullable().optional(),
  quota: quotaSchema.nullable().optional(),
  migration: takeoverSchema.nullable().optional(),
});

const revisionForm = /^"([0-9]{1,9})"$/;

const path = '/v1/admin/datasets';
export const datasetRoutes = [
  route(
    {
      method: 'get',
      path,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'List datasets',
      description: 'By name, those that the key lists.',
      query: z.strictObject(listQuery),
      responses: {
        200: {
          description: 'A page of them',
          schema: z.object({ datasets: z.array(datasetSchema), next: nextSchema }),
        },
      },
      example: { query: { limit: '10' } },
    },
    async ({ ctx, key, query: { cursor, limit, search, state }, json }) => {
      const found = await listDatasets(ctx, {
        after: cursor,
        search,
        state,
        limit: wanted(limit),
        of: key.listed('admin'),
      });
      const { items, last } = pageOf(found, limit);
      return json(200, { datasets: items.map(viewOf), next: last?.name ?? null });
    },
  ),
  route(
    {
      method: 'post',
      path,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Create a dataset',
      description: 'Writes make datasets as well; this is for one with a policy from the start.',
      body: createBody,
      responses: { 201: { description: 'The dataset', schema: datasetSchema, headers: etagHeader } },
      errors: ['not-found', 'conflict'],
      example: { body: { name: 'plant', title: 'The plant', quota: { rowsPerDay: 1_000_000 } } },
    },
    async ({ c, ctx, body, json }) => {
      requireDataset(c, ['admin'], body.name);
      requireRetention(body.retention, ctx.config);
      const made = await createDataset(ctx, body);
      c.header('etag', tagOf(made));
      return json(201, viewOf(made));
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/:dataset`,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Read a dataset',
      params: datasetParams,
      responses: { 200: { description: 'The dataset', schema: withUsageSchema, headers: etagHeader } },
      example: { path: { dataset: 'demo' } },
    },
    async ({ c, ctx, params: { dataset: name }, json }) => {
      const dataset = await readDataset(ctx, name);
      c.header('etag', tagOf(dataset));
      const { migration, ...rest } = viewOf(dataset);
      const view = {
        ...rest,
        usage: await readUsage(ctx, name),
        migration: migration && { ...migration, mirrored: mirrorStateView(await readMirrorState(ctx, name)) },
      };
      return json(200, view);
    },
  ),
  route(
    {
      method: 'patch',
      path: `${path}/:dataset`,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Change a dataset',
      description:
        'Its title, whether it takes rows, how long they are kept, how many there may be, and how it is taken over from ' +
        'another system. When this answers, no row is accepted any more that the state forbids. A retention is applied to ' +
        'its tables by a job, and a mirror is a job for each of them.',
      params: datasetParams,
      headers: ifMatchHeader(revisionForm),
      body: changeBody,
      responses: { 200: { description: 'The dataset as it is now', schema: datasetSchema, headers: etagHeader } },
      errors: ['not-found', 'conflict', 'precondition-failed'],
      example: { path: { dataset: 'plant' }, body: { state: 'frozen', retention: { totalDays: 365 } } },
    },
    async ({ c, ctx, params: { dataset: name }, headers, body, json }) => {
      const change = body;
      if (Object.keys(change).length === 0) {
        throw new ApiError('invalid-request', 'Name what to change: title, state, retention, quota, migration.');
      }
      requireRetention(change.retention, ctx.config);
      requireSource(change.migration, ctx.config);
      const [revision] = headers['If-Match'] ?? [];
      const dataset = await changeDataset(ctx, name, change, revision);
      if (change.retention !== undefined) {
        await createJob(ctx, { kind: 'apply-retention', dataset: name, table: null, request: {} });
      }
      if (change.retention !== undefined || change.migration?.mirror) startJobs(c);
      c.header('etag', tagOf(dataset));
      return json(200, viewOf(dataset));
    },
  ),
  route(
    {
      method: 'delete',
      path: `${path}/:dataset`,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Delete a dataset',
      description:
        'It takes no rows and is gone for readers at once (instances that have it in memory follow within 30 s), and for good ' +
        'after the grace, with its tables, their rows, exports and uploads; keys and webhooks no longer list it then. Until ' +
        'then, `state: active` takes it back.',
      params: datasetParams,
      query: graceQuery,
      headers: ifMatchHeader(revisionForm),
      responses: { 202: { description: 'The dataset, and when it goes', schema: datasetSchema } },
      errors: ['not-found', 'conflict', 'precondition-failed'],
      example: { path: { dataset: 'plant' }, query: { graceSeconds: '86400' } },
    },
    async ({ c, ctx, params: { dataset: name }, query, headers, json }) => {
      const { graceSeconds = grace_s } = query;
      const [revision] = headers['If-Match'] ?? [];
      const dataset = await deleteDataset(ctx, name, graceSeconds, revision);
      if (graceSeconds === 0) startJobs(c);
      return json(202, viewOf(dataset));
    },
  ),
];

function tagOf({ revision }: Dataset): string {
  return `"${revision}"`;
}

function viewOf(dataset: Dataset): z.input<typeof datasetSchema> {
  const { name, title: called, state, retention, quota, migration, tables, createdAt_ms, deleteAt_ms } = dataset;
  return {
    name,
    title: called,
    state,
    retention,
    quota,
    migration,
    tables,
    createdAt: timeText(createdAt_ms),
    deleteAt: deleteAt_ms === null ? null : timeText(deleteAt_ms),
  };
}
