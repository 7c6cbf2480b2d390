import type { Context } from 'hono';
import * as z from 'zod';
import { readMode } from '../../src/catalog/read-routing.ts';
import type { ShadowedQuery } from '../../src/operations/takeover/shadow-reads.ts';
import { queryTable } from '../../src/query/execution/query-table.ts';
import type { Format } from '../../src/query/request/format.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { sourceQueryBody } from '../../src/query/source/body.ts';
import { querySource } from '../../src/query/source/query.ts';
import { type App, routes } from '../http/app.ts';
import { requireScope } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { requireSlug } from '../http/params.ts';
import { freshnessHeaders, noteHeaders, statisticsSchema, streamingSchema } from '../http/query-response.ts';
import { chooseFormat, respondWithAnswer } from '../http/respond.ts';
import { answerFromSource, type QueryForm, sourceHeaders } from '../http/source-response.ts';

const answerSchema = z
  .object({
    columns: z.array(z.string()),
    types: z.array(z.string()).meta({ description: 'ClickHouse types of the columns' }),
    mode: z.enum(['raw', 'downsampled']),
    rows: z.array(z.record(z.string(), z.unknown())),
    warnings: z.array(z.string()),
    cursor: z.string().nullable().optional().meta({ description: 'of raw rows: where the next page begins' }),
    streaming: streamingSchema,
    sources: z.object({
      published: z.object({ rows: z.int(), partitions: z.int() }),
      hotBuffer: z.object({ rows: z.int() }),
    }),
    statistics: statisticsSchema,
    latest_ingest_watermark: z.string().nullable(),
  })
  .meta({ id: 'QueryAnswer' });

/** What every route answers. */
const answers = {
  200: {
    description:
      'The rows: JSON, or by `format` or `Accept` NDJSON, CSV, Parquet or an Arrow stream, or `compact`: a line with the ' +
      'names of the columns, one with their types, and one for each row, lists in JSON. Integers are exact; timestamps are ' +
      'UTC with 3 digits of a second, or 6 or 9 where they are not zero. Long answers are streamed, and break off if they fail',
    schema: answerSchema,
    headers: { ...freshnessHeaders, ...noteHeaders, ...sourceHeaders },
  },
};

const errors = ['not-found', 'stale-read', 'cursor-expired', 'too-many-queries'] as const;

const fromOrigin =
  'Of a dataset whose `migration.reads` is `off` or `compare`, the request goes to the system that the dataset is taken over ' +
  'from, and its answer comes back as it is, whatever its status; `x-timestore-answered-by` says so.';

const timeRange = { start: '2026-05-01T00:00:00Z', end: '2026-05-02T00:00:00Z' };

export const queryRoutes = routes()
  .post(
    '/v1/datasets/:dataset/query',
    openApiRoute({
      summary: 'Query a table',
      example: {
        path: { dataset: 'demo' },
        body: {
          tableName: 'readings',
          timeRange,
          limit: 100,
          filters: { columns: [{ column: 'celsius', op: 'gte', value: 20 }] },
        },
      },
      description:
        'Every row that was acknowledged before the query is in its answer, flushed or not, or `warnings` says that it may ' +
        `not be. Rows as they are, or downsampled: aggregated over intervals of time. ${fromOrigin}`,
      tag: 'Query',
      path: ['dataset'],
      body: { required: true, types: { 'application/json': queryBody } },
      answers,
      errors: [...errors],
    }),
    requireScope('query'),
    async (c) => await answerIn(c, { schema: queryBody, ask: queryTable }),
  )
  .post(
    '/datasets/:dataset/query',
    openApiRoute({
      summary: 'Query a table as the system did that is taken over from',
      example: {
        path: { dataset: 'demo' },
        body: {
          tableName: 'readings',
          timeRange,
          filters: { columns: { celsius: { type: 'number', gte: 20 } } },
          downsample: {
            intervalUnit: 'hour',
            aggregations: [{ fn: 'percentile', column: 'celsius', percentile: 0.95 }],
          },
        },
      },
      description:
        'For readers of the system that datasets are taken over from: its requests, and those of `/v1`. Other than there, the ' +
        'end of the time range belongs to it, `tableName` and `limit` may be left out, raw rows always have their timestamp, ' +
        '`columns` of a downsampled answer are what it is grouped by, and times may be dates or have no zone. ' +
        `The answer is the same as there. ${fromOrigin}`,
      tag: 'Query',
      path: ['dataset'],
      body: { required: true, types: { 'application/json': sourceQueryBody } },
      answers,
      errors: [...errors],
    }),
    requireScope('query'),
    async (c) => await answerIn(c, { schema: sourceQueryBody, ask: querySource }),
  );

async function answerIn<Body extends ShadowedQuery & { format?: Format | undefined }>(
  c: Context<App, '/:dataset'>,
  form: QueryForm<Body>,
): Promise<Response> {
  const ctx = c.get('ctx');
  const dataset = requireSlug('dataset', c.req.param('dataset'));
  const reads = await readMode(ctx, dataset);
  if (reads !== 'on') return await answerFromSource(c, dataset, reads, form);
  const body = await parseBody(c, form.schema, { isNulKept: true });
  const format = chooseFormat(c, body.format);
  return await respondWithAnswer(c, (signal) =>
    form.ask(ctx, c.get('key').reader('query'), dataset, body, { format, signal }),
  );
}
