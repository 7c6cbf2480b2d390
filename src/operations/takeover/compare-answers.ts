import { parseExact } from '../../client/json.ts';
import type { QueryBody } from '../../query/request/parse.ts';
import { parseTimestampText } from '../../schema/timestamp.ts';

/** A row of an answer. Integers beyond 2^53 are `bigint`. */
export type AnsweredRow = Record<string, unknown>;

export type Difference = {
  /** `rows`: one answer has rows that the other one has not. `order`: both have the same rows in another order. */
  reason: 'rows' | 'order';
  /** Fields in which the first differing row differs from the most similar row of the other answer. */
  fields: string[];
  originOnly: AnsweredRow[];
  hereOnly: AnsweredRow[];
};

/** The rows of a JSON answer; undefined for an answer without rows. */
export function parseRows(
  text: string,
): { rows: AnsweredRow[]; types: Map<string, string>; mode: unknown } | undefined {
  let answer: unknown;
  try {
    answer = parseExact(text);
  } catch {
    return undefined;
  }
  const { rows, columns = [], types = [], mode } = (answer ?? {}) as Record<string, unknown>;
  const isRow = (row: unknown) => typeof row === 'object' && row !== null && !Array.isArray(row);
  if (!Array.isArray(rows) || !rows.every(isRow)) return undefined;
  return { rows, types: new Map((columns as string[]).map((name, i) => [name, (types as string[])[i] ?? ''])), mode };
}

/**
 * The difference between two answers to one query; undefined for equal answers. Compares the rows without their order,
 * then the order that the query defines: rows that it does not order may come in any order.
 *
 * @param types ClickHouse types of the columns, which define how values are compared
 */
export function compareAnswers(
  origin: AnsweredRow[],
  here: AnsweredRow[],
  {
    types,
    orderBy = [],
    isDownsampled,
  }: { types: Map<string, string>; isDownsampled: boolean } & Pick<QueryBody, 'orderBy'>,
): Difference | undefined {
  const keyOf = (row: AnsweredRow) => rowKey(row, types, isDownsampled);
  const [originKeys, hereKeys] = [origin.map(keyOf), here.map(keyOf)];
  const originOnly = subtract(origin, originKeys, hereKeys);
  const hereOnly = subtract(here, hereKeys, originKeys);
  if (originOnly.length > 0 || hereOnly.length > 0) {
    return {
      reason: 'rows',
      fields: findDifferingFields(originOnly, hereOnly, types, isDownsampled),
      originOnly,
      hereOnly,
    };
  }
  const sortKey = (row: AnsweredRow) =>
    orderBy.map(({ column }) => valueKey(readField(row, column), types.get(column) ?? '', isDownsampled));
  const index = origin.findIndex((row, i) => sortKey(row).join() !== sortKey(here[i] ?? {}).join());
  if (index < 0) return undefined;
  const [first = {}, other = {}] = [origin[index], here[index]];
  return {
    reason: 'order',
    fields: orderBy.map(({ column }) => column),
    originOnly: [first],
    hereOnly: [other],
  };
}

/** A value of a row. A field may have the name of a property of every object, such as `constructor`. */
function readField(row: AnsweredRow, name: string): unknown {
  return Object.hasOwn(row, name) ? row[name] : undefined;
}

/** The rows without one row for each equal key of the others. */
function subtract(rows: AnsweredRow[], keys: string[], others: string[]): AnsweredRow[] {
  const counts = new Map<string, number>();
  for (const key of others) counts.set(key, (counts.get(key) ?? 0) + 1);
  return rows.filter((_, i) => {
    const key = keys[i] ?? '';
    const count = counts.get(key) ?? 0;
    counts.set(key, count - 1);
    return count <= 0;
  });
}

/** Rows that are compared with the first one. */
const candidates_max = 100;

/** Names of the fields in which the first row differs from the most similar row of the other answer. */
function findDifferingFields(
  originOnly: AnsweredRow[],
  hereOnly: AnsweredRow[],
  types: Map<string, string>,
  isDownsampled: boolean,
): string[] {
  const [first] = originOnly;
  if (first === undefined) return [];
  const differing = hereOnly.slice(0, candidates_max).map((row) =>
    [...new Set([...Object.keys(first), ...Object.keys(row)])].filter((name) => {
      const type = types.get(name) ?? '';
      return (
        valueKey(readField(first, name), type, isDownsampled) !== valueKey(readField(row, name), type, isDownsampled)
      );
    }),
  );
  return differing.sort((a, b) => a.length - b.length)[0] ?? [];
}

/** Equal texts for rows with equal values. A null value equals an absent one. */
function rowKey(row: AnsweredRow, types: Map<string, string>, isDownsampled: boolean): string {
  const members = Object.entries(row)
    .map(([name, value]) => [name, valueKey(value, types.get(name) ?? '', isDownsampled)] as const)
    .filter(([, value]) => value !== 'null')
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(members);
}

/** Sums of floating-point numbers depend on the order of addition. Their first digits do not. */
const comparedDigits = 12;

/** Equal texts for equal values, whatever notation a time or a number has. */
function valueKey(value: unknown, type: string, isDownsampled: boolean): string {
  if (value === null || value === undefined) return 'null';
  const plain = type.replace(/^Nullable\((.*)\)$/, '$1');
  if (plain.startsWith('DateTime')) {
    if (typeof value !== 'string') return `time ${Number(value)}`;
    const time = parseTimestampText(value);
    if (!('reason' in time)) return `time ${time.time_ms}${time.finer === '' ? '' : ` ${time.finer}`}`;
  }
  if (/^U?Int/.test(plain) && typeof value === 'string' && /^-?\d+$/.test(value)) return String(BigInt(value));
  if (/^Float|^Decimal/.test(plain) && typeof value !== 'object' && !Number.isNaN(Number(value))) {
    return numberKey(isDownsampled ? Number(Number(value).toPrecision(comparedDigits)) : Number(value));
  }
  if (typeof value === 'number') return numberKey(value);
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) {
    const member = /^Array\((.*)\)$/.exec(plain)?.[1] ?? '';
    return `[${value.map((each) => valueKey(each, member, isDownsampled)).join()}]`;
  }
  if (typeof value === 'object') {
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([name, each]) => `${JSON.stringify(name)}:${valueKey(each, '', isDownsampled)}`).join()}}`;
  }
  return JSON.stringify(value);
}

function numberKey(value: number): string {
  return Number.isInteger(value) ? String(BigInt(value)) : String(value);
}
