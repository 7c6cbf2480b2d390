import { Digits, exact, parseDigits } from './json.ts';

type Convert = (value: unknown) => unknown;

const converters = new Map<string, Convert>();
const converters_max = 1_000;

/**
 * The converter of a column by its type: integers beyond 2^53 are `bigint`, doubles are always numbers, decimals are
 * strings of their digits.
 *
 * @param type ClickHouse type, such as `Nullable(Float64)`
 */
export function converter(type: string): Convert {
  const found = converters.get(type);
  if (found !== undefined) return found;
  const convert = createConverter(type);
  if (converters.size < converters_max) converters.set(type, convert);
  return convert;
}

function createConverter(type: string): Convert {
  const [, name = type, inner = ''] = /^(\w+)\((.*)\)$/s.exec(type) ?? [];
  if (/^(?:B?Float)/.test(name)) return readDouble;
  if (name.startsWith('Decimal')) return readDecimal;
  if (name === 'Nullable' || name === 'LowCardinality') return converter(inner);
  if (name === 'SimpleAggregateFunction') return converter(splitArguments(inner)[1] ?? '');
  if (name === 'Array') return listConverter(converter(inner));
  if (name === 'Map') return mapConverter(converter(splitArguments(inner)[1] ?? ''));
  if (name === 'Tuple') return tupleConverter(splitArguments(inner));
  if (name === 'Nested') return listConverter(tupleConverter(splitArguments(inner)));
  return exact;
}

const notFinite: Record<string, number> = {
  nan: Number.NaN,
  '-nan': Number.NaN,
  inf: Infinity,
  infinity: Infinity,
  '-inf': -Infinity,
  '-infinity': -Infinity,
};

function readDouble(value: unknown): unknown {
  if (value instanceof Digits) return Number(value.text);
  return typeof value === 'string' ? (notFinite[value.toLowerCase()] ?? value) : value;
}

function readDecimal(value: unknown): unknown {
  if (value instanceof Digits) return value.text;
  return typeof value === 'number' ? String(value) : value;
}

function listConverter(convert: Convert): Convert {
  return (value) => (Array.isArray(value) ? value.map(convert) : exact(value));
}

function mapConverter(convert: Convert): Convert {
  return (value) => {
    if (typeof value !== 'object' || value === null || value instanceof Digits) return exact(value);
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, convert(each)]));
  };
}

/** A named tuple is an object, an unnamed tuple a list. */
function tupleConverter(elements: string[]): Convert {
  const parts = elements.map((element) => {
    const [, quoted, bare, type] = /^(?:`((?:[^`\\]|\\.)*)`|([A-Za-z_]\w*)) (.+)$/s.exec(element) ?? [];
    const name = quoted === undefined ? bare : quoted.replace(/\\(.)/g, '$1');
    return { name, convert: converter(type ?? element) };
  });
  return (value) => {
    if (Array.isArray(value)) return value.map((each, i) => (parts[i]?.convert ?? exact)(each));
    const byName = new Map(parts.map(({ name, convert }) => [name, convert]));
    if (typeof value !== 'object' || value === null || value instanceof Digits) return exact(value);
    const entries = Object.entries(value).map(([name, each]) => [name, (byName.get(name) ?? exact)(each)]);
    return Object.fromEntries(entries);
  };
}

/** Splits at commas outside of parentheses and quotes. */
function splitArguments(text: string): string[] {
  const found: string[] = [];
  let [depth, from] = [0, 0];
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '`' || character === "'") at = endOfQuoted(text, at);
    else if (character === '(') depth += 1;
    else if (character === ')') depth -= 1;
    else if (character === ',' && depth === 0) {
      found.push(text.slice(from, at).trim());
      from = at + 1;
    }
  }
  return [...found, text.slice(from).trim()];
}

function endOfQuoted(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text[at] !== text[from]) at += text[at] === '\\' ? 2 : 1;
  return at;
}

/** Converts lines of values to objects. */
export function rowReader(names: string[], types: string[]): (line: string) => object {
  const hasDecimals = types.some((type) => type.includes('Decimal'));
  const converters = types.map(converter);
  return (line) => {
    const values = parseDigits(line, hasDecimals).value as unknown[];
    return Object.fromEntries(names.map((name, i) => [name, converters[i]?.(values[i])]));
  };
}

type Answer = { rows?: unknown; totals?: unknown; columns?: unknown; types?: unknown };

/** Parses an answer. The values of its rows are converted by the types of its columns, where it has types. */
export function readAnswer(text: string): unknown {
  const { value, hasDigits } = parseDigits(text);
  const types = columnConverters(value);
  if (types === undefined) return hasDigits ? exact(value) : value;
  if (!hasDigits && !/"-?(?:nan|inf(?:inity)?)"/i.test(text)) return value;
  const { rows, totals, ...rest } = value as Answer & { rows: Record<string, unknown>[] };
  const read = (row: object) =>
    Object.fromEntries(Object.entries(row).map(([name, each]) => [name, (types.get(name) ?? exact)(each)]));
  return {
    ...(exact(rest) as object),
    rows: rows.map(read),
    ...(typeof totals === 'object' && totals !== null && { totals: read(totals) }),
  };
}

/** The converters of the columns of an answer, by name; undefined for an answer without columns and types. */
function columnConverters(value: unknown): Map<string, Convert> | undefined {
  const { rows, columns, types } = (value ?? {}) as Answer;
  if (!Array.isArray(rows) || !Array.isArray(columns)) return undefined;
  const pairs = columns.map((column: unknown, i): [unknown, unknown] => {
    if (typeof column === 'string') return [column, Array.isArray(types) ? types[i] : undefined];
    const { name, type } = (column ?? {}) as { name?: unknown; type?: unknown };
    return [name, type];
  });
  const isKnown = (pair: [unknown, unknown]): pair is [string, string] =>
    pair.every((each) => typeof each === 'string');
  return pairs.every(isKnown) ? new Map(pairs.map(([name, type]) => [name, converter(type)])) : undefined;
}
