import { Digits, exact, parseDigits } from './json.ts';

type Convert = (value: unknown) => unknown;

const known = new Map<string, Convert>();
const known_max = 1_000;

/**
 * Reads the values of a column by its type: integers beyond 2^53 are `bigint`, doubles are always numbers, decimals are
 * strings of their digits.
 *
 * @param type ClickHouse type, such as `Nullable(Float64)`
 */
export function converterOf(type: string): Convert {
  const found = known.get(type);
  if (found !== undefined) return found;
  const convert = converterOfNew(type);
  if (known.size < known_max) known.set(type, convert);
  return convert;
}

function converterOfNew(type: string): Convert {
  const [, name = type, inner = ''] = /^(\w+)\((.*)\)$/s.exec(type) ?? [];
  if (/^(?:B?Float)/.test(name)) return doubleOf;
  if (name.startsWith('Decimal')) return decimalOf;
  if (name === 'Nullable' || name === 'LowCardinality') return converterOf(inner);
  if (name === 'SimpleAggregateFunction') return converterOf(argumentsOf(inner)[1] ?? '');
  if (name === 'Array') return listOf(converterOf(inner));
  if (name === 'Map') return mapOf(converterOf(argumentsOf(inner)[1] ?? ''));
  if (name === 'Tuple') return tupleOf(argumentsOf(inner));
  if (name === 'Nested') return listOf(tupleOf(argumentsOf(inner)));
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

function doubleOf(value: unknown): unknown {
  if (value instanceof Digits) return Number(value.text);
  return typeof value === 'string' ? (notFinite[value.toLowerCase()] ?? value) : value;
}

function decimalOf(value: unknown): unknown {
  if (value instanceof Digits) return value.text;
  return typeof value === 'number' ? String(value) : value;
}

function listOf(convert: Convert): Convert {
  return (value) => (Array.isArray(value) ? value.map(convert) : exact(value));
}

function mapOf(convert: Convert): Convert {
  return (value) => {
    if (typeof value !== 'object' || value === null || value instanceof Digits) return exact(value);
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, convert(each)]));
  };
}

/** Elements with names are an object, those without a list. */
function tupleOf(elements: string[]): Convert {
  const parts = elements.map((element) => {
    const [, quoted, bare, type] = /^(?:`((?:[^`\\]|\\.)*)`|([A-Za-z_]\w*)) (.+)$/s.exec(element) ?? [];
    const name = quoted === undefined ? bare : quoted.replace(/\\(.)/g, '$1');
    return { name, convert: converterOf(type ?? element) };
  });
  return (value) => {
    if (Array.isArray(value)) return value.map((each, i) => (parts[i]?.convert ?? exact)(each));
    const byName = new Map(parts.map(({ name, convert }) => [name, convert]));
    if (typeof value !== 'object' || value === null || value instanceof Digits) return exact(value);
    const entries = Object.entries(value).map(([name, each]) => [name, (byName.get(name) ?? exact)(each)]);
    return Object.fromEntries(entries);
  };
}

/** What stands between the commas of a type's parentheses, but for those within others or within quotes. */
function argumentsOf(text: string): string[] {
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

/** A row of values in the order of their columns, as an object. */
export function rowReader(names: string[], types: string[]): (line: string) => object {
  const hasDecimals = types.some((type) => type.includes('Decimal'));
  const converters = types.map(converterOf);
  return (line) => {
    const values = parseDigits(line, hasDecimals).value as unknown[];
    return Object.fromEntries(names.map((name, i) => [name, converters[i]?.(values[i])]));
  };
}

type Answer = { rows?: unknown; totals?: unknown; columns?: unknown; types?: unknown };

/** An answer in JSON: where it says of which types its columns are, the values of its rows are read by them. */
export function readAnswer(text: string): unknown {
  const { value, hasDigits } = parseDigits(text);
  const types = typesOf(value);
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

/** How the columns of an answer are read, by their names; undefined for what has none. */
function typesOf(value: unknown): Map<string, Convert> | undefined {
  const { rows, columns, types } = (value ?? {}) as Answer;
  if (!Array.isArray(rows) || !Array.isArray(columns)) return undefined;
  const pairs = columns.map((column: unknown, i): [unknown, unknown] => {
    if (typeof column === 'string') return [column, Array.isArray(types) ? types[i] : undefined];
    const { name, type } = (column ?? {}) as { name?: unknown; type?: unknown };
    return [name, type];
  });
  const isKnown = (pair: [unknown, unknown]): pair is [string, string] =>
    pair.every((each) => typeof each === 'string');
  return pairs.every(isKnown) ? new Map(pairs.map(([name, type]) => [name, converterOf(type)])) : undefined;
}
