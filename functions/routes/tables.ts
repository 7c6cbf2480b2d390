import * as z from 'zod';
import { changeTable, deleteTable, type TableChange, tableTag, type Version } from '../../src/catalog/change-table.ts';
import { createTable } from '../../src/catalog/create-table.ts';
import { readDataset } from '../../src/catalog/datasets.ts';
import { type ListedTable, listTables, readListed } from '../../src/catalog/list-tables.ts';
import { setUpLanes } from '../../src/catalog/provision-lanes.ts';
import { ApiError } from '../../src/core/errors.ts';
import { slug } from '../../src/core/identifiers.ts';
import type { Context } from '../../src/create-context.ts';
import { mergeSchema } from '../../src/schema/declared.ts';
import { states } from '../../src/schema/table-state.ts';
import { fieldType, precisionOf, timestampPrecision } from '../../src/schema/types.ts';
import { routes } from '../http/app.ts';
import { requireScope } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { ifMatch, nextSchema, pageOf, queryAs, timeText, wanted } from '../http/paging.ts';
import { requireSlug } from '../http/params.ts';
import {
  grace_s,
  graceQuery,
  ifMatchHeader,
  listQuery,
  requireRetention,
  retentionSchema,
  stateSchema,
} from './datasets.ts';
import { workBehind } from './jobs.ts';

const lanesSchema = z.int().min(1).meta({ description: 'logs of the table in the hot buffer, flushed side by side' });
const windowSchema = z.enum(['hour', 'day', 'month']);

const changeBody = z.strictObject({
  lanes: z
    .union([lanesSchema, z.literal('spread')])
    .optional()
    .meta({ description: '`spread`: as many as it takes for one on every shard of the cluster' }),
  retention: z
    .union([retentionSchema, z.literal('inherit')])
    .nullable()
    .optional()
    .meta({ description: 'null keeps rows for ever; `inherit` goes by the dataset, as tables do at first' }),
  state: stateSchema.optional(),
});

export const fieldSchema = z.object({
  name: z.string(),
  type: fieldType,
  default: z.string().optional().meta({ description: 'as JSON text' }),
});

const tableSchema = z
  .object({
    dataset: z.string(),
    name: z.string(),
    state: z.enum(states).meta({ description: 'its own, or its dataset’s where that is stricter' }),
    lanes: z.int(),
    shards: z.array(z.int()).optional().meta({
      description: 'the shard of the cluster that each lane is on; those that are not written any more come last',
    }),
    retention: retentionSchema.nullable(),
    inheritsRetention: z.boolean().meta({ description: 'whether the retention is the dataset’s' }),
    partition: windowSchema,
    schema: z.object({
      version: z.int(),
      timestampColumn: z.string(),
      timestampPrecision: timestampPrecision.meta({ description: 'digits of a second that timestamps keep' }),
      keyFields: z.array(z.string()),
      fields: z.array(fieldSchema),
    }),
    createdAt: z.string(),
    deleteAt: z.string().nullable().meta({ description: 'when it goes for good, while its state is `deleting`' }),
  })
  .meta({ id: 'Table' });

const createBody = z.strictObject({
  name: slug,
  fields: z
    .array(z.strictObject({ name: z.string(), type: fieldType }))
    .max(10_000)
    .default([])
    .meta({ description: 'beside the timestamp; rows may bring more' }),
  timestampColumn: z.string().optional().meta({ description: '`timestamp` by default' }),
  timestampPrecision: timestampPrecision
    .optional()
    .meta({ description: 'digits of a second that timestamps keep: 9 by default; finer values are refused' }),
  keyFields: z.array(z.string()).max(16).optional().meta({ description: 'the sort key before the timestamp' }),
  partition: windowSchema.default('day').meta({ description: 'how much time a partition holds in ClickHouse' }),
  lanes: lanesSchema.optional().meta({ description: 'the limit `lanes_default` if left out' }),
  retention: retentionSchema.nullable().optional().meta({ description: 'its dataset’s if left out' }),
});

const tagForm = /^"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})"$/;
const path = '/v1/admin/datasets/:dataset/tables';
const tagHeader = { ETag: 'names this version of it, for `If-Match`' };
const example = { path: { dataset: 'demo', table: 'readings' } };
const bodyErrors = ['not-found'] as const;

export const tableRoutes = routes()
  .get(
    path,
    openApiRoute({
      summary: 'List tables',
      tag: 'Catalogue',
      path: ['dataset'],
      query: z.strictObject(listQuery),
      answers: {
        200: { description: 'A page, by name', schema: z.object({ tables: z.array(tableSchema), next: nextSchema }) },
      },
      errors: ['not-found'],
      example: { path: { dataset: 'demo' }, query: { search: 'read' } },
    }),
    requireScope('admin'),
    async (c) => {
      const dataset = requireSlug('dataset', c.req.param('dataset'));
      const { cursor, limit, search, state } = queryAs(c, z.strictObject(listQuery));
      const page = { after: cursor, search, state, limit: wanted(limit) };
      const found = await listTables(c.get('ctx'), dataset, page);
      // Nothing of what is there is another thing than nothing there.
      if (found.length === 0) await readDataset(c.get('ctx'), dataset);
      const { items, last } = pageOf(found, limit);
      return c.json({ tables: items.map(viewOf), next: last?.name ?? null });
    },
  )
  .post(
    path,
    openApiRoute({
      summary: 'Create a table',
      description:
        'Writes make tables as well; this is for one with a schema, keys or lanes from the start. A dataset has 1,000 tables by ' +
        'default; one more is 413 `limit-exceeded`.',
      tag: 'Catalogue',
      path: ['dataset'],
      body: { required: true, types: { 'application/json': createBody } },
      answers: { 201: { description: 'The table', schema: tableSchema, headers: tagHeader } },
      errors: [...bodyErrors, 'conflict', 'dataset-frozen', 'schema-refused'],
      example: {
        path: { dataset: 'demo' },
        body: { name: 'meters', fields: [{ name: 'site', type: 'string' }], keyFields: ['site'], lanes: 2 },
      },
    }),
    requireScope('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const dataset = requireSlug('dataset', c.req.param('dataset'));
      const { name, partition, retention, lanes: asked, ...declared } = await parseBody(c, createBody);
      const lanes = asked ?? ctx.config.limits.lanes_default;
      requireRetention(retention, ctx.config);
      requireLanes(lanes, ctx);
      const { schema } = mergeSchema(undefined, { ...declared, defaults: [] }, ctx.config.limits);
      const table = await createTable(ctx, { dataset, name, window: partition, lanes, schema, retention });
      if (!table.isNew) {
        throw new ApiError('conflict', `There is a table ${name} in dataset ${dataset} already.`);
      }
      await setUpLanes(ctx, table);
      const listed = await requireListed(ctx, dataset, name);
      c.header('etag', tagOf(listed));
      return c.json(viewOf(listed), 201);
    },
  )
  .get(
    `${path}/:table`,
    openApiRoute({
      summary: 'Read a table',
      tag: 'Catalogue',
      path: ['dataset', 'table'],
      answers: { 200: { description: 'The table', schema: tableSchema, headers: tagHeader } },
      errors: ['not-found'],
      example,
    }),
    requireScope('admin'),
    async (c) => {
      const [dataset, name] = [
        requireSlug('dataset', c.req.param('dataset')),
        requireSlug('table', c.req.param('table')),
      ];
      const table = await requireListed(c.get('ctx'), dataset, name);
      c.header('etag', tagOf(table));
      return c.json(viewOf(table));
    },
  )
  .patch(
    `${path}/:table`,
    openApiRoute({
      summary: 'Change a table',
      description:
        'The number of its lanes, how long its rows are kept and whether it takes rows. Clients may write, retry and read ' +
        'meanwhile: keys that were accepted are remembered whatever the number of lanes is. When this answers, no row is ' +
        'accepted any more that the state forbids.',
      tag: 'Catalogue',
      path: ['dataset', 'table'],
      headers: ifMatchHeader(tagForm),
      body: { required: true, types: { 'application/json': changeBody } },
      answers: { 200: { description: 'The table as it is now', schema: tableSchema, headers: tagHeader } },
      errors: [...bodyErrors, 'conflict', 'precondition-failed'],
      example: { ...example, body: { lanes: 4, retention: { totalDays: 3650 } } },
    }),
    requireScope('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const [dataset, name] = [
        requireSlug('dataset', c.req.param('dataset')),
        requireSlug('table', c.req.param('table')),
      ];
      const change = await parseBody(c, changeBody);
      requirePossible(change, ctx);
      await changeTable(ctx, dataset, name, change, versionIn(ifMatch(c, tagForm)));
      const table = await requireListed(ctx, dataset, name);
      c.header('etag', tagOf(table));
      return c.json(viewOf(table));
    },
  )
  .delete(
    `${path}/:table`,
    openApiRoute({
      summary: 'Delete a table',
      description:
        'It takes no rows and is gone for readers at once (instances that have it in memory follow within 30 s), and for good ' +
        'after the grace, with its exports and quarantined rows. Until then, `state: active` takes it back.',
      tag: 'Catalogue',
      path: ['dataset', 'table'],
      headers: ifMatchHeader(tagForm),
      query: graceQuery,
      answers: { 202: { description: 'The table, and when it goes', schema: tableSchema } },
      errors: ['not-found', 'conflict', 'precondition-failed'],
      example: { path: { dataset: 'demo', table: 'meters' }, query: { graceSeconds: '0' } },
    }),
    requireScope('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const [dataset, name] = [
        requireSlug('dataset', c.req.param('dataset')),
        requireSlug('table', c.req.param('table')),
      ];
      const { graceSeconds = grace_s } = queryAs(c, graceQuery);
      // Before: without a grace it may be gone by the time of the answer.
      const table = await requireListed(ctx, dataset, name);
      const { deleteAt_ms } = await deleteTable(ctx, dataset, name, graceSeconds, versionIn(ifMatch(c, tagForm)));
      if (graceSeconds === 0) workBehind(c);
      // That of its dataset may come first.
      const gone_ms = Math.min(deleteAt_ms, table.deleteAt_ms ?? deleteAt_ms);
      return c.json(viewOf({ ...table, state: 'deleting', deleteAt_ms: gone_ms }), 202);
    },
  );

function versionIn(parts: number[] | undefined): Version | undefined {
  if (parts === undefined) return undefined;
  const [life = 0, revision = 0, schemaVersion = 0] = parts;
  return { life, revision, schemaVersion };
}

function tagOf({ life, revision, schema }: ListedTable): string {
  return tableTag({ life, revision, schemaVersion: schema.version });
}

async function requireListed(ctx: Context, dataset: string, name: string): Promise<ListedTable> {
  const table = await readListed(ctx, dataset, name);
  if (table !== undefined) return table;
  throw new ApiError('not-found', `There is no table ${name} in dataset ${dataset}.`);
}

function requireLanes(lanes: number | 'spread', { config }: Context): void {
  if (lanes === 'spread' || lanes <= config.limits.lanes_max) return;
  throw new ApiError('invalid-request', `lanes: at most ${config.limits.lanes_max} (limit lanes_max).`);
}

function requirePossible(change: TableChange, ctx: Context): void {
  const { lanes, retention, state } = change;
  if (lanes === undefined && retention === undefined && state === undefined) {
    throw new ApiError('invalid-request', 'Name what to change: lanes, retention, state.');
  }
  requireLanes(lanes ?? 1, ctx);
  if (retention !== 'inherit') requireRetention(retention, ctx.config);
}

export function fieldOf({ name, type, default: text }: z.input<typeof fieldSchema>): z.input<typeof fieldSchema> {
  return { name, type, ...(text !== undefined && { default: text }) };
}

function viewOf(table: ListedTable): z.input<typeof tableSchema> {
  const { dataset, name, state, lanes, shards, retention, inherits, window, schema, createdAt_ms, deleteAt_ms } = table;
  const { version, timestampColumn, keyFields, fields } = schema;
  return {
    ...(shards !== null && { shards }),
    dataset,
    name,
    state,
    lanes,
    retention,
    inheritsRetention: inherits,
    partition: window,
    schema: {
      version,
      timestampColumn,
      timestampPrecision: precisionOf(schema),
      keyFields,
      fields: fields.map(fieldOf),
    },
    createdAt: timeText(createdAt_ms),
    deleteAt: deleteAt_ms === null ? null : timeText(deleteAt_ms),
  };
}
