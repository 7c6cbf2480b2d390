import * as z from 'zod';

/** Whether and how unflushed rows were part of a query. */
export const streamingSchema = z.object({
  enabled: z.boolean(),
  bufferState: z.enum(['ready', 'unavailable', 'too-large', 'skipped']),
  rows: z
    .int()
    .nullable()
    .meta({ description: 'unflushed rows that the query was evaluated over; null for a key with a row filter' }),
  watermark: z.string().nullable(),
  latestTimestamp: z
    .string()
    .nullable()
    .meta({ description: 'latest event time of the unflushed rows; null for a key with a row filter' }),
  fresh: z
    .boolean()
    .meta({ description: 'true if the answer includes every row that was acknowledged before the query' }),
  exactness: z.enum(['fenced', 'validated', 'none']).meta({
    description:
      'protection of the read snapshot from concurrent flushes. `fenced`: by the sequence of the rows; `validated`: by a check ' +
      'after the read',
  }),
});

export const statisticsSchema = z.object({
  rows: z.int(),
  elapsedMs: z.int(),
  rowsRead: z.int().nullable().meta({ description: 'rows that were read; null for a key with a row filter' }),
  tailRows: z.int().nullable().meta({ description: 'unflushed rows; null for a key with a row filter' }),
});

export const freshnessHeaders = {
  'x-timestore-freshness-mode': '`replica-only`, `replica+hot-buffer` or `hot-buffer-only`',
  'x-timestore-replica-age-ms': 'age of the oldest acknowledged row that is not in ClickHouse; absent if unknown',
  'x-timestore-watermark': 'token of the rows that this answer includes; absent if unknown',
};

/** Only a JSON body contains these values; the other formats send them as headers. */
export const noteHeaders = {
  'x-timestore-cursor': 'formats other than JSON: the cursor of the next page',
  'x-timestore-warnings': 'formats other than JSON: the warnings, as JSON',
  'x-timestore-streaming': 'formats other than JSON: the value of `streaming`, as JSON',
  'x-timestore-statistics': 'formats other than JSON: the statistics that are known before the rows, as JSON',
};

/** The formats of every query. */
export const formatsText =
  'The rows as JSON. `format` or `Accept` selects NDJSON, CSV, Parquet, an Arrow stream or `compact`: JSON lists, one per line, ' +
  'with the column names, the column types and then each row.';
