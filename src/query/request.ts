import { z } from 'zod';
import type { Table } from '../catalog/table.ts';
import type { Limits } from '../config.ts';
import { TimestoreError } from '../errors.ts';
import { slug } from '../names.ts';
import { quarantineTable } from '../quarantine/table.ts';
import { parseTimestampText } from '../schema/timestamp.ts';

const time = z.union([z.string(), z.int()]).meta({
  description: 'RFC 3339, YYYY-MM-DD hh:mm:ss[.fff] in UTC, or epoch milliseconds',
  examples: ['2026-05-01T10:00:00Z'],
});

/** The body of a query. */
export const queryBody = z.strictObject({
  tableName: z.union([slug, z.literal(quarantineTable)]).default('records'),
  timeRange: z
    .strictObject({ start: time.optional(), end: time.optional() })
    .optional()
    .meta({ description: 'rows with start ≤ timestamp < end; a side left out is open' }),
  timestampColumn: z
    .string()
    .optional()
    .meta({ description: "the table's timestamp column; nothing else is accepted" }),
  columns: z.array(z.string()).min(1).max(1_000).optional().meta({ description: 'fields to answer; all by default' }),
  limit: z.int().positive().optional().meta({ description: 'most rows to answer, the earliest first' }),
});

/** A query with everything checked against the table. Times are in ms, `end_ms` exclusive. */
export type QueryPlan = { columns: string[]; start_ms: number | undefined; end_ms: number | undefined; limit: number };

/** Throws TimestoreError `invalid-request` or `limit-exceeded`, naming what is wrong. */
export function planQuery(body: z.output<typeof queryBody>, table: Table, limits: Limits): QueryPlan {
  const { schema } = table;
  if (body.timestampColumn !== undefined && body.timestampColumn !== schema.timestampColumn) {
    throw invalid(`timestampColumn: the timestamp column of table ${table.name} is ${schema.timestampColumn}`);
  }
  const known = new Set(schema.fields.map((field) => field.name));
  const columns = body.columns ?? [...known];
  const unknown = columns.filter((column) => !known.has(column));
  if (unknown.length > 0) throw invalid(`columns: table ${table.name} has no field ${unknown.slice(0, 10).join(', ')}`);
  if (new Set(columns).size < columns.length) throw invalid('columns: a field is named twice');
  const limit = body.limit ?? limits.query_rows_default;
  if (limit > limits.query_rows_max) {
    throw new TimestoreError(
      'limit-exceeded',
      `limit: a query answers at most ${limits.query_rows_max} rows (limit query_rows_max).`,
    );
  }
  const start_ms = timeOf('timeRange.start', body.timeRange?.start);
  const end_ms = timeOf('timeRange.end', body.timeRange?.end);
  if (start_ms !== undefined && end_ms !== undefined && start_ms > end_ms) {
    throw invalid('timeRange: start is after end');
  }
  return { columns, start_ms, end_ms, limit };
}

function timeOf(field: string, value: string | number | undefined): number | undefined {
  if (value === undefined || typeof value === 'number') return value;
  const time_ms = parseTimestampText(value);
  if (typeof time_ms !== 'number') throw invalid(`${field}: ${time_ms.detail}`);
  return time_ms;
}

function invalid(detail: string): TimestoreError {
  return new TimestoreError('invalid-request', `${detail}.`);
}
