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
import type { Config } from '../../src/core/config.ts';
import { ApiError } from '../../src/core/errors.ts';
import { slug } from '../../src/core/identifiers.ts';
import { createJob } from '../../src/jobs/job.ts';
import { readMirrorState } from '../../src/operations/takeover/mirror-state.ts';
import { states } from '../../src/schema/table-state.ts';
import { routes } from '../http/app.ts';
import { requireDataset, requireScope } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { ifMatch, nextSchema, pageOf, pageQuery, queryAs, timeText, wanted, wholeNumber } from '../http/paging.ts';
import { requireSlug } from '../http/params.ts';
import { mirrorStateView, requireSource, takeoverSchema, withMirrorSchema } from '../http/takeover-schema.ts';
import { workBehind } from './jobs.ts';

export const retentionSchema = z.strictObject({
  totalDays: z.int().min(1).max(36_500).meta({ description: 'rows go so many days after their timestamp' }),
  hotDays: z
    .int()
    .min(1)
    .optional()
    .meta({ description: 'and move to the cold volume after so many; needs a storage policy with one' }),
});

const most = z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional();
const quotaSchema = z.strictObject({
  rowsPerDay: most.meta({ description: 'rows accepted in a day of UTC' }),
  bytesPerDay: most.meta({ description: 'and bytes, as the rows are buffered' }),
  storageBytes: most.meta({
    description: 'bytes on ClickHouse’s disks when they were last looked at, every hour, and buffered since',
  }),
});

export const stateSchema = z.enum(['active', 'frozen', 'archived']).meta({
  description: '`frozen`: takes no rows; `archived`: nor is it listed; `active` takes a deletion back',
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

export const listQuery = {
  ...pageQuery,
  search: z.string().min(1).max(100).optional().meta({ description: 'a part of its name' }),
  state: z.enum(states).optional().meta({ description: 'those in it; all but the archived if left out' }),
};

export const graceQuery = z.strictObject({
  graceSeconds: wholeNumber(0, 365 * 86_400)
    .optional()
    .meta({ description: 'how long it can be taken back: 7 days by default, a year at most' }),
});
export const grace_s = 7 * 86_400;

const revisionForm = /^"([0-9]{1,9})"$/;

const path = '/v1/admin/datasets';
const errors = ['not-found'] as const;
const tagHeader = { ETag: 'names this version of it, for `If-Match`' };
/** @param tag the form of its `ETag` */
export const ifMatchHeader = (tag: RegExp) => ({
  'If-Match': z
    .string()
    .regex(new RegExp(`^(?:\\*|${tag.source.slice(1, -1)})$`))
    .meta({ description: 'the `ETag` that it must still have, or `*`; 412 if somebody has changed it since' }),
});

export const datasetRoutes = routes()
  .get(
    path,
    openApiRoute({
      summary: 'List datasets',
      description: 'By name, those that the key lists.',
      tag: 'Catalogue',
      query: z.strictObject(listQuery),
      answers: {
        200: {
          description: 'A page of them',
          schema: z.object({ datasets: z.array(datasetSchema), next: nextSchema }),
        },
      },
      example: { query: { limit: '10' } },
    }),
    requireScope('admin'),
    async (c) => {
      const { cursor, limit, search, state } = queryAs(c, z.strictObject(listQuery));
      const found = await listDatasets(c.get('ctx'), {
        after: cursor,
        search,
        state,
        limit: wanted(limit),
        of: c.get('key').listed('admin'),
      });
      const { items, last } = pageOf(found, limit);
      return c.json({ datasets: items.map(viewOf), next: last?.name ?? null });
    },
  )
  .post(
    path,
    openApiRoute({
      summary: 'Create a dataset',
      description: 'Writes make datasets as well; this is for one with a policy from the start.',
      tag: 'Catalogue',
      body: { required: true, types: { 'application/json': createBody } },
      answers: { 201: { description: 'The dataset', schema: datasetSchema, headers: tagHeader } },
      errors: [...errors, 'conflict'],
      example: { body: { name: 'plant', title: 'The plant', quota: { rowsPerDay: 1_000_000 } } },
    }),
    requireScope('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const body = await parseBody(c, createBody);
      requireDataset(c, ['admin'], body.name);
      requireRetention(body.retention, ctx.config);
      const made = await createDataset(ctx, body);
      c.header('etag', tagOf(made));
      return c.json(viewOf(made), 201);
    },
  )
  .get(
    `${path}/:dataset`,
    openApiRoute({
      summary: 'Read a dataset',
      tag: 'Catalogue',
      path: ['dataset'],
      answers: { 200: { description: 'The dataset', schema: withUsageSchema, headers: tagHeader } },
      errors: ['not-found'],
      example: { path: { dataset: 'demo' } },
    }),
    requireScope('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const name = requireSlug('dataset', c.req.param('dataset'));
      const dataset = await readDataset(ctx, name);
      c.header('etag', tagOf(dataset));
      const { migration, ...rest } = viewOf(dataset);
      const view = {
        ...rest,
        usage: await readUsage(ctx, name),
        migration: migration && { ...migration, mirrored: mirrorStateView(await readMirrorState(ctx, name)) },
      };
      return c.json(view satisfies z.input<typeof withUsageSchema>);
    },
  )
  .patch(
    `${path}/:dataset`,
    openApiRoute({
      summary: 'Change a dataset',
      description:
        'Its title, whether it takes rows, how long they are kept, how many there may be, and how it is taken over from ' +
        'another system. When this answers, no row is accepted any more that the state forbids. A retention is applied to ' +
        'its tables by a job, and a mirror is a job for each of them.',
      tag: 'Catalogue',
      path: ['dataset'],
      headers: ifMatchHeader(revisionForm),
      body: { required: true, types: { 'application/json': changeBody } },
      answers: { 200: { description: 'The dataset as it is now', schema: datasetSchema, headers: tagHeader } },
      errors: [...errors, 'conflict', 'precondition-failed'],
      example: { path: { dataset: 'plant' }, body: { state: 'frozen', retention: { totalDays: 365 } } },
    }),
    requireScope('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const name = requireSlug('dataset', c.req.param('dataset'));
      const change = await parseBody(c, changeBody);
      if (Object.keys(change).length === 0) {
        throw new ApiError('invalid-request', 'Name what to change: title, state, retention, quota, migration.');
      }
      requireRetention(change.retention, ctx.config);
      requireSource(change.migration, ctx.config);
      const [revision] = ifMatch(c, revisionForm) ?? [];
      const dataset = await changeDataset(ctx, name, change, revision);
      if (change.retention !== undefined) {
        await createJob(ctx, { kind: 'apply-retention', dataset: name, table: null, request: {} });
      }
      if (change.retention !== undefined || change.migration?.mirror) workBehind(c);
      c.header('etag', tagOf(dataset));
      return c.json(viewOf(dataset));
    },
  )
  .delete(
    `${path}/:dataset`,
    openApiRoute({
      summary: 'Delete a dataset',
      description:
        'It takes no rows and is gone for readers at once (instances that have it in memory follow within 30 s), and for good ' +
        'after the grace, with its tables, their rows, exports and uploads; keys and webhooks no longer list it then. Until ' +
        'then, `state: active` takes it back.',
      tag: 'Catalogue',
      path: ['dataset'],
      headers: ifMatchHeader(revisionForm),
      query: graceQuery,
      answers: { 202: { description: 'The dataset, and when it goes', schema: datasetSchema } },
      errors: ['not-found', 'conflict', 'precondition-failed'],
      example: { path: { dataset: 'plant' }, query: { graceSeconds: '86400' } },
    }),
    requireScope('admin'),
    async (c) => {
      const name = requireSlug('dataset', c.req.param('dataset'));
      const { graceSeconds = grace_s } = queryAs(c, graceQuery);
      const [revision] = ifMatch(c, revisionForm) ?? [];
      const dataset = await deleteDataset(c.get('ctx'), name, graceSeconds, revision);
      if (graceSeconds === 0) workBehind(c);
      return c.json(viewOf(dataset), 202);
    },
  );

function tagOf({ revision }: Dataset): string {
  return `"${revision}"`;
}

/** Throws TimestoreError `invalid-request` for what the deployment cannot do. */
export function requireRetention(retention: z.output<typeof retentionSchema> | null | undefined, config: Config): void {
  const { hotDays, totalDays } = retention ?? {};
  if (hotDays === undefined || totalDays === undefined) return;
  const problems: string[] = [];
  if (config.CLICKHOUSE_STORAGE_POLICY === undefined) {
    problems.push('retention.hotDays: there is no cold volume; set CLICKHOUSE_STORAGE_POLICY');
  }
  if (hotDays >= totalDays) problems.push('retention.hotDays: must be less than totalDays');
  if (problems.length > 0) throw new ApiError('invalid-request', `${problems.join('; ')}.`);
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
