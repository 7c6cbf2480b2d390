import * as z from 'zod';

/** What the answers of all queries say of themselves. */
export const streamingSchema = z.object({
  enabled: z.boolean(),
  bufferState: z.enum(['ready', 'unavailable', 'too-large', 'skipped']),
  rows: z
    .int()
    .nullable()
    .meta({ description: 'rows of the tail that the query was evaluated over; null for a key with a row filter' }),
  watermark: z.string().nullable(),
  latestTimestamp: z
    .string()
    .nullable()
    .meta({ description: 'latest event time in the tail; null for a key with a row filter' }),
  fresh: z.boolean().meta({ description: 'every row acknowledged before the query is in the answer' }),
  exactness: z.enum(['fenced', 'validated', 'none']).meta({
    description:
      'how the answer was kept to one cut while rows were moved: `fenced` by their sequence, or `validated` afterwards',
  }),
});

export const statisticsSchema = z.object({
  rows: z.int(),
  elapsedMs: z.int(),
  rowsRead: z.int().nullable().meta({ description: 'rows that were read; null for a key with a row filter' }),
  tailRows: z.int().nullable().meta({ description: 'rows of the tail; null for a key with a row filter' }),
});

export const freshnessHeaders = {
  'x-timestore-freshness-mode': '`replica-only`, `replica+hot-buffer` or `hot-buffer-only`',
  'x-timestore-replica-age-ms': 'age of the oldest acknowledged row that is not in ClickHouse; absent if unknown',
  'x-timestore-watermark': 'token of what this answer includes; absent if unknown',
};

/** Of the formats that have no room for them. */
export const noteHeaders = {
  'x-timestore-cursor': 'not JSON: where the next page begins',
  'x-timestore-warnings': 'not JSON: the warnings, as JSON',
  'x-timestore-streaming': 'not JSON: what JSON answers have in `streaming`',
  'x-timestore-statistics': 'not JSON: what is known of the statistics before the rows, as JSON',
};
