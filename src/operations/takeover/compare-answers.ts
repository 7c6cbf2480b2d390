import { parseExact } from '../../client/json.ts';
import type { QueryBody } from '../../query/request/parse.ts';
import { parseTimestampText } from '../../schema/timestamp.ts';

/** A row as it was answered. Integers beyond 2^53 are `bigint`. */
export type AnsweredRow = Record<string, unknown>;

export type Difference = {
  /** `rows`: one side has rows that the other has not; `order`: both have the same, in another order. */
  reason: 'rows' | 'order';
  /** In which the first row that differs does, as far as the other side has one like it. */
  fields: string[];
  originOnly: AnsweredRow[];
  hereOnly: AnsweredRow[];
};

/** The rows of an answer in JSON; undefined for what has none. */
export function rowsOf(text: string): { rows: AnsweredRow[]; types: Map<string, string>; mode: unknown } | undefined {
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
 * What two answers to one query differ in; undefined where they are the same. Rows are compared as they come in any
 * order, and as the query orders them: where it leaves the order of two rows open, either is right.
 *
 * @param types ClickHouse types of the columns, by which values are read
 */
export function differenceOf(
  origin: AnsweredRow[],
  here: AnsweredRow[],
  {
    types,
    orderBy = [],
    isDownsampled,
  }: { types: Map<string, string>; isDownsampled: boolean } & Pick<QueryBody, 'orderBy'>,
): Difference | undefined {
  const textOf = (row: AnsweredRow) => rowKey(row, types, isDownsampled);
  const [originKeys, hereKeys] = [origin.map(textOf), here.map(textOf)];
  const originOnly = without(origin, originKeys, hereKeys);
  const hereOnly = without(here, hereKeys, originKeys);
  if (originOnly.length > 0 || hereOnly.length > 0) {
    return { reason: 'rows', fields: fieldsOf(originOnly, hereOnly, types, isDownsampled), originOnly, hereOnly };
  }
  const place = (row: AnsweredRow) =>
    orderBy.map(({ column }) => valueKey(own(row, column), types.get(column) ?? '', isDownsampled));
  const at = origin.findIndex((row, i) => place(row).join() !== place(here[i] ?? {}).join());
  if (at < 0) return undefined;
  const [first = {}, other = {}] = [origin[at], here[at]];
  return {
    reason: 'order',
    fields: orderBy.map(({ column }) => column),
    originOnly: [first],
    hereOnly: [other],
  };
}

/** A value of a row, whose fields may have the names of what every object has. */
function own(row: AnsweredRow, name: string): unknown {
  return Object.hasOwn(row, name) ? row[name] : undefined;
}

/** The rows whose keys the others have fewer of. */
function without(rows: AnsweredRow[], keys: string[], others: string[]): AnsweredRow[] {
  const left = new Map<string, number>();
  for (const key of others) left.set(key, (left.get(key) ?? 0) + 1);
  return rows.filter((_, i) => {
    const key = keys[i] ?? '';
    const count = left.get(key) ?? 0;
    left.set(key, count - 1);
    return count <= 0;
  });
}

/** Rows that the first one is held against. */
const alike_max = 100;

/** Names of the fields in which the first row differs from the one of the other side that is most like it. */
function fieldsOf(
  originOnly: AnsweredRow[],
  hereOnly: AnsweredRow[],
  types: Map<string, string>,
  isDownsampled: boolean,
): string[] {
  const [first] = originOnly;
  if (first === undefined) return [];
  const differing = hereOnly.slice(0, alike_max).map((row) =>
    [...new Set([...Object.keys(first), ...Object.keys(row)])].filter((name) => {
      const type = types.get(name) ?? '';
      return valueKey(own(first, name), type, isDownsampled) !== valueKey(own(row, name), type, isDownsampled);
    }),
  );
  return differing.sort((a, b) => a.length - b.length)[0] ?? [];
}

/** The same text for rows with the same values. Null and absent are the same. */
function rowKey(row: AnsweredRow, types: Map<string, string>, isDownsampled: boolean): string {
  const members = Object.entries(row)
    .map(([name, value]) => [name, valueKey(value, types.get(name) ?? '', isDownsampled)] as const)
    .filter(([, value]) => value !== 'null')
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(members);
}

/** Sums of floating-point numbers depend on their order: so many digits of them do not. */
const digits = 12;

/** The same text for the same value: an instant, however it is written; a number, whatever its digits. */
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
    return numberKey(isDownsampled ? Number(Number(value).toPrecision(digits)) : Number(value));
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
