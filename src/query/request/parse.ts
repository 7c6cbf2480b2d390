import * as z from 'zod';
import { requireToken, type Watermark } from '../../buffer/watermark-token.ts';
import { quarantineTable } from '../../catalog/quarantine-table.ts';
import { slug } from '../../core/identifiers.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';
import type { Table } from '../../schema/table.ts';
import { compareTimes, parseTimeBound, type Time, time_ms_max, time_ms_min } from '../../schema/timestamp.ts';
import type { Field } from '../../schema/types.ts';
import { freshnessFields } from '../freshness/requirement.ts';
import { type Cursor, decodeCursor, queryHash } from './cursor.ts';
import { downsampleSchema } from './downsample.ts';
import { type Filter, filterSchema } from './filters.ts';
import { type Format, formatNames } from './format.ts';
import { type PartitionKey, partitionKeySchema } from './partition-key.ts';
import type { TimeRange } from './time-range.ts';

const time = z.union([z.string(), z.int()]).meta({
  description: 'RFC 3339, YYYY-MM-DD hh:mm:ss[.fff] in UTC, with up to 9 digits of a second, or epoch milliseconds',
  examples: ['2026-05-01T10:00:00Z'],
});

const direction = z.enum(['asc', 'desc']).default('asc');

export const queryBody = z.strictObject({
  tableName: z.union([slug, z.literal(quarantineTable)]).default('records'),
  timeRange: z.strictObject({ start: time.optional(), end: time.optional() }).optional().meta({
    description: 'rows with start ≤ timestamp < end; a missing bound, or one before or after all times, is open',
  }),
  timestampColumn: z
    .string()
    .optional()
    .meta({ description: 'the timestamp column of the table; other columns are rejected' }),
  columns: z
    .array(z.string())
    .min(1)
    .max(1_000)
    .optional()
    .meta({ description: 'fields of the answer; all by default' }),
  filters: z
    .strictObject({
      partitionKey: partitionKeySchema
        .optional()
        .meta({ description: 'entries of the partition key of the rows, each with a value or a list of values' }),
      columns: z.array(filterSchema).optional().meta({ description: 'conditions that must all hold' }),
    })
    .optional(),
  downsample: downsampleSchema.optional(),
  orderBy: z
    .array(z.strictObject({ column: z.string(), direction }))
    .min(1)
    .max(16)
    .optional()
    .meta({ description: 'by time by default; null sorts last in both directions' }),
  limit: z.int().positive().nullable().optional().meta({
    description: 'maximum number of rows; null for all rows, in formats other than JSON',
  }),
  cursor: z.string().optional().meta({
    description:
      'the cursor of the previous page, with the same query; 409 where rows were deleted or corrected since the first page',
  }),
  afterWatermark: z
    .string()
    .optional()
    .meta({
      description:
        'the token of an earlier answer: only rows that were not in it. A client that always sends the newest token gets each ' +
        'row once; 409 where the hot buffer has lost the state of the token',
    }),
  format: z.enum(formatNames).optional().meta({ description: 'overrides `Accept`' }),
  ...freshnessFields,
});

type Sent = z.output<typeof queryBody>;

/** A query, of `/v1` or translated from the source format. */
export type QueryBody = Omit<Sent, 'filters'> & {
  filters?: { partitionKey?: PartitionKey | undefined; columns?: Filter[] | undefined } | undefined;
  /** Whether the caller expects all rows, so that a truncated answer has a warning. */
  isWhole?: boolean;
};

/** A query that was checked against its table. */
export type QueryPlan = {
  /** Fields of the answer; for a downsampled answer, the fields of the table. */
  fields: Field[];
  range: TimeRange;
  partitionKey: PartitionKey;
  filters: Filter[];
  orderBy: { column: string; direction: 'asc' | 'desc' }[];
  /** Excludes rows up to these sequences of their lanes. */
  after: Watermark['lanes'];
  /** Undefined for an export. */
  limit: number | undefined;
  cursor: Cursor | undefined;
  /** Ties a cursor to its query. */
  hash: string;
};

/**
 * @param when `early`, before the newest schema is known, so that unknown fields are not an error yet
 * @throws ApiError `invalid-request`, `limit-exceeded`
 */
export function planQuery(
  body: QueryBody,
  table: Table,
  limits: Limits,
  format: Format,
  when: 'early' | 'now' = 'now',
): QueryPlan {
  const { schema } = table;
  if (body.timestampColumn !== undefined && body.timestampColumn !== schema.timestampColumn) {
    throw invalidRequest(`timestampColumn: the timestamp column of table ${table.name} is ${schema.timestampColumn}`);
  }
  const hash = queryHash(table, body);
  const cursor = body.cursor === undefined ? undefined : decodeCursor(body.cursor);
  if (body.cursor !== undefined && cursor?.query !== hash) {
    throw invalidRequest('cursor: the cursor belongs to another query; send it with its unchanged query');
  }
  // All pages have the columns of the first page, even if fields were added since.
  const fields = schema.fields.slice(0, cursor?.fields);
  if (body.downsample !== undefined && (body.columns !== undefined || body.cursor !== undefined)) {
    throw invalidRequest('downsample: columns and cursor apply to raw rows only');
  }
  return {
    range: readTimeRange(body),
    fields: body.downsample === undefined && when === 'now' ? selectFields(body.columns, fields, table) : fields,
    partitionKey: body.filters?.partitionKey ?? {},
    filters: body.filters?.columns ?? [],
    orderBy: body.orderBy ?? [],
    after: body.afterWatermark === undefined ? [] : requireToken('afterWatermark', body.afterWatermark).lanes,
    limit: readLimit(body.limit, limits, format),
    cursor,
    hash,
  };
}

function selectFields(columns: string[] | undefined, fields: Field[], table: Table): Field[] {
  if (columns === undefined) return fields;
  const known = new Map(fields.map((field) => [field.name, field]));
  const unknown = columns.filter((column) => !known.has(column));
  if (unknown.length > 0)
    throw invalidRequest(`columns: table ${table.name} has no field ${unknown.slice(0, 10).join(', ')}`);
  if (new Set(columns).size < columns.length) throw invalidRequest('columns: duplicate field');
  return columns.flatMap((column) => known.get(column) ?? []);
}

function readLimit(requested: number | null | undefined, limits: Limits, format: Format): number | undefined {
  if (requested === null) {
    if (format !== 'json') return undefined;
    throw invalidRequest('limit: null (all rows) requires the format NDJSON, CSV, Parquet or Arrow');
  }
  const limit = requested ?? Math.min(limits.query_rows_default, limits.query_rows_max);
  if (limit <= limits.query_rows_max) return limit;
  throw limitExceeded(
    `limit: an answer has at most ${limits.query_rows_max} rows (limit query_rows_max). Follow the cursor, or export all ` +
      'rows (limit null) as NDJSON, CSV, Parquet or Arrow',
  );
}

/** Throws ApiError `invalid-request`. */
export function readTimeRange({ timeRange }: Pick<QueryBody, 'timeRange'>): TimeRange {
  const start = readTime('timeRange.start', timeRange?.start);
  const end = readTime('timeRange.end', timeRange?.end);
  if (start !== undefined && end !== undefined && compareTimes(start, end) > 0) {
    throw invalidRequest('timeRange: start is after end');
  }
  return { start, end };
}

function readTime(field: string, value: string | number | undefined): Time | undefined {
  if (value === undefined) return undefined;
  const time = typeof value === 'number' ? { time_ms: value, finer: '' } : parseTimeBound(value);
  if ('reason' in time) throw invalidRequest(`${field}: ${time.detail}`);
  // All rows lie between these bounds.
  if (time.time_ms < time_ms_min) return { time_ms: time_ms_min, finer: '' };
  return time.time_ms > time_ms_max ? { time_ms: time_ms_max + 1, finer: '' } : time;
}
