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

/** The body of a query. */
export const queryBody = z.strictObject({
  tableName: z.union([slug, z.literal(quarantineTable)]).default('records'),
  timeRange: z
    .strictObject({ start: time.optional(), end: time.optional() })
    .optional()
    .meta({ description: 'rows with start ≤ timestamp < end; a side left out, or before or after all times, is open' }),
  timestampColumn: z
    .string()
    .optional()
    .meta({ description: "the table's timestamp column; nothing else is accepted" }),
  columns: z.array(z.string()).min(1).max(1_000).optional().meta({ description: 'fields to answer; all by default' }),
  filters: z
    .strictObject({
      partitionKey: partitionKeySchema
        .optional()
        .meta({ description: 'entries of the partition key that rows were sent with, each with its value or values' }),
      columns: z.array(filterSchema).optional().meta({ description: 'conditions that all hold' }),
    })
    .optional(),
  downsample: downsampleSchema.optional(),
  orderBy: z
    .array(z.strictObject({ column: z.string(), direction }))
    .min(1)
    .max(16)
    .optional()
    .meta({ description: 'by time by default; null comes last in both directions' }),
  limit: z.int().positive().nullable().optional().meta({
    description: 'most rows to answer; null for all of them, in formats other than JSON',
  }),
  cursor: z.string().optional().meta({
    description:
      'the cursor of the page before, with the same query; 409 where rows were deleted or corrected since the first page',
  }),
  afterWatermark: z
    .string()
    .optional()
    .meta({
      description:
        'the token of an earlier answer: only rows that were not in it, each once however often one goes on with the next ' +
        'token; 409 where the hot buffer has lost what the token says',
    }),
  format: z.enum(formatNames).optional().meta({ description: 'before what `Accept` says' }),
  ...freshnessFields,
});

type Sent = z.output<typeof queryBody>;

/** What is asked for, in whichever form it was sent. */
export type QueryBody = Omit<Sent, 'filters'> & {
  filters?: { partitionKey?: PartitionKey | undefined; columns?: Filter[] | undefined } | undefined;
  /** Whether all rows are asked for: an answer that has not all of them says so. */
  isWhole?: boolean;
};

/** A query with everything checked against the table. */
export type QueryPlan = {
  /** Fields of the answer; of a downsampled one, those that its SQL needs. */
  fields: Field[];
  range: TimeRange;
  partitionKey: PartitionKey;
  filters: Filter[];
  orderBy: { column: string; direction: 'asc' | 'desc' }[];
  /** Rows up to these sequences of their lanes are not wanted. */
  after: Watermark['lanes'];
  /** Undefined for an export. */
  limit: number | undefined;
  cursor: Cursor | undefined;
  /** Of the query, so that a cursor is used with its own. */
  hash: string;
};

/**
 * @param when `early`, before the newest fields are known: those that are not may be new
 * @throws TimestoreError `invalid-request` or `limit-exceeded`, naming what is wrong
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
    throw invalidRequest('cursor: it is of another query; send it with the query that it came from, unchanged');
  }
  // A page has the columns of the first one, also when there are new fields by now.
  const fields = schema.fields.slice(0, cursor?.fields);
  if (body.downsample !== undefined && (body.columns !== undefined || body.cursor !== undefined)) {
    throw invalidRequest('downsample: columns and cursor are of raw rows');
  }
  return {
    range: readTimeRange(body),
    fields: body.downsample === undefined && when === 'now' ? chosen(body.columns, fields, table) : fields,
    partitionKey: body.filters?.partitionKey ?? {},
    filters: body.filters?.columns ?? [],
    orderBy: body.orderBy ?? [],
    after: body.afterWatermark === undefined ? [] : requireToken('afterWatermark', body.afterWatermark).lanes,
    limit: readLimit(body.limit, limits, format),
    cursor,
    hash,
  };
}

function chosen(columns: string[] | undefined, fields: Field[], table: Table): Field[] {
  if (columns === undefined) return fields;
  const known = new Map(fields.map((field) => [field.name, field]));
  const unknown = columns.filter((column) => !known.has(column));
  if (unknown.length > 0)
    throw invalidRequest(`columns: table ${table.name} has no field ${unknown.slice(0, 10).join(', ')}`);
  if (new Set(columns).size < columns.length) throw invalidRequest('columns: a field is named twice');
  return columns.flatMap((column) => known.get(column) ?? []);
}

function readLimit(asked: number | null | undefined, limits: Limits, format: Format): number | undefined {
  if (asked === null) {
    if (format !== 'json') return undefined;
    throw invalidRequest('limit: all rows can be had as NDJSON, CSV, Parquet or Arrow, not as JSON');
  }
  const limit = asked ?? Math.min(limits.query_rows_default, limits.query_rows_max);
  if (limit <= limits.query_rows_max) return limit;
  throw limitExceeded(
    `limit: a query answers at most ${limits.query_rows_max} rows (limit query_rows_max). Follow the cursor, or ask for ` +
      'all of them (limit null) as NDJSON, CSV, Parquet or Arrow',
  );
}

/** The range that a request names. Throws TimestoreError `invalid-request`. */
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
  // No row is earlier or later than these.
  if (time.time_ms < time_ms_min) return { time_ms: time_ms_min, finer: '' };
  return time.time_ms > time_ms_max ? { time_ms: time_ms_max + 1, finer: '' } : time;
}
