/**
 * The filter operators, each in one entry: its field types, its value, its SQL, its predicate for rows of the hot buffer and
 * its description. Validation, SQL, the in-memory filter, the OpenAPI document and the command line derive from this table.
 *
 * @module
 */
import { compareValues, type HotValue } from './compare-values.ts';
import { containsText, likeText, type TextTest } from './text-match.ts';

/** Field types that have the same operators. */
export type FieldKind = 'timestamp' | 'number' | 'text' | 'boolean' | 'strings' | 'map' | 'vector';

/**
 * The value of a condition. `value`: one of the field's type, which is a list for a field that holds lists. `item`: one item
 * of a list or one key of a map. `range`: a list of two.
 */
export type Operand = 'none' | 'value' | 'item' | 'list' | 'range';

export type Predicate = (found: HotValue) => boolean;

type OperatorDefinition = {
  kinds: readonly FieldKind[];
  operand: Operand;
  /** `value` and `second` are bound parameters; only a `range` has a second. */
  sql(column: string, value: string, second: string): string;
  /**
   * Holds for the values for which ClickHouse finds the SQL true.
   *
   * @param value the value of the condition, or null where it is a list
   * @param list the values of a list, else none
   * @returns undefined where only ClickHouse evaluates the operator with this value
   */
  predicate(value: HotValue, list: HotValue[]): Predicate | undefined;
  /** The operator that a comparison with null stands for; other operators do not take null. */
  withNull?: 'isNull' | 'isNotNull';
  /** The value is a LIKE pattern. */
  isPattern?: true;
  description: string;
};

const ordered: FieldKind[] = ['timestamp', 'number', 'text'];
const scalars: FieldKind[] = [...ordered, 'boolean'];
const lists: FieldKind[] = ['strings', 'vector'];

const infix = (operator: string) => (column: string, value: string) => `${column} ${operator} ${value}`;
const call = (name: string) => (column: string, value: string) => `${name}(${column}, ${value})`;
const onlyInClickHouse = () => undefined;

/** A comparison with null is not true, as in SQL. */
const notNull =
  (test: Predicate): Predicate =>
  (found) =>
    found !== null && test(found);

const order = (holds: (sign: number) => boolean) => (value: HotValue) =>
  notNull((found) => holds(compareValues(found, value)));

const text = (test: TextTest | undefined, isExpected = true) =>
  test && notNull((found) => test(String(found)) === isExpected);

const items = (found: HotValue) => found as readonly HotValue[];

const size = (found: HotValue) => (found instanceof Map ? found.size : items(found).length);

function isEqual(found: HotValue, value: HotValue, list: HotValue[]): boolean {
  if (!Array.isArray(found)) return compareValues(found, value) === 0;
  return found.length === list.length && found.every((item, i) => item === list[i]);
}

export const operators = {
  eq: {
    kinds: [...scalars, ...lists],
    operand: 'value',
    sql: infix('='),
    predicate: (value, list) => notNull((found) => isEqual(found, value, list)),
    withNull: 'isNull',
    description: 'equal to the value',
  },
  ne: {
    kinds: [...scalars, ...lists],
    operand: 'value',
    sql: infix('!='),
    predicate: (value, list) => notNull((found) => !isEqual(found, value, list)),
    withNull: 'isNotNull',
    description: 'not equal to the value',
  },
  lt: {
    kinds: ordered,
    operand: 'value',
    sql: infix('<'),
    predicate: order((sign) => sign < 0),
    description: 'less than the value',
  },
  lte: {
    kinds: ordered,
    operand: 'value',
    sql: infix('<='),
    predicate: order((sign) => sign <= 0),
    description: 'less than or equal to the value',
  },
  gt: {
    kinds: ordered,
    operand: 'value',
    sql: infix('>'),
    predicate: order((sign) => sign > 0),
    description: 'greater than the value',
  },
  gte: {
    kinds: ordered,
    operand: 'value',
    sql: infix('>='),
    predicate: order((sign) => sign >= 0),
    description: 'greater than or equal to the value',
  },
  in: {
    kinds: scalars,
    operand: 'list',
    sql: infix('IN'),
    predicate: (_, list) => {
      const listed = new Set(list);
      return notNull((found) => listed.has(found));
    },
    description: 'equal to one of the values',
  },
  notIn: {
    kinds: scalars,
    operand: 'list',
    sql: infix('NOT IN'),
    predicate: (_, list) => {
      const listed = new Set(list);
      return notNull((found) => !listed.has(found));
    },
    description: 'equal to none of the values',
  },
  between: {
    kinds: ordered,
    operand: 'range',
    sql: (column, low, high) => `(${column} >= ${low} AND ${column} <= ${high})`,
    predicate: (_, [low = null, high = null]) =>
      notNull((found) => compareValues(found, low) >= 0 && compareValues(found, high) <= 0),
    description: 'between the two values, both included',
  },
  isNull: {
    kinds: scalars,
    operand: 'none',
    sql: (column) => `${column} IS NULL`,
    predicate: () => (found) => found === null,
    description: 'null',
  },
  isNotNull: {
    kinds: scalars,
    operand: 'none',
    sql: (column) => `${column} IS NOT NULL`,
    predicate: () => (found) => found !== null,
    description: 'not null',
  },
  contains: {
    kinds: ['text'],
    operand: 'value',
    sql: (column, value) => `position(${column}, ${value}) > 0`,
    predicate: (value) => text(containsText(String(value))),
    description: 'text that contains the value',
  },
  notContains: {
    kinds: ['text'],
    operand: 'value',
    sql: (column, value) => `position(${column}, ${value}) = 0`,
    predicate: (value) => text(containsText(String(value)), false),
    description: 'text that does not contain the value',
  },
  startsWith: {
    kinds: ['text'],
    operand: 'value',
    sql: call('startsWith'),
    predicate: (value) => text((found) => found.startsWith(String(value))),
    description: 'text that starts with the value',
  },
  endsWith: {
    kinds: ['text'],
    operand: 'value',
    sql: call('endsWith'),
    predicate: (value) => text((found) => found.endsWith(String(value))),
    description: 'text that ends with the value',
  },
  like: {
    kinds: ['text'],
    operand: 'value',
    sql: infix('LIKE'),
    predicate: (value) => text(likeText(String(value))),
    isPattern: true,
    description: 'text that matches the LIKE pattern (% for any text, _ for one character, \\ as escape)',
  },
  notLike: {
    kinds: ['text'],
    operand: 'value',
    sql: infix('NOT LIKE'),
    predicate: (value) => text(likeText(String(value)), false),
    isPattern: true,
    description: 'text that does not match the LIKE pattern',
  },
  ilike: {
    kinds: ['text'],
    operand: 'value',
    sql: infix('ILIKE'),
    // Case folding is ClickHouse's own.
    predicate: onlyInClickHouse,
    isPattern: true,
    description: 'text that matches the LIKE pattern in any case',
  },
  matches: {
    kinds: ['text'],
    operand: 'value',
    sql: call('match'),
    // The syntax of regular expressions is ClickHouse's own.
    predicate: onlyInClickHouse,
    description: 'text that matches the regular expression (RE2)',
  },
  has: {
    kinds: ['strings', 'map'],
    operand: 'item',
    sql: call('has'),
    predicate: (value) =>
      notNull((found) => (found instanceof Map ? found.has(String(value)) : items(found).includes(value))),
    description: 'a list with this item, or a map with this key',
  },
  hasAny: {
    kinds: ['strings'],
    operand: 'list',
    sql: call('hasAny'),
    predicate: (_, list) => {
      const listed = new Set(list);
      return notNull((found) => items(found).some((item) => listed.has(item)));
    },
    description: 'a list with at least one of the values',
  },
  hasAll: {
    kinds: ['strings'],
    operand: 'list',
    sql: call('hasAll'),
    predicate: (_, list) => {
      const listed = new Set(list);
      return notNull((found) => new Set(items(found).filter((item) => listed.has(item))).size === listed.size);
    },
    description: 'a list with all of the values',
  },
  isEmpty: {
    kinds: [...lists, 'map'],
    operand: 'none',
    sql: (column) => `empty(${column})`,
    predicate: () => notNull((found) => size(found) === 0),
    description: 'an empty list or map',
  },
  isNotEmpty: {
    kinds: [...lists, 'map'],
    operand: 'none',
    sql: (column) => `notEmpty(${column})`,
    predicate: () => notNull((found) => size(found) > 0),
    description: 'a list or map that is not empty',
  },
} as const satisfies Record<string, OperatorDefinition>;

export type Operator = keyof typeof operators;

export const operatorNames = Object.keys(operators) as [Operator, ...Operator[]];

/** The definition of an operator, in the type that all of them have. */
export function operatorDefinition(name: Operator): OperatorDefinition {
  return operators[name];
}

/** Whether the value of a condition is a list. */
export function takesList(operator: Operator, isListField: boolean): boolean {
  const { operand } = operators[operator];
  return operand === 'list' || operand === 'range' || (operand === 'value' && isListField);
}

export function describeOperators(): string {
  return operatorNames.map((name) => `\`${name}\`: ${operators[name].description}`).join('; ');
}
