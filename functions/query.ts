import * as z from 'zod';
import { readsOf } from '../src/migration/reads.ts';
import { queryTable } from '../src/query/query.ts';
import { queryBody } from '../src/query/request.ts';
import { answerWith, formatOf } from './answers.ts';
import { routes } from './app.ts';
import { requireScope } from './auth.ts';
import { bodyAs } from './body.ts';
import { describe } from './describe.ts';
import { answerFromOrigin, originHeaders } from './origin-answer.ts';
import { slugOf } from './path.ts';
import { freshnessHeaders, noteHeaders, statisticsSchema, streamingSchema } from './query-answer.ts';

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

export const queryRoutes = routes();

for (const path of ['/v1/datasets/:dataset/query', '/datasets/:dataset/query'] as const) {
  queryRoutes.post(
    path,
    describe({
      summary: 'Query a table',
      example: {
        path: { dataset: 'demo' },
        body: {
          tableName: 'readings',
          timeRange: { start: '2026-05-01T00:00:00Z', end: '2026-05-02T00:00:00Z' },
          filters: { columns: [{ column: 'celsius', op: 'gte', value: 20 }] },
          limit: 100,
        },
      },
      description:
        'Every row that was acknowledged before the query is in its answer, flushed or not, or `warnings` says that it may ' +
        'not be. Rows as they are, or downsampled: aggregated over intervals of time. Of a dataset whose `migration.reads` is ' +
        '`off` or `compare`, the request goes to the system that the dataset is taken over from, and its answer comes back ' +
        'as it is, whatever its status; `x-timestore-answered-by` says so.',
      tag: 'Query',
      path: ['dataset'],
      body: { required: true, types: { 'application/json': queryBody } },
      answers: {
        200: {
          description:
            'The rows: JSON, or by `format` or `Accept` NDJSON, CSV, Parquet or an Arrow stream. Integers are exact; ' +
            'timestamps are UTC with milliseconds. Long answers are streamed, and break off if they fail',
          schema: answerSchema,
          headers: { ...freshnessHeaders, ...noteHeaders, ...originHeaders },
        },
      },
      errors: ['not-found', 'stale-read', 'cursor-expired', 'too-many-queries'],
    }),
    requireScope('query'),
    async (c) => {
      const dataset = slugOf('dataset', c.req.param('dataset'));
      const reads = await readsOf(c.get('timestore'), dataset);
      if (reads !== 'on') return await answerFromOrigin(c, dataset, reads);
      const body = await bodyAs(c, queryBody, { isNulKept: true });
      const format = formatOf(c, body.format);
      return await answerWith(c, (signal) =>
        queryTable(c.get('timestore'), c.get('key').reader('query'), dataset, body, { format, signal }),
      );
    },
  );
}
