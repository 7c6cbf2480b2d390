import * as z from 'zod';
import { formatsText, freshnessHeaders, noteHeaders, statisticsSchema, streamingSchema } from './query-response.ts';

const answerSchema = z
  .object({
    columns: z.array(z.object({ name: z.string(), type: z.string().meta({ description: 'ClickHouse type' }) })),
    rows: z.array(z.record(z.string(), z.unknown())),
    totals: z.record(z.string(), z.unknown()).optional().meta({ description: 'of a query with `WITH TOTALS`' }),
    statistics: statisticsSchema,
    warnings: z.array(z.string()),
    streaming: streamingSchema,
    latest_ingest_watermark: z
      .string()
      .nullable()
      .meta({ description: 'one token for each table, separated by spaces' }),
  })
  .meta({ id: 'SqlAnswer' });

/** The response of every query in SQL. */
export const sqlResponses = {
  200: {
    description:
      `${formatsText} A JSON answer has at most 500,000 rows; the other formats have no limit. A long answer is streamed; a ` +
      'failure ends the connection.',
    schema: answerSchema,
    headers: { ...freshnessHeaders, ...noteHeaders },
    isStreamed: true,
  },
} as const;

export const sqlErrors = ['not-found', 'stale-read', 'too-many-queries'] as const;
