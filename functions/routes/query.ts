import type { Context } from 'hono';
import * as z from 'zod';
import { readMode } from '../../src/catalog/read-routing.ts';
import type { ShadowedQuery } from '../../src/operations/takeover/shadow-reads.ts';
import { queryTable } from '../../src/query/execution/query-table.ts';
import type { Format } from '../../src/query/request/format.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { sourceQueryBody } from '../../src/query/source/body.ts';
import { querySource } from '../../src/query/source/query.ts';
import type { App } from '../http/app.ts';
import { parseBody } from '../http/body.ts';
import { datasetParams } from '../http/params.ts';
import {
  formatsText,
  freshnessHeaders,
  noteHeaders,
  statisticsSchema,
  streamingSchema,
} from '../http/query-response.ts';
import { chooseFormat, respondWithAnswer } from '../http/respond.ts';
import { route } from '../http/route.ts';
import { answerFromSource, type QueryForm, sourceHeaders } from '../http/source-response.ts';

const answerSchema = z
  .object({
    columns: z.array(z.string()),
    types: z.array(z.string()).meta({ description: 'ClickHouse types of the columns' }),
    mode: z.enum(['raw', 'downsampled']),
    rows: z.array(z.record(z.string(), z.unknown())),
    warnings: z.array(z.string()),
    cursor: z.string().nullable().optional().meta({ description: 'raw rows only: the cursor of the next page' }),
    streaming: streamingSchema,
    sources: z.object({
      published: z.object({ rows: z.int(), partitions: z.int() }),
      hotBuffer: z.object({ rows: z.int() }),
    }),
    statistics: statisticsSchema,
    latest_ingest_watermark: z.string().nullable(),
  })
  .meta({ id: 'QueryAnswer' });

const responses = {
  200: {
    description:
      `${formatsText} Integers are exact. Timestamps are in UTC and have 3 digits of a second, or 6 or 9 where those digits are ` +
      'not zero. A long answer is streamed; a failure ends the connection.',
    schema: answerSchema,
    headers: { ...freshnessHeaders, ...noteHeaders, ...sourceHeaders },
    isStreamed: true,
  },
} as const;

const errors = ['not-found', 'stale-read', 'cursor-expired', 'too-many-queries'] as const;

const takeoverText =
  'While `migration.reads` of the dataset is `off` or `compare`, the source system answers: the request is sent to it, and its ' +
  'response is passed on with its status. `x-timestore-answered-by` reports this.';

const timeRange = { start: '2026-05-01T00:00:00Z', end: '2026-05-02T00:00:00Z' };

export const queryRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/datasets/:dataset/query',
      scope: 'query',
      tag: 'Query',
      summary: 'Query a table',
      description:
        'Returns raw rows, or rows downsampled over intervals of time. The answer includes every row that was acknowledged ' +
        `before the query, flushed or not; otherwise \`warnings\` reports it. ${takeoverText}`,
      params: datasetParams,
      rawBody: { 'application/json': queryBody },
      responses,
      errors,
      example: {
        path: { dataset: 'demo' },
        body: {
          tableName: 'readings',
          timeRange,
          limit: 100,
          filters: { columns: [{ column: 'celsius', op: 'gte', value: 20 }] },
        },
      },
    },
    async ({ c, params }) => await answerIn(c, params.dataset, { schema: queryBody, ask: queryTable }),
  ),
  route(
    {
      method: 'post',
      path: '/datasets/:dataset/query',
      scope: 'query',
      tag: 'Query',
      summary: 'Query a table in the format of the source system',
      description:
        'For clients of the source system of a takeover. Accepts the requests of that system and those of `/v1`. Returns the ' +
        'response of `/v1`. Differences from `/v1`: the time range includes its end; `tableName` and `limit` are optional; raw ' +
        'rows always have their timestamp; `columns` of a downsampled query are its grouping columns; times can be dates and can ' +
        `omit the zone. ${takeoverText}`,
      params: datasetParams,
      rawBody: { 'application/json': sourceQueryBody },
      responses,
      errors,
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
    },
    async ({ c, params }) => await answerIn(c, params.dataset, { schema: sourceQueryBody, ask: querySource }),
  ),
];

/** The source system gets the body as it was sent, so the body is read only when the answer comes from here. */
async function answerIn<Body extends ShadowedQuery & { format?: Format | undefined }>(
  c: Context<App>,
  dataset: string,
  form: QueryForm<Body>,
): Promise<Response> {
  const ctx = c.get('ctx');
  const reads = await readMode(ctx, dataset);
  if (reads !== 'on') return await answerFromSource(c, dataset, reads, form);
  const body = await parseBody(c, form.schema, { isNulKept: true });
  const format = chooseFormat(c, body.format);
  return await respondWithAnswer(c, (signal) =>
    form.ask(ctx, c.get('key').reader('query'), dataset, body, { format, signal }),
  );
}
