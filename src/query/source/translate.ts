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
 * A query in the form of the system that datasets are taken over from, as a query of a table here: the end of the time range
 * belongs to it, the timestamp is among the columns, and no limit means as many rows as an answer has.
 *
 * @throws TimestoreError `invalid-request` for comparisons that the type of a column does not have
 */
export function translateQuery(sent: SourceQueryBody, table: Table, limits: Limits, format: Format): QueryBody {
  const { timeRange, timestampColumn, columns, filters, downsample, limit, tableName: _, ...rest } = sent;
  const time = table.schema.timestampColumn;
  const fields = [...new Set(columns ?? [])];
  const isDownsampled = downsample !== null && downsample !== undefined;
  const isOwnTime = timestampColumn === null || timestampColumn === undefined || timestampColumn === 'timestamp';
  return {
    ...rest,
    tableName: table.name,
    timeRange: timeRange ? translateTimeRange(timeRange) : undefined,
    timestampColumn: isOwnTime ? undefined : timestampColumn,
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

/** With the millisecond that the end is in; the rest of it is ruled out by a condition. */
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

/** Comparisons of strings with `eq` or `in` are lists of values, as `/v1` has them. */
function translatePartitionKey(sent: Record<string, string | string[] | Predicate>): PartitionKey {
  const entries = Object.entries(sent).map(([name, wanted]): [string, PartitionKey[string]] => {
    if (typeof wanted === 'string' || Array.isArray(wanted)) return [name, wanted];
    if (wanted.type === 'boolean')
      throw invalidRequest(`filters.partitionKey: ${name} has type string, number or timestamp`);
    const { type } = wanted;
    const isTime = type === 'timestamp';
    const tests = listComparisons(wanted).map(({ op, values }) => ({
      op,
      values: isTime ? values.map((value) => requireTime(name, value)) : (values as (string | number)[]),
    }));
    const [first] = tests;
    const isList = type === 'string' && tests.length === 1 && (first?.op === 'eq' || first?.op === 'in');
    return [name, isList ? (first.values as string[]) : { type, tests }];
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
      const fitting = values.map((value) => convertValue(predicate.type, value, column, fields.get(column)));
      return { column, op, value: op === 'in' ? fitting : (fitting[0] ?? null) };
    }),
  );
}

/**
 * A value as the type of its column compares it: that system leaves it to its store to compare a string of digits with
 * numbers, and 1 with true.
 *
 * @param field undefined for one that is not known here yet, or not at all
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
    throw invalidRequest(`filters.columns: ${column} is ${field.type}, and type timestamp compares timestamps`);
  }
  if (isTime && typeof value === 'number') {
    throw invalidRequest(`filters.columns: ${column} is a timestamp; compare it by type timestamp`);
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
  const of = column ?? undefined;
  const share = percentile ?? undefined;
  const prefix = share === undefined ? fn : `p${Math.round(share * 100)}`;
  return {
    function: fn,
    column: of,
    // 0.07 of a hundred is 7, not the 7.000000000000001 of doubles.
    percentile: share === undefined ? undefined : Number((share * 100).toPrecision(15)),
    as: alias ?? (of === undefined ? fn : `${prefix}_${of}`),
  };
}
