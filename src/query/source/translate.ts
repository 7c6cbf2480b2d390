import { invalidRequest } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';
import { timeOf, timeText } from '../../schema/lenient-time.ts';
import type { Table } from '../../schema/table.ts';
import type { Field } from '../../schema/types.ts';
import type { Downsample } from '../request/downsample.ts';
import type { Condition } from '../request/filters.ts';
import type { Format } from '../request/format.ts';
import type { QueryBody } from '../request/parse.ts';
import type { PartitionKey } from '../request/partition-key.ts';
import type { Predicate, SourceAggregation, SourceQueryBody } from './body.ts';

/**
 * Translates a query of the source system of a takeover. Its time range includes the end, its answer always has the
 * timestamp, and its limit defaults to the maximum of an answer.
 *
 * @throws ApiError `invalid-request` for a comparison that does not apply to the type of a column
 */
export function translateQuery(sent: SourceQueryBody, table: Table, limits: Limits, format: Format): QueryBody {
  const { timeRange, timestampColumn, columns, filters, downsample, limit, tableName: _, ...rest } = sent;
  const time = table.schema.timestampColumn;
  const fields = [...new Set(columns ?? [])];
  const isDownsampled = downsample !== null && downsample !== undefined;
  const isTimestampColumn =
    timestampColumn === null || timestampColumn === undefined || timestampColumn === 'timestamp';
  return {
    ...rest,
    tableName: table.name,
    timeRange: timeRange ? translateTimeRange(timeRange) : undefined,
    timestampColumn: isTimestampColumn ? undefined : timestampColumn,
    columns: isDownsampled || fields.length === 0 ? undefined : [...fields, ...(fields.includes(time) ? [] : [time])],
    filters: {
      partitionKey: translatePartitionKey(filters?.partitionKey ?? {}),
      columns: [...endCondition(timeRange, time), ...translateConditions(filters?.columns ?? [], table)],
    },
    downsample: isDownsampled ? translateDownsample(downsample, fields, time) : undefined,
    limit: limit ?? (format === 'json' ? limits.query_rows_max : null),
    isWhole: limit === null || limit === undefined,
  };
}

type Range = NonNullable<SourceQueryBody['timeRange']>;

/** Includes the millisecond of the end; `endCondition` excludes the rest of the millisecond. */
function translateTimeRange({ start, end }: Range): Range {
  const end_ms = end === undefined ? undefined : timeOf(end);
  return {
    start: typeof start === 'string' ? timeText(start) : start,
    end: end_ms === undefined ? end : end_ms + 1,
  };
}

function endCondition(timeRange: SourceQueryBody['timeRange'], time: string): Condition[] {
  const end = timeRange?.end;
  if (end === undefined || timeOf(end) === undefined) return [];
  return [{ column: time, op: 'lte', value: typeof end === 'string' ? timeText(end) : end }];
}

/** A single `eq` or `in` of strings becomes a list of values, as in `/v1`. */
function translatePartitionKey(sent: Record<string, string | string[] | Predicate>): PartitionKey {
  const entries = Object.entries(sent).map(([name, accepted]): [string, PartitionKey[string]] => {
    if (typeof accepted === 'string' || Array.isArray(accepted)) return [name, accepted];
    if (accepted.type === 'boolean')
      throw invalidRequest(`filters.partitionKey: type of ${name} must be string, number or timestamp`);
    const { type } = accepted;
    const isTime = type === 'timestamp';
    const comparisons = listComparisons(accepted).map(({ op, values }) => ({
      op,
      values: isTime ? values.map((value) => requireTime(name, value)) : (values as (string | number)[]),
    }));
    const [first] = comparisons;
    const isList = type === 'string' && comparisons.length === 1 && (first?.op === 'eq' || first?.op === 'in');
    return [name, isList ? (first.values as string[]) : { type, comparisons }];
  });
  return Object.fromEntries(entries);
}

function requireTime(name: string, value: string | number | boolean): number {
  const time_ms = timeOf(String(value));
  if (time_ms !== undefined) return time_ms;
  throw invalidRequest(`filters.partitionKey: ${name}: ${JSON.stringify(value).slice(0, 100)} is not a timestamp`);
}

type Comparison = 'eq' | 'in' | 'gt' | 'gte' | 'lt' | 'lte';

function listComparisons(predicate: Predicate): { op: Comparison; values: (string | number | boolean)[] }[] {
  const { type: _, ...named } = predicate;
  return Object.entries(named).flatMap(([op, value]) => {
    if (value === null || value === undefined) return [];
    return [{ op: op as Comparison, values: [value].flat() }];
  });
}

function translateConditions(
  sent: NonNullable<NonNullable<SourceQueryBody['filters']>['columns']>,
  { schema }: Table,
): NonNullable<NonNullable<QueryBody['filters']>['columns']> {
  if (Array.isArray(sent)) return sent;
  const fields = new Map(schema.fields.map((field) => [field.name, field]));
  return Object.entries(sent).flatMap(([column, predicate]) =>
    listComparisons(predicate).map(({ op, values }): Condition => {
      const converted = values.map((value) => convertValue(predicate.type, value, column, fields.get(column)));
      return { column, op, value: op === 'in' ? converted : (converted[0] ?? null) };
    }),
  );
}

/**
 * Converts a value to the type of its column. The source system compares strings of digits with numbers, and 1 with true.
 *
 * @param field undefined for an unknown field, which may be newer than the cached schema
 */
function convertValue(
  type: Predicate['type'],
  value: string | number | boolean,
  column: string,
  field: Field | undefined,
): string | number | boolean {
  const isTime = field?.type === 'timestamp';
  const isNumber = ['double', 'integer', 'unsigned'].includes(field?.type ?? '');
  if (field !== undefined && !isTime && type === 'timestamp') {
    throw invalidRequest(
      `filters.columns: ${column} has type ${field.type}; comparisons of type timestamp need a timestamp column`,
    );
  }
  if (isTime && typeof value === 'number') {
    throw invalidRequest(`filters.columns: ${column} is a timestamp; use a comparison of type timestamp`);
  }
  if (typeof value === 'string' && (isTime || type === 'timestamp')) return timeText(value);
  if (field?.type === 'double' && typeof value === 'string' && value.trim() !== '' && !Number.isNaN(Number(value))) {
    return Number(value);
  }
  if (isNumber && typeof value === 'boolean') return value ? 1 : 0;
  if (field?.type === 'boolean' && (value === 1 || value === 'true')) return true;
  if (field?.type === 'boolean' && (value === 0 || value === 'false')) return false;
  return value;
}

function translateDownsample(
  sent: NonNullable<SourceQueryBody['downsample']>,
  columns: string[],
  time: string,
): Downsample {
  const groups = [...new Set([...columns.filter((name) => name !== time), ...sent.groupBy])];
  const aggregations = sent.aggregations.map((each) => ('fn' in each ? translateAggregation(each) : each));
  return { ...sent, groupBy: groups, aggregations };
}

function translateAggregation({
  fn,
  column,
  percentile,
  alias,
}: SourceAggregation): Downsample['aggregations'][number] {
  const fraction = percentile ?? undefined;
  const prefix = fraction === undefined ? fn : `p${Math.round(fraction * 100)}`;
  return {
    function: fn,
    column: column ?? undefined,
    // 0.07 * 100 is 7.000000000000001 as a double.
    percentile: fraction === undefined ? undefined : Number((fraction * 100).toPrecision(15)),
    as: alias ?? (typeof column === 'string' ? `${prefix}_${column}` : fn),
  };
}
