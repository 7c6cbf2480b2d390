import * as z from 'zod';
import { querySql, sqlBody } from '../../src/query/sql/run-sql.ts';
import { type Author, dropSaved, findSaved, listSaved, saveQuery } from '../../src/query/sql/saved-queries.ts';
import { listTables } from '../../src/query/sql/tables.ts';
import { fieldType } from '../../src/schema/types.ts';
import { routes } from '../http/app.ts';
import { type Caller, requireScope } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { nextSchema, pageOf, pageQuery, queryAs, wanted } from '../http/paging.ts';
import { requireSlug } from '../http/params.ts';
import { freshnessHeaders, noteHeaders, statisticsSchema, streamingSchema } from '../http/query-response.ts';
import { chooseFormat, respondWithAnswer } from '../http/respond.ts';

const answerSchema = z
  .object({
    columns: z.array(z.object({ name: z.string(), type: z.string().meta({ description: 'ClickHouse type' }) })),
    rows: z.array(z.record(z.string(), z.unknown())),
    totals: z.record(z.string(), z.unknown()).optional().meta({ description: 'of a query WITH TOTALS' }),
    statistics: statisticsSchema,
    warnings: z.array(z.string()),
    streaming: streamingSchema,
    latest_ingest_watermark: z.string().nullable().meta({ description: 'one token a table, with blanks between' }),
  })
  .meta({ id: 'SqlAnswer' });

const answers = {
  200: {
    description:
      'The rows: JSON, or by `format` or `Accept` NDJSON, CSV, Parquet or an Arrow stream, or `compact`: lines with the names ' +
      'of the columns, their types and each row, lists in JSON. JSON has at most 500,000 rows, ' +
      'the others as many as there are. Long answers are streamed, and break off if they fail',
    schema: answerSchema,
    headers: { ...freshnessHeaders, ...noteHeaders },
  },
};

const errors = ['not-found', 'stale-read', 'too-many-queries'] as const;

const savedSchema = z
  .object({
    dataset: z.string(),
    name: z.string(),
    sql: z.string(),
    description: z.string(),
    params: z.record(z.string(), z.unknown()),
    savedAt: z.string(),
    savedBy: z.string().nullable().meta({ description: 'id of the key whose it is' }),
  })
  .meta({ id: 'SavedQuery' });

const saveBody = z.strictObject({
  sql: sqlBody.shape.sql,
  description: z.string().max(1_000).default(''),
  params: z.record(z.string(), z.unknown()).default({}).meta({
    description: 'values of its parameters that a caller leaves out',
  }),
});

const runBody = sqlBody.omit({ sql: true, dataset: true });

const savedQuery = z.strictObject({
  dataset: z.string().optional().meta({ description: 'only those of this one' }),
  ...pageQuery,
  cursor: z
    .string()
    .regex(/^[^/]{1,100}\/[^/]{1,100}$/, 'it is not one of this list')
    .optional()
    .meta({ description: '`next` of the page before' }),
});

const savedPath = '/v1/sql/saved/:dataset/:name';

export const sqlRoutes = routes();

for (const path of ['/v1/sql', '/sql/read'] as const) {
  sqlRoutes.post(
    path,
    openApiRoute({
      summary: 'Query with SQL',
      example: {
        body: {
          sql: 'SELECT sensor, max(celsius) AS most FROM readings WHERE celsius > {least:Float64} GROUP BY sensor ORDER BY sensor',
          dataset: 'demo',
          params: { least: 20 },
        },
      },
      description:
        'One SELECT of ClickHouse’s SQL over any tables: joins, windows, common table expressions, subqueries. The rows that ' +
        'were acknowledged and are not flushed yet are merged into every table it names. `SELECT *` gives the fields. What is ' +
        'not a SELECT over tables is refused before it runs.',
      tag: 'SQL',
      body: { required: true, types: { 'application/json': sqlBody } },
      answers,
      errors,
    }),
    requireScope('sql'),
    async (c) => {
      const body = await parseBody(c, sqlBody, { isNulKept: true });
      const format = chooseFormat(c, body.format);
      return await respondWithAnswer(c, (signal) =>
        querySql(c.get('ctx'), c.get('key').reader('sql'), body, { format, signal }),
      );
    },
  );
}

sqlRoutes
  .get(
    '/v1/sql/schema',
    openApiRoute({
      summary: 'List tables and columns',
      example: { query: { dataset: 'demo' } },
      tag: 'SQL',
      query: { dataset: 'only this one', after: '`next` of the answer before' },
      answers: {
        200: {
          description: 'The tables that can be named in SQL, at most 1,000 at a time',
          schema: z.object({
            tables: z.array(
              z.object({
                dataset: z.string(),
                table: z.string(),
                timestampColumn: z.string(),
                columns: z.array(z.object({ name: z.string(), type: fieldType, clickhouseType: z.string() })),
              }),
            ),
            next: z.string().nullable(),
          }),
        },
      },
    }),
    requireScope('sql'),
    async (c) => {
      const { dataset, after } = c.req.query();
      return c.json(await listTables(c.get('ctx'), { dataset, after, of: c.get('key').listed('sql') }));
    },
  )
  .get(
    '/v1/sql/saved',
    openApiRoute({
      summary: 'List saved queries',
      example: { query: { dataset: 'demo' } },
      tag: 'SQL',
      query: savedQuery,
      answers: {
        200: { description: 'By name', schema: z.object({ queries: z.array(savedSchema), next: nextSchema }) },
      },
    }),
    requireScope('sql'),
    async (c) => {
      const { dataset, cursor, limit } = queryAs(c, savedQuery);
      const after = cursor?.split('/') as [string, string] | undefined;
      const of = c.get('key').listed('sql');
      const found = await listSaved(c.get('ctx'), { dataset, of, after, limit: wanted(limit) });
      const { items, last } = pageOf(found, limit);
      return c.json({ queries: items, next: last === undefined ? null : `${last.dataset}/${last.name}` });
    },
  )
  .put(
    savedPath,
    openApiRoute({
      summary: 'Save a query',
      example: {
        path: { dataset: 'demo', name: 'warmest' },
        body: { sql: 'SELECT max(celsius) AS most FROM readings', description: 'The warmest reading' },
      },
      description:
        'Under a name of the dataset. What had the name before is replaced, if this key saved it or has the scope `admin` for ' +
        'the dataset.',
      tag: 'SQL',
      path: ['dataset', 'name'],
      body: { required: true, types: { 'application/json': saveBody } },
      answers: { 200: { description: 'The query as it is saved', schema: savedSchema } },
      errors: ['not-found'],
    }),
    requireScope('sql'),
    async (c) => {
      const { dataset, name } = namesOf(c.req.param());
      const body = await parseBody(c, saveBody);
      const reader = c.get('key').reader('sql');
      return c.json(await saveQuery(c.get('ctx'), reader, authorOf(c.get('key'), dataset), { dataset, name, ...body }));
    },
  )
  .get(
    savedPath,
    openApiRoute({
      summary: 'Read a saved query',
      example: { path: { dataset: 'demo', name: 'warmest' } },
      tag: 'SQL',
      path: ['dataset', 'name'],
      answers: { 200: { description: 'The query', schema: savedSchema } },
      errors: ['not-found'],
    }),
    requireScope('sql'),
    async (c) => {
      const { dataset, name } = namesOf(c.req.param());
      return c.json(await findSaved(c.get('ctx'), c.get('key').reader('sql'), dataset, name));
    },
  )
  .delete(
    savedPath,
    openApiRoute({
      summary: 'Delete a saved query',
      example: { path: { dataset: 'demo', name: 'warmest' } },
      tag: 'SQL',
      path: ['dataset', 'name'],
      answers: { 204: { description: 'It is gone' } },
      errors: ['not-found'],
    }),
    requireScope('sql'),
    async (c) => {
      const { dataset, name } = namesOf(c.req.param());
      const reader = c.get('key').reader('sql');
      await dropSaved(c.get('ctx'), reader, authorOf(c.get('key'), dataset), dataset, name);
      return c.body(null, 204);
    },
  )
  .post(
    `${savedPath}/run`,
    openApiRoute({
      summary: 'Run a saved query',
      example: { path: { dataset: 'demo', name: 'warmest' }, body: {} },
      tag: 'SQL',
      path: ['dataset', 'name'],
      body: { required: true, types: { 'application/json': runBody } },
      answers,
      errors,
    }),
    requireScope('sql'),
    async (c) => {
      const { dataset, name } = namesOf(c.req.param());
      const body = await parseBody(c, runBody, { isNulKept: true });
      const format = chooseFormat(c, body.format);
      return await respondWithAnswer(c, async (signal) => {
        const { sql, params } = await findSaved(c.get('ctx'), c.get('key').reader('sql'), dataset, name);
        const filled = { ...body, sql, dataset, params: { ...params, ...body.params } };
        return await querySql(c.get('ctx'), c.get('key').reader('sql'), filled, { format, signal });
      });
    },
  );

function authorOf(key: Caller, dataset: string): Author {
  return { id: key.id, isAdmin: key.covers('admin', dataset) };
}

function namesOf({ dataset, name }: { dataset: string; name: string }): { dataset: string; name: string } {
  return { dataset: requireSlug('dataset', dataset), name: requireSlug('name', name) };
}
