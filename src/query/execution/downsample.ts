import { assertDefined } from '../../core/assert.ts';

import { quoteName } from '../../core/identifiers.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';
import { type DecimalType, decimalSize, isDecimal } from '../../schema/decimal.ts';
import type { Table } from '../../schema/table.ts';
import { timeTextSql } from '../../schema/time-text-sql.ts';
import { type Field, type FieldType, isNeverNull, precisionOf } from '../../schema/types.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import type { AggregateFunction, Downsample } from '../request/downsample.ts';
import { intervalStartSql, intervalStartsBetweenSql, minIntervalLength_ms } from '../request/intervals.ts';
import type { QueryPlan } from '../request/parse.ts';
import { hiddenColumn } from '../response/json.ts';
import type { Statement } from './execute-read.ts';
import { mergedTableSql, type Source } from './merged-table-sql.ts';
import { rowConditions } from './raw-rows.ts';

/** The columns of a downsampled answer. */
type Outputs = {
  time: string;
  groups: string[];
  aggregates: { name: string; sql: string; isNumber: boolean; isTime?: boolean }[];
};

/**
 * Aggregates over time intervals, computed from the stored rows and the tail together.
 *
 * @param output `marked` adds the hidden member with the sources of each interval; `text` has times as text
 */
export function downsampleStatement(
  source: Source,
  plan: QueryPlan,
  downsample: Downsample,
  limits: Limits,
  output: 'rows' | 'text' | 'marked',
): Statement {
  const { table } = source;
  const params: Settings = {};
  const outputs = planOutputs(downsample, table, plan.fields, limits);
  const { time, groups, aggregates } = outputs;
  requireZone(downsample.timeZone);
  params.param__tz = downsample.timeZone;
  const used = new Set([time, ...groups, ...downsample.aggregations.flatMap(({ column }) => column ?? [])]);
  const inner = [...[...used].map(quoteName), '_lane', '_seq', '_row'];
  const rows = mergedTableSql(source, params, {
    columns: ['toString(_partition_id) AS _p', ...inner],
    tailColumns: ["'' AS _p", ...inner],
    where: rowConditions(source, plan, limits, params),
  });
  const bucket = intervalStartSql(quoteName(time), downsample);
  const origin =
    "concat(toString(countIf(_p != '')), ' ', toString(countIf(_p = '')), ' ', arrayStringConcat(arraySort(groupUniqArrayIf(_p, _p != '')), ' '))";
  const isMarked = output === 'marked';
  const columns = [
    `${bucket} AS _b`,
    ...groups.map((name, i) => `${quoteName(name)} AS _g${i}`),
    ...aggregates.map(({ sql }, i) => `${sql} AS _a${i}`),
    ...(isMarked ? [`${origin} AS _o`] : []),
  ];
  const keys = ['_b', ...groups.map((_, i) => `_g${i}`)];
  const aggregated = `SELECT ${columns.join(', ')} FROM ${rows} GROUP BY ${keys.join(', ')}`;
  const filled =
    downsample.fill === 'none'
      ? aggregated
      : fillSql(aggregated, outputs, { downsample, range: plan.range, isMarked, limits });
  const asText = (value: string, isTime: boolean | undefined) => {
    return output === 'text' && isTime ? timeTextSql(value, precisionOf(table.schema)) : value;
  };
  const times = new Set(plan.fields.filter(({ type }) => type === 'timestamp').map(({ name }) => name));
  const shown = [
    ...(isMarked ? [`_o AS ${hiddenColumn}`] : []),
    `_b AS ${quoteName(time)}`,
    ...groups.map((name, i) => `${asText(`_g${i}`, times.has(name))} AS ${quoteName(name)}`),
    ...aggregates.map(({ name, isTime }, i) => `${asText(`_a${i}`, isTime)} AS ${quoteName(name)}`),
  ];
  const inside = new Map([
    [time, '_b'],
    ...groups.map((name, i): [string, string] => [name, `_g${i}`]),
    ...aggregates.map(({ name }, i): [string, string] => [name, `_a${i}`]),
  ]);
  const order = [
    ...plan.orderBy.map(({ column, direction }) => {
      const name = inside.get(column);
      if (name === undefined) throw invalidRequest(`orderBy: the answer has no column ${column}`);
      return direction === 'desc' ? `${name} DESC` : name;
    }),
    ...keys,
  ];
  const limit = plan.limit === undefined ? '' : ` LIMIT ${plan.limit}`;
  // The outer SELECT renames the columns: an alias of the answer may be the name of another field.
  const sorted = `SELECT * FROM (${filled}) ORDER BY ${order.join(', ')}${limit}`;
  return { sql: `SELECT ${shown.join(', ')} FROM (${sorted}) ORDER BY ${order.join(', ')}`, params };
}

type FillOptions = {
  downsample: Downsample;
  range: QueryPlan['range'];
  /** Whether the rows have the hidden member `_o`. */
  isMarked: boolean;
  limits: Limits;
};

/**
 * Adds the intervals without rows. Each interval with rows generates the empty ones up to the next; the first interval of a
 * group also generates those before it.
 */
function fillSql(
  aggregated: string,
  { groups, aggregates }: Outputs,
  { downsample, range: { start, end }, isMarked, limits }: FillOptions,
): string {
  // Intervals begin at whole seconds, so that digits below a millisecond do not change them.
  const start_ms = start?.time_ms;
  const end_ms = end && end.time_ms + (end.finer === '' ? 0 : 1);
  const length_ms = minIntervalLength_ms(downsample);
  if (start_ms !== undefined && end_ms !== undefined && (end_ms - start_ms) / length_ms > limits.query_rows_max) {
    throw limitExceeded(
      `downsample.fill: the time range has more than ${limits.query_rows_max} intervals (limit query_rows_max)`,
    );
  }
  const between = (from: string, to: string) => intervalStartsBetweenSql(from, to, downsample);
  const after = end_ms === undefined ? '_b' : `fromUnixTimestamp64Milli(toInt64(${end_ms}), 'UTC')`;
  const first = intervalStartSql(`fromUnixTimestamp64Milli(toInt64(${start_ms ?? 0}), 'UTC')`, downsample);
  // `between` excludes both ends; one millisecond earlier includes the first interval.
  const before = `if(_n = 1, ${between(`(${first} - INTERVAL 1 MILLISECOND)`, '_b')}, [])`;
  const slots = [
    ...(start_ms === undefined ? [] : [`arrayMap(b -> (b, 2), ${before})`]),
    '[(_b, 0)]',
    `arrayMap(b -> (b, 1), ${between('_b', `ifNull(_next, ${after})`)})`,
  ];
  const window = `${groups.length === 0 ? '' : `PARTITION BY ${groups.map((_, i) => `_g${i}`).join(', ')} `}ORDER BY _b`;
  const empty = ({ isNumber }: Outputs['aggregates'][number], i: number) => {
    if (downsample.fill === 'previous') return `if(_slot.2 = 2, NULL, _a${i})`;
    return `if(_slot.2 = 0, _a${i}, ${downsample.fill === 'zero' && isNumber ? '0' : 'NULL'})`;
  };
  const columns = [
    '_slot.1 AS _b',
    ...groups.map((_, i) => `_g${i}`),
    ...aggregates.map((each, i) => `${empty(each, i)} AS _a${i}`),
    ...(isMarked ? ["if(_slot.2 = 0, _o, '0 0 ') AS _o"] : []),
  ];
  const neighbours = `SELECT *, row_number() OVER (${window}) AS _n, leadInFrame(toNullable(_b)) OVER (${window} ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS _next FROM (${aggregated})`;
  const each = `SELECT *, arrayJoin(arrayConcat(${slots.join(', ')})) AS _slot FROM (${neighbours})`;
  return `SELECT ${columns.join(', ')} FROM (${each})`;
}

function planOutputs(downsample: Downsample, table: Table, schemaFields: Field[], limits: Limits): Outputs {
  const fields = new Map(schemaFields.map((field) => [field.name, field]));
  const time = table.schema.timestampColumn;
  for (const name of downsample.groupBy) {
    if (!fields.has(name)) throw invalidRequest(`downsample.groupBy: table ${table.name} has no field ${name}`);
    if (fields.get(name)?.type === 'map')
      throw invalidRequest(`downsample.groupBy: ${name} is a map and cannot be grouped by`);
    if (name === time)
      throw invalidRequest(`downsample.groupBy: ${name} is the timestamp column, which the intervals group already`);
  }
  if (downsample.aggregations.length > limits.query_aggregations_max) {
    throw limitExceeded(
      `downsample.aggregations: at most ${limits.query_aggregations_max} aggregations (limit query_aggregations_max)`,
    );
  }
  const aggregates = downsample.aggregations.map((each) => planAggregate(each, fields, table));
  const names = [time, ...downsample.groupBy, ...aggregates.map(({ name }) => name)];
  const duplicate = names.find((name, i) => names.indexOf(name) !== i);
  if (duplicate !== undefined)
    throw invalidRequest(`downsample: two columns of the answer have the name ${duplicate}; rename one with as`);
  return { time, groups: downsample.groupBy, aggregates };
}

const numeric = new Set<AggregateFunction>(['avg', 'sum', 'median', 'percentile']);

function planAggregate(
  { function: name, column, percentile, as }: Downsample['aggregations'][number],
  fields: Map<string, Field>,
  table: Table,
): Outputs['aggregates'][number] {
  if ((percentile !== undefined) !== (name === 'percentile')) {
    throw invalidRequest(`downsample.aggregations: percentile belongs to the function percentile, which requires it`);
  }
  if (as?.startsWith('_')) throw invalidRequest(`downsample.aggregations: ${as}: names with a leading _ are reserved`);
  if (column === undefined) {
    if (name !== 'count') throw invalidRequest(`downsample.aggregations: ${name} requires a column`);
    return { name: as ?? 'count', sql: 'count()', isNumber: true };
  }
  const field = fields.get(column);
  if (field === undefined) throw invalidRequest(`downsample.aggregations: table ${table.name} has no field ${column}`);
  const isNumber = ['double', 'integer', 'unsigned'].includes(field.type) || isDecimal(field.type);
  if (numeric.has(name) && !isNumber) {
    throw invalidRequest(`downsample.aggregations: ${name} takes numbers, but ${column} has type ${field.type}`);
  }
  if ((name === 'min' || name === 'max') && isNeverNull(field.type)) {
    throw invalidRequest(`downsample.aggregations: ${name} takes ordered values, but ${column} has type ${field.type}`);
  }
  const sql = aggregateSql(name, quoteName(column), field, quoteName(table.schema.timestampColumn), percentile);
  const label = name === 'percentile' ? `p${percentile}_${column}` : `${name}_${column}`;
  const isTime = field.type === 'timestamp' && !name.startsWith('count');
  return { name: as ?? label, sql, isTime, isNumber: isNumber || name === 'count' || name === 'count_distinct' };
}

function aggregateSql(
  name: AggregateFunction,
  column: string,
  { type }: Field,
  time: string,
  percentile: number | undefined,
): string {
  // The order of raw rows, so that equal times have a defined first and last row.
  const place = `(${time}, _lane, _seq, _row)`;
  switch (name) {
    case 'sum':
      // A sum of 64 bits would overflow silently.
      if (isDecimal(type)) return decimalSum(column, type);
      return type === 'integer' || type === 'unsigned' ? `sum(toInt128(${column}))` : `sum(${column})`;
    case 'median':
      return `quantileExactInclusiveOrNull(0.5)(${asDouble(column, type)})`;
    case 'percentile':
      return `quantileExactInclusiveOrNull(${assertDefined(percentile, 'a percentile has its number') / 100})(${asDouble(column, type)})`;
    case 'count':
      return `count(${column})`;
    case 'count_distinct':
      return `uniqExact(${column})`;
    case 'first':
      return `argMin(${column}, ${place})`;
    case 'last':
      return `argMax(${column}, ${place})`;
    default:
      return `${name}(${column})`;
  }
}

/** The mean of two decimals may need more digits than their type has. */
const asDouble = (column: string, type: FieldType) => (isDecimal(type) ? `toFloat64(${column})` : column);

/** Exact up to 76 digits; a longer sum is an error. */
function decimalSum(column: string, type: DecimalType): string {
  const { precision, scale } = decimalSize(type);
  const sum = `sum(toDecimal256(${column}, ${scale}))`;
  // 76 - 57 = 19 further digits hold the sum of 10^19 rows.
  if (precision <= 57) return sum;
  const isOver = `abs(ifNull(sum(toFloat64(${column})), 0)) >= 1e${76 - scale}`;
  return `if(throwIf(${isOver}, 'The sum has more than 76 digits') = 0, ${sum}, ${sum})`;
}

function requireZone(timeZone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone });
  } catch {
    throw invalidRequest(`downsample.timeZone: unknown time zone ${timeZone}`);
  }
}
