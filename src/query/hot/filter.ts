import { isDecimal, unitsOf } from '../../schema/decimal.ts';
import type { Table } from '../../schema/table.ts';
import { storedTimestamp } from '../../schema/timestamp.ts';
import type { FieldType } from '../../schema/types.ts';
import { fitDecimals } from '../request/decimal-filter.ts';
import { type Condition, type Filter, filterTime, type Operator } from '../request/filters.ts';
import type { QueryPlan } from '../request/parse.ts';
import { containsText, likeText, type TextTest } from './text.ts';
import { compareValues, type HotValue } from './values.ts';

type Values = Map<string, HotValue>;
type Test = (values: Values) => boolean;

/** Regular expressions are ClickHouse's own, and so is what it takes for the same letter in another case. */
const elsewhere = new Set<Operator>(['matches', 'ilike']);

/** Each condition on texts or lists reads all of the tail's: more than this would keep an instance from everybody else. */
const read_bytes_max = 64 * 1024 * 1024;

/**
 * The filters of a planned query, for rows of the tail: whether ClickHouse would find them true.
 *
 * @param tail_bytes of all rows that they are for
 * @returns undefined where there is an operator that only ClickHouse evaluates, or too much to read for this side
 */
export function hotFilter(
  { filters, partitionKey }: QueryPlan,
  table: Table,
  tail_bytes: number,
): ((values: Values, partition: Record<string, string>) => boolean) | undefined {
  const types = new Map(table.schema.fields.map(({ name, type }) => [name, type]));
  if (readers(filters, types) * tail_bytes > read_bytes_max) return undefined;
  const tests = filters.map((filter) => testOf(filter, types));
  if (tests.some((test) => test === undefined)) return undefined;
  const entries = Object.entries(partitionKey);
  const key = entries.flatMap(([name, wanted]) => {
    return typeof wanted === 'string' || Array.isArray(wanted) ? [[name, new Set([wanted].flat())] as const] : [];
  });
  if (key.length < entries.length) return undefined;
  return (values, partition) =>
    key.every(([name, wanted]) => Object.hasOwn(partition, name) && wanted.has(partition[name] ?? '')) &&
    tests.every((test) => test?.(values));
}

/** How many conditions read more of a row than a number. */
function readers(filters: Filter[], types: Map<string, FieldType>): number {
  return filters.reduce((sum, filter) => {
    if ('column' in filter) return sum + (isShortType(types.get(filter.column) ?? 'string') ? 0 : 1);
    return sum + readers('and' in filter ? filter.and : filter.or, types);
  }, 0);
}

const isShort = new Set<FieldType>(['timestamp', 'double', 'integer', 'unsigned', 'boolean']);

const isShortType = (type: FieldType) => isShort.has(type) || isDecimal(type);

function testOf(filter: Filter, types: Map<string, FieldType>): Test | undefined {
  if ('column' in filter) return elsewhere.has(filter.op) ? undefined : conditionTest(filter, types.get(filter.column));
  const tests = ('and' in filter ? filter.and : filter.or).map((each) => testOf(each, types));
  if (tests.some((test) => test === undefined)) return undefined;
  if ('and' in filter) return (values) => tests.every((test) => test?.(values));
  return (values) => tests.some((test) => test?.(values));
}

function conditionTest(condition: Condition, type: FieldType = 'string'): Test | undefined {
  if (!isDecimal(type)) return plainTest(condition, type);
  const fitted = fitDecimals(condition, type);
  if (fitted === 'never') return () => false;
  const tests = fitted.map((each) => plainTest(each, type));
  return (values) => tests.every((test) => test?.(values));
}

function plainTest({ column, op, value }: Condition, type: FieldType): Test | undefined {
  const found = (values: Values) => values.get(column) ?? null;
  if (op === 'isNull' || (op === 'eq' && value === null)) return (values) => found(values) === null;
  if (op === 'isNotNull' || (op === 'ne' && value === null)) return (values) => found(values) !== null;
  const list = Array.isArray(value) ? value.map((each) => wantedOf(type, each)) : [];
  const one = Array.isArray(value) ? null : wantedOf(type, value ?? null);
  const isArray = type === 'string[]' || type.startsWith('vector');
  const test =
    type === 'map'
      ? mapTest(op, String(one))
      : isArray
        ? arrayTest(op, one, list)
        : (textTest(op, String(one)) ?? valueTest(op, one, list));
  if (test === undefined) return undefined;
  return (values) => {
    const there = found(values);
    // What is compared with null is not true.
    return there !== null && test(there);
  };
}

function textTest(op: Operator, value: string): ((found: HotValue) => boolean) | undefined {
  const onText = (test: TextTest | undefined, is = true) => {
    return test && ((found: HotValue) => test(String(found)) === is);
  };
  switch (op) {
    case 'contains':
      return onText(containsText(value));
    case 'notContains':
      return onText(containsText(value), false);
    case 'startsWith':
      return onText((text) => text.startsWith(value));
    case 'endsWith':
      return onText((text) => text.endsWith(value));
    case 'like':
      return onText(likeText(value));
    case 'notLike':
      return onText(likeText(value), false);
    default:
      return undefined;
  }
}

function valueTest(op: Operator, one: HotValue, list: HotValue[]): ((found: HotValue) => boolean) | undefined {
  const listed = new Set(list);
  switch (op) {
    case 'eq':
      return (found) => compareValues(found, one) === 0;
    case 'ne':
      return (found) => compareValues(found, one) !== 0;
    case 'lt':
      return (found) => compareValues(found, one) < 0;
    case 'lte':
      return (found) => compareValues(found, one) <= 0;
    case 'gt':
      return (found) => compareValues(found, one) > 0;
    case 'gte':
      return (found) => compareValues(found, one) >= 0;
    case 'in':
      return (found) => listed.has(found);
    case 'notIn':
      return (found) => !listed.has(found);
    case 'between': {
      const [low = null, high = null] = list;
      return (found) => compareValues(found, low) >= 0 && compareValues(found, high) <= 0;
    }
    default:
      return undefined;
  }
}

function mapTest(op: Operator, key: string): (found: HotValue) => boolean {
  const keys = (found: HotValue) => found as Map<string, string>;
  if (op === 'has') return (found) => keys(found).has(key);
  return (found) => (keys(found).size === 0) === (op === 'isEmpty');
}

function arrayTest(op: Operator, one: HotValue, list: HotValue[]): (found: HotValue) => boolean {
  const items = (found: HotValue) => found as (string | number)[];
  const listed = new Set(list);
  switch (op) {
    case 'has':
      return (found) => items(found).includes(one as string);
    case 'hasAny':
      return (found) => items(found).some((item) => listed.has(item));
    case 'hasAll':
      return (found) => {
        // As many different ones of the list are there as there are in it.
        return new Set(items(found).filter((item) => listed.has(item))).size === listed.size;
      };
    case 'isEmpty':
      return (found) => items(found).length === 0;
    case 'isNotEmpty':
      return (found) => items(found).length > 0;
    case 'eq':
      return (found) => areSame(items(found), list);
    default:
      return (found) => !areSame(items(found), list);
  }
}

function areSame(a: (string | number)[], b: HotValue[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

/** What a filter compares with, as values of the tail are; the plan has found that it fits. */
function wantedOf(type: FieldType, value: string | number | boolean | null): HotValue {
  if (value === null) return null;
  if (type === 'timestamp') {
    const time = filterTime(value);
    return time === undefined ? null : storedTimestamp(time.time_ms, time.finer);
  }
  if (isDecimal(type)) return unitsOf(type, String(value));
  if (type === 'double' && typeof value === 'string') return Number(value);
  if (type === 'integer' || type === 'unsigned')
    return typeof value === 'number' && !Number.isInteger(value) ? value : BigInt(value as string);
  // As it would reach ClickHouse.
  if (typeof value === 'string') return value.toWellFormed();
  return type.startsWith('vector') ? Math.fround(Number(value)) : value;
}
