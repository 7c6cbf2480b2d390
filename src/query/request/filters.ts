import * as z from 'zod';
import type { ApiError } from '../../core/errors.ts';
import { quoteName } from '../../core/identifiers.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';
import { coerceDecimal, type DecimalType, decimalSize, isDecimal } from '../../schema/decimal.ts';
import { isNotNumber } from '../../schema/double.ts';
import type { Table } from '../../schema/table.ts';
import { parseTimeBound, type Time, time_ms_max, time_ms_min } from '../../schema/timestamp.ts';
import type { Field, FieldType, TableSchema } from '../../schema/types.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import { arrayText, parameterText } from '../../stores/clickhouse/parameter.ts';
import { decimalText, fitDecimals } from './decimal-filter.ts';
import { timeValue } from './time-range.ts';

const operators = [
  'eq',
  'ne',
  'lt',
  'lte',
  'gt',
  'gte',
  'in',
  'notIn',
  'between',
  'isNull',
  'isNotNull',
  'contains',
  'notContains',
  'startsWith',
  'endsWith',
  'like',
  'notLike',
  'ilike',
  'matches',
  'has',
  'hasAny',
  'hasAll',
  'isEmpty',
  'isNotEmpty',
] as const;

export type Operator = (typeof operators)[number];

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const condition = z.strictObject({
  column: z.string(),
  op: z.enum(operators as unknown as [Operator, ...Operator[]]),
  value: z.union([scalar, z.array(scalar)]).optional(),
});

export type Condition = z.output<typeof condition>;
export type Filter = Condition | { and: Filter[] } | { or: Filter[] };

const depthMax = 8;

/** A condition on a column, or a group of them. */
export const filterSchema: z.ZodType<Filter> = z
  .union([
    condition,
    z.strictObject({
      get and() {
        return z.array(filterSchema).min(1);
      },
    }),
    z.strictObject({
      get or() {
        return z.array(filterSchema).min(1);
      },
    }),
  ])
  .meta({ id: 'Filter' });

/** Which operators a type has. Null is neither equal nor unequal to anything, as in SQL: `isNull` finds it. */
const ordered: Operator[] = ['eq', 'ne', 'lt', 'lte', 'gt', 'gte', 'in', 'notIn', 'between', 'isNull', 'isNotNull'];
const texts: Operator[] = [
  ...ordered,
  'contains',
  'notContains',
  'startsWith',
  'endsWith',
  'like',
  'notLike',
  'ilike',
  'matches',
];
const operatorsOf: Record<'timestamp' | 'number' | 'text' | 'boolean' | 'strings' | 'map' | 'vector', Operator[]> = {
  timestamp: ordered,
  number: ordered,
  text: texts,
  boolean: ['eq', 'ne', 'in', 'notIn', 'isNull', 'isNotNull'],
  strings: ['eq', 'ne', 'has', 'hasAny', 'hasAll', 'isEmpty', 'isNotEmpty'],
  map: ['has', 'isEmpty', 'isNotEmpty'],
  vector: ['eq', 'ne', 'isEmpty', 'isNotEmpty'],
};

function kindOf(type: FieldType): keyof typeof operatorsOf {
  if (type === 'timestamp' || type === 'boolean' || type === 'map') return type;
  if (type === 'double' || type === 'integer' || type === 'unsigned' || isDecimal(type)) return 'number';
  if (type === 'string' || type === 'json') return 'text';
  return type === 'string[]' ? 'strings' : 'vector';
}

const infix: Partial<Record<Operator, string>> = {
  eq: '=',
  ne: '!=',
  lt: '<',
  lte: '<=',
  gt: '>',
  gte: '>=',
  in: 'IN',
  notIn: 'NOT IN',
  like: 'LIKE',
  notLike: 'NOT LIKE',
  ilike: 'ILIKE',
};
const called: Partial<Record<Operator, string>> = {
  startsWith: 'startsWith',
  endsWith: 'endsWith',
  matches: 'match',
  has: 'has',
  hasAny: 'hasAny',
  hasAll: 'hasAll',
};

/**
 * SQL of filters, their values bound as parameters.
 *
 * @param parameter what their names begin with
 * @throws TimestoreError `invalid-request`, `limit-exceeded`
 */
export function filterSql(
  filters: Filter[],
  table: Table,
  limits: Limits,
  params: Settings,
  parameter = '_f',
): string[] {
  const fields = new Map(table.schema.fields.map((field) => [field.name, field]));
  let count = 0;
  const one = (filter: Filter, depth: number): string => {
    if (depth > depthMax) throw limitExceeded(`filters.columns: groups nest at most ${depthMax} deep`);
    if ('and' in filter) return `(${filter.and.map((each) => one(each, depth + 1)).join(' AND ')})`;
    if ('or' in filter) return `(${filter.or.map((each) => one(each, depth + 1)).join(' OR ')})`;
    count += 1;
    if (count > limits.query_filters_max) {
      throw limitExceeded(`filters.columns: at most ${limits.query_filters_max} conditions (limit query_filters_max)`);
    }
    const field = fields.get(filter.column);
    if (field === undefined) throw invalidRequest(`filters.columns: table ${table.name} has no field ${filter.column}`);
    const conditions = isDecimal(field.type) ? fitDecimals(filter, field.type) : [filter];
    if (conditions === 'never') return 'false';
    const parts = conditions.map((each, i) => {
      return conditionSql(each, field, table.schema, limits, params, `${parameter}${count}${'x'.repeat(i)}`);
    });
    return parts.length === 1 ? parts.join() : `(${parts.join(' AND ')})`;
  };
  return filters.map((filter) => one(filter, 0));
}

function conditionSql(
  { column, op, value }: Condition,
  field: Field,
  schema: TableSchema,
  limits: Limits,
  params: Settings,
  name: string,
): string {
  if (!operatorsOf[kindOf(field.type)].includes(op)) {
    const known = operatorsOf[kindOf(field.type)].join(', ');
    throw invalidRequest(`filters.columns: ${column} is ${field.type}, which has no ${op}, but ${known}`);
  }
  const quoted = quoteName(column);
  const needsNone = ['isNull', 'isNotNull', 'isEmpty', 'isNotEmpty'].includes(op);
  if (needsNone !== (value === undefined)) {
    throw invalidRequest(`filters.columns: ${op} of ${column} takes ${needsNone ? 'no value' : 'a value'}`);
  }
  if (op === 'isNull' || op === 'isNotNull') return `${quoted} IS ${op === 'isNull' ? '' : 'NOT '}NULL`;
  if (op === 'isEmpty' || op === 'isNotEmpty') return `${op === 'isEmpty' ? 'empty' : 'notEmpty'}(${quoted})`;
  const isList = Array.isArray(value);
  const wantsList = ['in', 'notIn', 'between', 'hasAny', 'hasAll'].includes(op) || (isArray(field) && op !== 'has');
  if (isList !== wantsList)
    throw invalidRequest(`filters.columns: ${op} of ${column} takes ${wantsList ? 'a list' : 'one value'}`);
  if (!isList) {
    // Null is found by its own operators; what is compared with it is never true.
    if (value === null || value === undefined) {
      if (op === 'eq') return `${quoted} IS NULL`;
      if (op === 'ne') return `${quoted} IS NOT NULL`;
      throw invalidRequest(`filters.columns: ${op} of ${column} does not take null`);
    }
    const { text, type } = boundTo(field, value, schema);
    if (patterns.has(op) && /(?<!\\)(?:\\\\)*\\$/.test(text)) {
      throw invalidRequest(
        `filters.columns: the pattern of ${column} ends with a backslash that has nothing to take the meaning from`,
      );
    }
    params[`param_${name}`] = parameterText(text);
    return operation(op, quoted, `{${name}:${type}}`);
  }
  if (value.length > limits.query_list_max) throw listTooLong('filters.columns', limits);
  const values = value.map((each) => {
    if (each === null) throw invalidRequest(`filters.columns: the list of ${column} has null in it; ask with isNull`);
    return boundTo(field, each, schema);
  });
  const type = isArray(field) ? itemType(field) : exactType(values.map((each) => each.type));
  if (op === 'between') {
    const [low, high, ...more] = values;
    if (low === undefined || high === undefined || more.length > 0) {
      throw invalidRequest(`filters.columns: between of ${column} takes two values`);
    }
    params[`param_${name}a`] = parameterText(low.text);
    params[`param_${name}b`] = parameterText(high.text);
    return `(${quoted} >= {${name}a:${low.type}} AND ${quoted} <= {${name}b:${high.type}})`;
  }
  params[`param_${name}`] = arrayText(
    values.map(({ text }) => text),
    type !== 'String' && !type.startsWith('Date'),
  );
  if (String(params[`param_${name}`]).length > limits.sql_param_bytes_max) throw listTooLong('filters.columns', limits);
  return operation(op, quoted, `{${name}:Array(${type})}`);
}

function operation(op: Operator, column: string, value: string): string {
  if (op === 'contains') return `position(${column}, ${value}) > 0`;
  if (op === 'notContains') return `position(${column}, ${value}) = 0`;
  const name = called[op];
  return name === undefined ? `${column} ${infix[op]} ${value}` : `${name}(${column}, ${value})`;
}

const patterns = new Set<Operator>(['like', 'notLike', 'ilike']);

type Bound = { text: string; type: string };

/** The time that a filter compares with; undefined for what is none. */
export function filterTime(value: string | number | boolean): Time | undefined {
  if (typeof value !== 'number') {
    const time = parseTimeBound(String(value));
    return 'reason' in time ? undefined : time;
  }
  // No row is earlier or later than these, so the comparison stays what it was.
  const near_ms = Math.min(Math.max(value, time_ms_min - 1), time_ms_max + 1);
  return Number.isSafeInteger(value) ? { time_ms: near_ms, finer: '' } : undefined;
}

/** A value as the type of its field has it, so that nothing is converted on the way. */
function boundTo(field: Field, value: string | number | boolean, schema: TableSchema): Bound {
  const wrong = () => {
    const isWhole = field.type === 'integer' || field.type === 'unsigned';
    const taken = isDecimal(field.type)
      ? 'a number, beyond 15 digits as a string of digits'
      : isWhole
        ? 'a whole number, beyond 2^53 as a string of digits'
        : `a ${field.type}`;
    return invalidRequest(`filters.columns: ${field.name} takes ${taken}, not ${JSON.stringify(value).slice(0, 100)}`);
  };
  const { type } = field;
  if (type === 'timestamp') {
    const time = filterTime(value);
    if (time === undefined) throw wrong();
    return timeValue(time, schema);
  }
  if (type === 'boolean') {
    if (typeof value !== 'boolean') throw wrong();
    return { text: String(value), type: 'Bool' };
  }
  if (type === 'string' || type === 'json' || type === 'string[]' || type === 'map') {
    if (typeof value !== 'string') throw wrong();
    return { text: value, type: 'String' };
  }
  if (isDecimal(type)) return decimalBound(type, value) ?? fail(wrong());
  if (type === 'integer' || type === 'unsigned') return wholeBound(type, value) ?? fail(wrong());
  if (type === 'double' && isNotNumber(value)) return { text: value, type: 'Float64' };
  if (typeof value !== 'number') throw wrong();
  return { text: String(value), type: type === 'double' ? 'Float64' : itemType(field) };
}

/** A whole number, or one with a fraction, which has a place among them; undefined for any other value. */
function wholeBound(type: 'integer' | 'unsigned', value: string | number | boolean): Bound | undefined {
  if (typeof value === 'number' && !Number.isInteger(value)) return { text: String(value), type: 'Float64' };
  // 2^60 as a JSON number may have been another one.
  if (typeof value === 'boolean' || (typeof value === 'number' && !Number.isSafeInteger(value))) return undefined;
  const text = String(value);
  if (!/^-?[0-9]{1,20}$/.test(text)) return undefined;
  const whole = BigInt(text);
  if (type === 'integer') return BigInt.asIntN(64, whole) === whole ? { text, type: 'Int64' } : undefined;
  if (BigInt.asUintN(64, whole) === whole) return { text, type: 'UInt64' };
  // A negative one has its place before all of them.
  return whole < 0n ? { text, type: 'Int128' } : undefined;
}

/** What the type holds; other numbers have been fitted to it before. */
function decimalBound(type: DecimalType, value: string | number | boolean): Bound | undefined {
  const text = decimalText(value);
  if (text === undefined) return undefined;
  const { precision, scale } = decimalSize(type);
  const stored = coerceDecimal(type, text);
  return typeof stored === 'string' ? { text: stored, type: `Decimal(${precision}, ${scale})` } : undefined;
}

function fail(error: Error): never {
  throw error;
}

function isArray({ type }: Field): boolean {
  return type === 'string[]' || type.startsWith('vector');
}

function itemType({ type }: Field): string {
  return type === 'string[]' ? 'String' : 'Float32';
}

/** One that holds all values: a list of times has the digits of the finest. */
function exactType(types: string[]): string {
  const times = types.filter((type) => type.startsWith('DateTime64')).sort();
  return times.at(-1) ?? ['Float64', 'Int128'].find((type) => types.includes(type)) ?? types[0] ?? 'String';
}

export function listTooLong(where: string, limits: Limits): ApiError {
  return limitExceeded(
    `${where}: a list has at most ${limits.query_list_max} values (limit query_list_max) and ${limits.sql_param_bytes_max} bytes (limit sql_param_bytes_max)`,
  );
}
