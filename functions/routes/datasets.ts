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

const quota = z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional();
const quotaSchema = z.strictObject({
  rowsPerDay: quota.meta({ description: 'accepted rows per UTC day' }),
  bytesPerDay: quota.meta({ description: 'accepted bytes per UTC day, as the rows are buffered' }),
  storageBytes: quota.meta({
    description: 'bytes on the disks of ClickHouse, measured every hour, plus the bytes buffered since',
  }),
});

const title = z.string().min(1).max(255).nullable();

const datasetSchema = z
  .object({
    name: z.string(),
    title: title.meta({ description: 'a name for people' }),
    state: z.enum(states),
    retention: retentionSchema
      .nullable()
      .meta({ description: 'default retention of its tables; null keeps rows forever' }),
    quota: quotaSchema.nullable(),
    migration: takeoverSchema.nullable().meta({ description: 'takeover from a source system; null without one' }),
    tables: z.int(),
    createdAt: z.string(),
    deleteAt: z.string().nullable().meta({ description: 'time of the final deletion, in the state `deleting`' }),
  })
  .meta({ id: 'Dataset' });

const withUsageSchema = datasetSchema
  .extend({
    migration: withMirrorSchema.nullable(),
    usage: z.object({ rowsToday: z.int(), bytesToday: z.int(), storedBytes: z.int(), bytesSince: z.int() }).meta({
      description:
        'usage that counts against the quota; 0 without a quota. `storedBytes`: as last measured; `bytesSince`: buffered since',
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
      description: 'Lists the datasets of the key, by name.',
      query: z.strictObject(listQuery),
      responses: {
        200: {
          description: 'A page of datasets',
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
      return json(200, { datasets: items.map(renderDataset), next: last?.name ?? null });
    },
  ),
  route(
    {
      method: 'post',
      path,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Create a dataset',
      description: 'Creates a dataset with its settings. Inserts also create datasets, with default settings.',
      body: createBody,
      responses: { 201: { description: 'The dataset', schema: datasetSchema, headers: etagHeader } },
      errors: ['not-found', 'conflict'],
      example: { body: { name: 'plant', title: 'The plant', quota: { rowsPerDay: 1_000_000 } } },
    },
    async ({ c, ctx, body, json }) => {
      requireDataset(c, ['admin'], body.name);
      requireRetention(body.retention, ctx.config);
      const made = await createDataset(ctx, body);
      c.header('etag', etagOf(made));
      return json(201, renderDataset(made));
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/:dataset`,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Get a dataset',
      params: datasetParams,
      responses: { 200: { description: 'The dataset', schema: withUsageSchema, headers: etagHeader } },
      example: { path: { dataset: 'demo' } },
    },
    async ({ c, ctx, params: { dataset: name }, json }) => {
      const dataset = await readDataset(ctx, name);
      c.header('etag', etagOf(dataset));
      const { migration, ...rest } = renderDataset(dataset);
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
        'Changes title, state, retention, quota or takeover of a dataset. After the response, no row is accepted that the new state ' +
        'forbids. A job applies a new retention to the tables. A mirror is a job for each table.',
      params: datasetParams,
      headers: ifMatchHeader(revisionForm),
      body: changeBody,
      responses: { 200: { description: 'The changed dataset', schema: datasetSchema, headers: etagHeader } },
      errors: ['not-found', 'conflict', 'precondition-failed'],
      example: { path: { dataset: 'plant' }, body: { state: 'frozen', retention: { totalDays: 365 } } },
    },
    async ({ c, ctx, params: { dataset: name }, headers, body, json }) => {
      const change = body;
      if (Object.keys(change).length === 0) {
        throw new ApiError(
          'invalid-request',
          'The body must contain at least one of title, state, retention, quota, migration.',
        );
      }
      requireRetention(change.retention, ctx.config);
      requireSource(change.migration, ctx.config);
      const [revision] = headers['If-Match'] ?? [];
      const dataset = await changeDataset(ctx, name, change, revision);
      if (change.retention !== undefined) {
        await createJob(ctx, { kind: 'apply-retention', dataset: name, table: null, request: {} });
      }
      if (change.retention !== undefined || change.migration?.mirror) startJobs(c);
      c.header('etag', etagOf(dataset));
      return json(200, renderDataset(dataset));
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
        'The dataset rejects rows and queries from now on (within 30 s on instances that have it in memory). After the grace ' +
        'period, its tables, rows, exports and uploads are deleted, and keys and webhooks no longer list it. Before that, ' +
        '`state: active` cancels the deletion.',
      params: datasetParams,
      query: graceQuery,
      headers: ifMatchHeader(revisionForm),
      responses: { 202: { description: 'The dataset, with the time of the final deletion', schema: datasetSchema } },
      errors: ['not-found', 'conflict', 'precondition-failed'],
      example: { path: { dataset: 'plant' }, query: { graceSeconds: '86400' } },
    },
    async ({ c, ctx, params: { dataset: name }, query, headers, json }) => {
      const { graceSeconds = grace_s } = query;
      const [revision] = headers['If-Match'] ?? [];
      const dataset = await deleteDataset(ctx, name, graceSeconds, revision);
      if (graceSeconds === 0) startJobs(c);
      return json(202, renderDataset(dataset));
    },
  ),
];

function etagOf({ revision }: Dataset): string {
  return `"${revision}"`;
}

function renderDataset(dataset: Dataset): z.input<typeof datasetSchema> {
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
