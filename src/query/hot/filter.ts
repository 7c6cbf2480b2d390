import { isDecimal, unitsOf } from '../../schema/decimal.ts';
import type { Table } from '../../schema/table.ts';
import { storedTimestamp } from '../../schema/timestamp.ts';
import type { FieldType } from '../../schema/types.ts';
import { filterTime } from '../request/bind-value.ts';
import type { HotValue } from '../request/compare-values.ts';
import { fitDecimals } from '../request/decimal-filter.ts';
import type { Condition, Filter } from '../request/filters.ts';
import { operatorDefinition } from '../request/operators.ts';
import type { QueryPlan } from '../request/parse.ts';

type Values = Map<string, HotValue>;
type RowTest = (values: Values) => boolean;

/** Each condition on texts or lists reads the whole tail. More work than this would delay other requests of the instance. */
const filterBytes_max = 64 * 1024 * 1024;

/**
 * The filters of a planned query as a predicate for rows of the tail: true where ClickHouse would find them true.
 *
 * @param tail_bytes of all rows of the tail
 * @returns undefined where only ClickHouse can evaluate the filters, or where they would read too much
 */
export function hotFilter(
  { filters, partitionKey }: QueryPlan,
  table: Table,
  tail_bytes: number,
): ((values: Values, partition: Record<string, string>) => boolean) | undefined {
  const types = new Map(table.schema.fields.map(({ name, type }) => [name, type]));
  if (countLongConditions(filters, types) * tail_bytes > filterBytes_max) return undefined;
  const tests = filters.map((filter) => rowTest(filter, types));
  if (tests.some((test) => test === undefined)) return undefined;
  const entries = Object.entries(partitionKey);
  const key = entries.flatMap(([name, accepted]) => {
    return typeof accepted === 'string' || Array.isArray(accepted) ? [[name, new Set([accepted].flat())] as const] : [];
  });
  if (key.length < entries.length) return undefined;
  return (values, partition) =>
    key.every(([name, accepted]) => Object.hasOwn(partition, name) && accepted.has(partition[name] ?? '')) &&
    tests.every((test) => test?.(values));
}

/** Conditions on values of any length. */
function countLongConditions(filters: Filter[], types: Map<string, FieldType>): number {
  return filters.reduce((sum, filter) => {
    if ('column' in filter) return sum + (isShortType(types.get(filter.column) ?? 'string') ? 0 : 1);
    return sum + countLongConditions('and' in filter ? filter.and : filter.or, types);
  }, 0);
}

const shortTypes = new Set<FieldType>(['timestamp', 'double', 'integer', 'unsigned', 'boolean']);

const isShortType = (type: FieldType) => shortTypes.has(type) || isDecimal(type);

/** Undefined where only ClickHouse evaluates the filter. */
function rowTest(filter: Filter, types: Map<string, FieldType>): RowTest | undefined {
  if ('column' in filter) return conditionTest(filter, types.get(filter.column));
  const tests = ('and' in filter ? filter.and : filter.or).map((each) => rowTest(each, types));
  if (tests.some((test) => test === undefined)) return undefined;
  if ('and' in filter) return (values) => tests.every((test) => test?.(values));
  return (values) => tests.some((test) => test?.(values));
}

function conditionTest(condition: Condition, type: FieldType = 'string'): RowTest | undefined {
  if (!isDecimal(type)) return operatorTest(condition, type);
  const fitted = fitDecimals(condition, type);
  if (fitted === 'never') return () => false;
  const tests = fitted.map((each) => operatorTest(each, type));
  return (values) => tests.every((test) => test?.(values));
}

function operatorTest({ column, op, value = null }: Condition, type: FieldType): RowTest | undefined {
  const { withNull = op } = operatorDefinition(op);
  const { predicate } = operatorDefinition(value === null ? withNull : op);
  const test = Array.isArray(value)
    ? predicate(
        null,
        value.map((each) => readFilterValue(type, each)),
      )
    : predicate(readFilterValue(type, value), []);
  return test && ((values) => test(values.get(column) ?? null));
}

/** The value of a filter as a row of the tail would hold it. The plan has checked that the field takes it. */
function readFilterValue(type: FieldType, value: string | number | boolean | null): HotValue {
  if (value === null) return null;
  if (type === 'timestamp') {
    const time = filterTime(value);
    return time === undefined ? null : storedTimestamp(time.time_ms, time.finer);
  }
  if (isDecimal(type)) return unitsOf(type, String(value));
  if (type === 'double' && typeof value === 'string') return Number(value);
  if (type === 'integer' || type === 'unsigned')
    return typeof value === 'number' && !Number.isInteger(value) ? value : BigInt(value as string);
  // ClickHouse receives lone surrogates as U+FFFD.
  if (typeof value === 'string') return value.toWellFormed();
  return type.startsWith('vector') ? Math.fround(Number(value)) : value;
}
