import type { Table } from '../catalog/table.ts';
import { parseTimestampText } from '../schema/timestamp.ts';
import type { FieldType } from '../schema/types.ts';
import type { Condition, Filter, Operator } from './filters.ts';
import { compareValues, type HotValue } from './hot-values.ts';
import type { QueryPlan } from './request.ts';

type Values = Map<string, HotValue>;
type Test = (values: Values) => boolean;

/** Regular expressions are ClickHouse's own, and so is what it takes for the same letter in another case. */
const elsewhere = new Set<Operator>(['matches', 'ilike']);

/**
 * The filters of a planned query, for rows of the tail: whether ClickHouse would find them true.
 *
 * @returns undefined where there is an operator that only ClickHouse evaluates
 */
export function hotFilter(
  { filters, partitionKey }: QueryPlan,
  table: Table,
): ((values: Values, partition: Record<string, string>) => boolean) | undefined {
  const types = new Map(table.schema.fields.map(({ name, type }) => [name, type]));
  const tests = filters.map((filter) => testOf(filter, types));
  if (tests.some((test) => test === undefined)) return undefined;
  const key = Object.entries(partitionKey).map(([name, value]) => [name, [value].flat()] as const);
  return (values, partition) =>
    key.every(([name, wanted]) => Object.hasOwn(partition, name) && wanted.includes(partition[name] ?? '')) &&
    tests.every((test) => test?.(values));
}

function testOf(filter: Filter, types: Map<string, FieldType>): Test | undefined {
  if ('column' in filter) return elsewhere.has(filter.op) ? undefined : conditionTest(filter, types.get(filter.column));
  const tests = ('and' in filter ? filter.and : filter.or).map((each) => testOf(each, types));
  if (tests.some((test) => test === undefined)) return undefined;
  if ('and' in filter) return (values) => tests.every((test) => test?.(values));
  return (values) => tests.some((test) => test?.(values));
}

function conditionTest({ column, op, value }: Condition, type: FieldType = 'string'): Test {
  const list = Array.isArray(value) ? value.map((each) => wantedOf(type, each)) : [];
  const one = Array.isArray(value) ? null : wantedOf(type, value ?? null);
  const isArray = type === 'string[]' || type.startsWith('vector');
  const test = isArray ? arrayTest(op, one, list) : valueTest(op, one, list);
  return (values) => {
    const found = values.get(column) ?? null;
    if (op === 'isNull' || (op === 'eq' && value === null)) return found === null;
    if (op === 'isNotNull' || (op === 'ne' && value === null)) return found !== null;
    // What is compared with null is not true.
    return found !== null && test(found);
  };
}

function valueTest(op: Operator, one: HotValue, list: HotValue[]): (found: HotValue) => boolean {
  const text = String(one);
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
      return (found) => list.some((each) => compareValues(found, each) === 0);
    case 'notIn':
      return (found) => list.every((each) => compareValues(found, each) !== 0);
    case 'between': {
      const [low = null, high = null] = list;
      return (found) => compareValues(found, low) >= 0 && compareValues(found, high) <= 0;
    }
    case 'contains':
      return (found) => String(found).includes(text);
    case 'notContains':
      return (found) => !String(found).includes(text);
    case 'startsWith':
      return (found) => String(found).startsWith(text);
    case 'endsWith':
      return (found) => String(found).endsWith(text);
    case 'like':
      return (found) => likePattern(text).test(String(found));
    case 'notLike':
      return (found) => !likePattern(text).test(String(found));
    default:
      return () => false;
  }
}

function arrayTest(op: Operator, one: HotValue, list: HotValue[]): (found: HotValue) => boolean {
  const items = (found: HotValue) => found as (string | number)[];
  switch (op) {
    case 'has':
      return (found) => items(found).includes(one as string);
    case 'hasAny':
      return (found) => list.some((each) => items(found).includes(each as string));
    case 'hasAll':
      return (found) => list.every((each) => items(found).includes(each as string));
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
  if (type === 'timestamp') return typeof value === 'number' ? value : Number(parseTimestampText(String(value)));
  if (type === 'integer')
    return typeof value === 'number' && !Number.isInteger(value) ? value : BigInt(value as string);
  return type.startsWith('vector') ? Math.fround(Number(value)) : value;
}

/** A backslash takes the meaning from `%`, `_` and itself, and is one before anything else. */
function likePattern(pattern: string): RegExp {
  let source = '';
  for (const [part] of pattern.matchAll(/\\[\\%_]|[\s\S]/gu)) {
    if (part === '%') source += '[\\s\\S]*';
    else if (part === '_') source += '[\\s\\S]';
    else source += escapeRegExp(/^\\[\\%_]$/.test(part) ? part.slice(1) : part);
  }
  return new RegExp(`^${source}$`, 'u');
}

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
