import * as z from 'zod';
import { slug } from '../../src/core/identifiers.ts';
import { querySql, sqlBody } from '../../src/query/sql/run-sql.ts';
import { type Author, dropSaved, findSaved, listSaved, saveQuery } from '../../src/query/sql/saved-queries.ts';
import type { Caller } from '../http/auth.ts';
import { nextSchema, pageOf, pageQuery, wanted } from '../http/paging.ts';
import { chooseFormat, respondWithAnswer } from '../http/respond.ts';
import { route } from '../http/route.ts';
import { sqlErrors, sqlResponses } from '../http/sql-response.ts';

const savedSchema = z
  .object({
    dataset: z.string(),
    name: z.string(),
    sql: z.string(),
    description: z.string(),
    params: z.record(z.string(), z.unknown()),
    savedAt: z.string(),
    savedBy: z.string().nullable().meta({ description: 'id of the key that saved it' }),
  })
  .meta({ id: 'SavedQuery' });

const params = { dataset: slug, name: slug };

const saveBody = z.strictObject({
  sql: sqlBody.shape.sql,
  description: z.string().max(1_000).default(''),
  params: z.record(z.string(), z.unknown()).default({}).meta({
    description: 'default values of its parameters',
  }),
});

const listQuery = z.strictObject({
  dataset: z.string().optional().meta({ description: 'only queries of this dataset' }),
  ...pageQuery,
  cursor: z
    .string()
    .regex(/^[^/]{1,100}\/[^/]{1,100}$/, 'must be `next` of a page of this list')
    .optional()
    .meta({ description: '`next` of the previous page' }),
});

const path = '/v1/sql/saved/:dataset/:name';
const example = { path: { dataset: 'demo', name: 'warmest' } };

export const savedQueryRoutes = [
  route(
    {
      method: 'get',
      path: '/v1/sql/saved',
      scope: 'sql',
      tag: 'SQL',
      summary: 'List saved queries',
      query: listQuery,
      responses: {
        200: {
          description: 'A page of queries, by name',
          schema: z.object({ queries: z.array(savedSchema), next: nextSchema }),
        },
      },
      example: { query: { dataset: 'demo' } },
    },
    async ({ ctx, key, query: { dataset, cursor, limit }, json }) => {
      const after = cursor?.split('/') as [string, string] | undefined;
      const found = await listSaved(ctx, { dataset, of: key.listed('sql'), after, limit: wanted(limit) });
      const { items, last } = pageOf(found, limit);
      return json(200, { queries: items, next: last === undefined ? null : `${last.dataset}/${last.name}` });
    },
  ),
  route(
    {
      method: 'put',
      path,
      scope: 'sql',
      tag: 'SQL',
      summary: 'Save a query',
      description:
        'Saves the query under a name in the dataset. Replaces the query of that name if the same key saved it, or if the key has ' +
        'the scope `admin` for the dataset.',
      params,
      body: saveBody,
      responses: { 200: { description: 'The saved query', schema: savedSchema } },
      example: {
        ...example,
        body: { sql: 'SELECT max(celsius) AS most FROM readings', description: 'The warmest reading' },
      },
    },
    async ({ ctx, key, params: { dataset, name }, body, json }) => {
      const saved = { dataset, name, ...body };
      return json(200, await saveQuery(ctx, key.reader('sql'), authorOf(key, dataset), saved));
    },
  ),
  route(
    {
      method: 'get',
      path,
      scope: 'sql',
      tag: 'SQL',
      summary: 'Get a saved query',
      params,
      responses: { 200: { description: 'The query', schema: savedSchema } },
      example,
    },
    async ({ ctx, key, params: { dataset, name }, json }) => {
      return json(200, await findSaved(ctx, key.reader('sql'), dataset, name));
    },
  ),
  route(
    {
      method: 'delete',
      path,
      scope: 'sql',
      tag: 'SQL',
      summary: 'Delete a saved query',
      params,
      responses: { 204: { description: 'The query is deleted' } },
      example,
    },
    async ({ c, ctx, key, params: { dataset, name } }) => {
      await dropSaved(ctx, key.reader('sql'), authorOf(key, dataset), dataset, name);
      return c.body(null, 204);
    },
  ),
  route(
    {
      method: 'post',
      path: `${path}/run`,
      scope: 'sql',
      tag: 'SQL',
      summary: 'Run a saved query',
      params,
      body: sqlBody.omit({ sql: true, dataset: true }),
      isNulKept: true,
      responses: sqlResponses,
      errors: sqlErrors,
      example: { ...example, body: {} },
    },
    async ({ c, ctx, key, params: { dataset, name }, body }) => {
      const format = chooseFormat(c, body.format);
      return await respondWithAnswer(c, async (signal) => {
        const { sql, params: defaults } = await findSaved(ctx, key.reader('sql'), dataset, name);
        const filled = { ...body, sql, dataset, params: { ...defaults, ...body.params } };
        return await querySql(ctx, key.reader('sql'), filled, { format, signal });
      });
    },
  ),
];

function authorOf(key: Caller, dataset: string): Author {
  return { id: key.id, isAdmin: key.covers('admin', dataset) };
}
