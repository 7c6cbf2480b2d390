import { z } from 'zod';
import { type QueryResult, queryRows } from '../src/query/query.ts';
import { queryBody } from '../src/query/request.ts';
import { routes } from './app.ts';
import { requireKey } from './auth.ts';
import { bodyAs } from './body.ts';
import { describe } from './describe.ts';
import { slugOf } from './path.ts';

const answerSchema = z
  .object({
    rows: z.array(z.record(z.string(), z.unknown())),
    columns: z.array(z.string()),
    types: z.array(z.string()).meta({ description: 'ClickHouse types of the columns' }),
    mode: z.enum(['raw']),
    warnings: z.array(z.string()),
    streaming: z.object({
      enabled: z.boolean(),
      bufferState: z.enum(['ready', 'unavailable', 'too-large', 'skipped']),
      rows: z.int().meta({ description: 'rows of the tail that the query was evaluated over' }),
      watermark: z.string().nullable(),
      latestTimestamp: z.string().nullable().meta({ description: 'latest event time in the tail' }),
      fresh: z.boolean().meta({ description: 'every row acknowledged before the query is in the answer' }),
    }),
    sources: z.object({
      published: z.object({ rows: z.int(), partitions: z.int() }),
      hotBuffer: z.object({ rows: z.int() }),
    }),
    latest_ingest_watermark: z.string().nullable(),
  })
  .meta({ id: 'QueryAnswer' });

export const queryRoutes = routes();

for (const path of ['/v1/datasets/:dataset/query', '/datasets/:dataset/query'] as const) {
  queryRoutes.post(
    path,
    describe({
      summary: 'Query rows of a table',
      description: 'Every row that was acknowledged before the query is in its answer, flushed or not.',
      tag: 'Query',
      path: ['dataset'],
      body: { required: true, types: { 'application/json': queryBody } },
      answers: {
        200: {
          description: 'The rows, the earliest first. Integers are exact; timestamps are UTC with milliseconds',
          schema: answerSchema,
          headers: {
            'x-timestore-freshness-mode': '`replica-only` or `replica+hot-buffer`',
            'x-timestore-replica-age-ms':
              'age of the oldest acknowledged row that is not in ClickHouse; absent if unknown',
            'x-timestore-watermark': 'token of what this answer includes; absent if unknown',
          },
        },
      },
      errors: [
        ...(['malformed-body', 'invalid-request', 'unauthenticated', 'not-found', 'limit-exceeded'] as const),
        ...(['unsupported-media-type', 'unavailable'] as const),
      ],
    }),
    requireKey,
    async (c) => {
      const dataset = slugOf('dataset', c.req.param('dataset'));
      const result = await queryRows(c.get('timestore'), dataset, await bodyAs(c, queryBody));
      const { mode, replicaAge_ms, watermark } = result.freshness;
      c.header('content-type', 'application/json');
      c.header('x-timestore-freshness-mode', mode);
      if (replicaAge_ms !== undefined) c.header('x-timestore-replica-age-ms', String(replicaAge_ms));
      if (watermark !== undefined) c.header('x-timestore-watermark', watermark);
      c.set('event', { rows: result.rows.length, tailRows: result.streaming.rows, mode });
      return c.body(answerText(result));
    },
  );
}

/** The rows are JSON text already, exactly as ClickHouse wrote them. */
function answerText({ rows, columns, types, warnings, sources, streaming, freshness }: QueryResult): string {
  const rest = {
    columns,
    types,
    mode: 'raw',
    warnings,
    streaming: {
      enabled: true,
      bufferState: streaming.bufferState,
      rows: streaming.rows,
      watermark: freshness.watermark ?? null,
      latestTimestamp: streaming.latest_ms === undefined ? null : new Date(streaming.latest_ms).toISOString(),
      fresh: streaming.fresh,
    },
    sources,
    latest_ingest_watermark: freshness.watermark ?? null,
  } satisfies Omit<z.input<typeof answerSchema>, 'rows'>;
  return `{"rows":[${rows.join(',')}],${JSON.stringify(rest).slice(1)}`;
}
