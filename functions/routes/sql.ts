import * as z from 'zod';
import { querySql, sqlBody } from '../../src/query/sql/run-sql.ts';
import { listTables } from '../../src/query/sql/tables.ts';
import { fieldType } from '../../src/schema/types.ts';
import { chooseFormat, respondWithAnswer } from '../http/respond.ts';
import { route } from '../http/route.ts';
import { sqlErrors, sqlResponses } from '../http/sql-response.ts';

const paths = ['/v1/sql', '/sql/read'] as const;

const sqlQueryRoutes = paths.map((path) =>
  route(
    {
      method: 'post',
      path,
      scope: 'sql',
      tag: 'SQL',
      summary: 'Query with SQL',
      description:
        'Runs one SELECT in the SQL of ClickHouse over any tables, with joins, window functions, common table expressions and ' +
        'subqueries. Acknowledged rows that are not flushed yet are merged into every table. `SELECT *` returns the fields. A ' +
        'statement that is not a SELECT over tables is rejected before it runs.',
      body: sqlBody,
      isNulKept: true,
      responses: sqlResponses,
      errors: sqlErrors,
      example: {
        body: {
          sql: 'SELECT sensor, max(celsius) AS most FROM readings WHERE celsius > {least:Float64} GROUP BY sensor ORDER BY sensor',
          dataset: 'demo',
          params: { least: 20 },
        },
      },
    },
    async ({ c, ctx, key, body }) => {
      const format = chooseFormat(c, body.format);
      return await respondWithAnswer(c, (signal) => querySql(ctx, key.reader('sql'), body, { format, signal }));
    },
  ),
);

const schemaQuery = z.object({
  dataset: z.string().optional().meta({ description: 'only tables of this dataset' }),
  after: z.string().optional().meta({ description: '`next` of the previous page' }),
});

export const sqlRoutes = [
  ...sqlQueryRoutes,
  route(
    {
      method: 'get',
      path: '/v1/sql/schema',
      scope: 'sql',
      tag: 'SQL',
      summary: 'List tables and columns',
      query: schemaQuery,
      responses: {
        200: {
          description: 'A page of tables that SQL can query, at most 1,000',
          schema: z.object({
            tables: z.array(
              z.object({
                dataset: z.string(),
                table: z.string(),
                timestampColumn: z
                  .string()
                  .nullable()
                  .meta({ description: 'null for a table whose rows have no time of their own' }),
                columns: z.array(z.object({ name: z.string(), type: fieldType, clickhouseType: z.string() })),
              }),
            ),
            next: z.string().nullable(),
          }),
        },
      },
      example: { query: { dataset: 'demo' } },
    },
    async ({ ctx, key, query: { dataset, after }, json }) => {
      const { tables, next } = await listTables(ctx, { dataset, after, of: key.listed('sql') });
      return json(200, { tables, next });
    },
  ),
];
