import * as z from 'zod';
import { changeTable, deleteTable, type TableChange, tableTag, type Version } from '../../src/catalog/change-table.ts';
import { createTable } from '../../src/catalog/create-table.ts';
import { readDataset } from '../../src/catalog/datasets.ts';
import { type ListedTable, listTables, readListed } from '../../src/catalog/list-tables.ts';
import { setUpLanes } from '../../src/catalog/provision-lanes.ts';
import { ApiError } from '../../src/core/errors.ts';
import { slug } from '../../src/core/identifiers.ts';
import { notFound } from '../../src/core/not-found.ts';
import type { Context } from '../../src/create-context.ts';
import { mergeSchema } from '../../src/schema/declared.ts';
import { states } from '../../src/schema/table-state.ts';
import { fieldType, precisionOf, timestampPrecision } from '../../src/schema/types.ts';
import {
  etagHeader,
  fieldSchema,
  fieldValues,
  fieldView,
  grace_s,
  graceQuery,
  listQuery,
  requireRetention,
  retentionSchema,
  stateSchema,
} from '../http/catalogue-schema.ts';
import { startJobs } from '../http/job-response.ts';
import { nextSchema, pageOf, timeText, wanted } from '../http/paging.ts';
import { datasetParams, ifMatchHeader, tableParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const lanesSchema = z
  .int()
  .min(1)
  .meta({ description: 'number of lanes in the hot buffer, which are flushed in parallel' });
const windowSchema = z.enum(['hour', 'day', 'month']);

const changeBody = z.strictObject({
  lanes: z
    .union([lanesSchema, z.literal('spread')])
    .optional()
    .meta({ description: '`spread`: as many lanes as needed for one on every shard of the cluster' }),
  retention: z
    .union([retentionSchema, z.literal('inherit')])
    .nullable()
    .optional()
    .meta({
      description: 'null keeps rows forever; `inherit` (the default of a new table) uses the retention of the dataset',
    }),
  state: stateSchema.optional(),
});

const tableSchema = z
  .object({
    dataset: z.string(),
    name: z.string(),
    state: z.enum(states).meta({ description: 'own state, or the state of the dataset if that is stricter' }),
    lanes: z.int(),
    shards: z.array(z.int()).optional().meta({
      description: 'shard of each lane in a cluster; lanes that are no longer written come last',
    }),
    retention: retentionSchema.nullable(),
    inheritsRetention: z.boolean().meta({ description: 'true if the table uses the retention of the dataset' }),
    partition: windowSchema,
    schema: z.object({
      version: z.int(),
      timestampColumn: z.string(),
      timestampPrecision: timestampPrecision.meta({ description: 'digits of a second in timestamps' }),
      keyFields: z.array(z.string()),
      fields: z.array(fieldSchema),
    }),
    createdAt: z.string(),
    deleteAt: z.string().nullable().meta({ description: 'time of the final deletion, in the state `deleting`' }),
  })
  .meta({ id: 'Table' });

const createBody = z.strictObject({
  name: slug,
  fields: z
    .array(
      z.strictObject({
        name: z.string(),
        type: fieldType,
        values: fieldValues.optional(),
        required: z.literal(true).optional().meta({ description: 'the field cannot be null or absent' }),
      }),
    )
    .max(10_000)
    .default([])
    .meta({ description: 'fields beside the timestamp; inserts can add more' }),
  timestampColumn: z.string().optional().meta({ description: '`timestamp` by default' }),
  timestampPrecision: timestampPrecision
    .optional()
    .meta({ description: 'digits of a second in timestamps: 9 by default; values with more digits are rejected' }),
  keyFields: z
    .array(z.string())
    .max(16)
    .optional()
    .meta({ description: 'fields of the sort key before the timestamp' }),
  partition: windowSchema.default('day').meta({ description: 'time span of a partition in ClickHouse' }),
  lanes: lanesSchema.optional().meta({ description: 'the limit `lanes_default` by default' }),
  retention: retentionSchema.nullable().optional().meta({ description: 'the retention of the dataset by default' }),
});

const tagForm = /^"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})"$/;
const path = '/v1/admin/datasets/:dataset/tables';
const example = { path: { dataset: 'demo', table: 'readings' } };

export const tableRoutes = [
  route(
    {
      method: 'get',
      path,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'List tables',
      params: datasetParams,
      query: z.strictObject(listQuery),
      responses: {
        200: {
          description: 'A page of tables, by name',
          schema: z.object({ tables: z.array(tableSchema), next: nextSchema }),
        },
      },
      example: { path: { dataset: 'demo' }, query: { search: 'read' } },
    },
    async ({ ctx, params: { dataset }, query, json }) => {
      const { cursor, limit, search, state } = query;
      const page = { after: cursor, search, state, limit: wanted(limit) };
      const found = await listTables(ctx, dataset, page);
      // An empty list of a dataset that does not exist must be an error.
      if (found.length === 0) await readDataset(ctx, dataset);
      const { items, last } = pageOf(found, limit);
      return json(200, { tables: items.map(renderTable), next: last?.name ?? null });
    },
  ),
  route(
    {
      method: 'post',
      path,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Create a table',
      description:
        'Creates a table with schema, sort key and lanes. Inserts also create tables, with default settings. By default a dataset ' +
        'can have 1,000 tables; the response to one more is 413 `limit-exceeded`.',
      params: datasetParams,
      body: createBody,
      responses: { 201: { description: 'The table', schema: tableSchema, headers: etagHeader } },
      errors: ['not-found', 'conflict', 'dataset-frozen', 'schema-refused'],
      example: {
        path: { dataset: 'demo' },
        body: { name: 'meters', fields: [{ name: 'site', type: 'string' }], keyFields: ['site'], lanes: 2 },
      },
    },
    async ({ c, ctx, params: { dataset }, body, json }) => {
      const { name, partition, retention, lanes: asked, ...declared } = body;
      const lanes = asked ?? ctx.config.limits.lanes_default;
      requireRetention(retention, ctx.config);
      requireLanes(lanes, ctx);
      const { schema } = mergeSchema(undefined, { ...declared, defaults: [] }, ctx.config.limits);
      const table = await createTable(ctx, { dataset, name, window: partition, lanes, schema, retention });
      if (!table.isNew) {
        throw new ApiError('conflict', `Table ${name} of dataset ${dataset} exists already.`);
      }
      await setUpLanes(ctx, table);
      const listed = await requireListed(ctx, dataset, name);
      c.header('etag', etagOf(listed));
      return json(201, renderTable(listed));
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/:table`,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Get a table',
      params: tableParams,
      responses: { 200: { description: 'The table', schema: tableSchema, headers: etagHeader } },
      example,
    },
    async ({ c, ctx, params: { dataset, table: name }, json }) => {
      const table = await requireListed(ctx, dataset, name);
      c.header('etag', etagOf(table));
      return json(200, renderTable(table));
    },
  ),
  route(
    {
      method: 'patch',
      path: `${path}/:table`,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Change a table',
      description:
        'Changes the number of lanes, the retention or the state of a table. Clients can insert, retry and query meanwhile; ' +
        'accepted keys stay known when the number of lanes changes. After the response, no row is accepted that the new state ' +
        'forbids.',
      params: tableParams,
      headers: ifMatchHeader(tagForm),
      body: changeBody,
      responses: { 200: { description: 'The changed table', schema: tableSchema, headers: etagHeader } },
      errors: ['not-found', 'conflict', 'precondition-failed'],
      example: { ...example, body: { lanes: 4, retention: { totalDays: 3650 } } },
    },
    async ({ c, ctx, params: { dataset, table: name }, headers, body, json }) => {
      const change = body;
      requirePossible(change, ctx);
      await changeTable(ctx, dataset, name, change, versionIn(headers['If-Match']));
      const table = await requireListed(ctx, dataset, name);
      c.header('etag', etagOf(table));
      return json(200, renderTable(table));
    },
  ),
  route(
    {
      method: 'delete',
      path: `${path}/:table`,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Delete a table',
      description:
        'The table rejects rows and queries from now on (within 30 s on instances that have it in memory). After the grace period, ' +
        'the table, its exports and its quarantined rows are deleted. Before that, `state: active` cancels the deletion.',
      params: tableParams,
      query: graceQuery,
      headers: ifMatchHeader(tagForm),
      responses: { 202: { description: 'The table, with the time of the final deletion', schema: tableSchema } },
      errors: ['not-found', 'conflict', 'precondition-failed'],
      example: { path: { dataset: 'demo', table: 'meters' }, query: { graceSeconds: '0' } },
    },
    async ({ c, ctx, params: { dataset, table: name }, query, headers, json }) => {
      const { graceSeconds = grace_s } = query;
      // Read first: without a grace period, the table may be deleted before the response.
      const table = await requireListed(ctx, dataset, name);
      const { deleteAt_ms } = await deleteTable(ctx, dataset, name, graceSeconds, versionIn(headers['If-Match']));
      if (graceSeconds === 0) startJobs(c);
      // The deletion of the dataset may come first.
      const gone_ms = Math.min(deleteAt_ms, table.deleteAt_ms ?? deleteAt_ms);
      return json(202, renderTable({ ...table, state: 'deleting', deleteAt_ms: gone_ms }));
    },
  ),
];

function versionIn(parts: number[] | undefined): Version | undefined {
  if (parts === undefined) return undefined;
  const [life = 0, revision = 0, schemaVersion = 0] = parts;
  return { life, revision, schemaVersion };
}

function etagOf({ life, revision, schema }: ListedTable): string {
  return tableTag({ life, revision, schemaVersion: schema.version });
}

async function requireListed(ctx: Context, dataset: string, name: string): Promise<ListedTable> {
  const table = await readListed(ctx, dataset, name);
  if (table !== undefined) return table;
  throw notFound({ dataset, table: name });
}

function requireLanes(lanes: number | 'spread', { config }: Context): void {
  if (lanes === 'spread' || lanes <= config.limits.lanes_max) return;
  throw new ApiError('invalid-request', `lanes: at most ${config.limits.lanes_max} (limit lanes_max).`);
}

function requirePossible(change: TableChange, ctx: Context): void {
  const { lanes, retention, state } = change;
  if (lanes === undefined && retention === undefined && state === undefined) {
    throw new ApiError('invalid-request', 'The body must contain at least one of lanes, retention, state.');
  }
  requireLanes(lanes ?? 1, ctx);
  if (retention !== 'inherit') requireRetention(retention, ctx.config);
}

function renderTable(table: ListedTable): z.input<typeof tableSchema> {
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
      fields: fields.map(fieldView),
    },
    createdAt: timeText(createdAt_ms),
    deleteAt: deleteAt_ms === null ? null : timeText(deleteAt_ms),
  };
}
