import { TimestoreError } from './errors.ts';

/** A value that cannot be sent as what it is, and where it stands: `tags[1]`. */
class Unsendable extends Error {
  readonly path: (string | number)[];
  constructor(path: (string | number)[], what: string) {
    super(what);
    this.path = path;
  }
}

/**
 * A row as a line of JSON, every value as what it is: `bigint` as the digits it has, a number beyond 2^53 as the double that
 * it is, `Date` as its time in UTC, a `Map` with texts for keys as an object, a `Set` or a typed array as a list, what is
 * not finite as "NaN", "Infinity" or "-Infinity", which fields of type double take.
 *
 * @param index of the row, for the error
 * @throws TimestoreError `rows-refused` for a value that JSON cannot carry, with `problem.errors` as the server gives them
 */
export function rowText(row: object, index = 0): string {
  try {
    const text = textOf(row, [], []);
    if (!text.startsWith('{')) throw new Unsendable([], 'a row is an object');
    return text;
  } catch (error) {
    if (!(error instanceof Unsendable)) throw error;
    const [field = null, ...inside] = error.path;
    const detail = inside.length === 0 ? error.message : `${pathText(error.path)}: ${error.message}`;
    const where = field === null ? '' : `, field ${field}`;
    throw new TimestoreError('rows-refused', `Row ${index}${where} cannot be sent: ${detail}.`, {
      retryable: false,
      problem: { errors: [{ index, field, reason: 'not-sendable', detail }] },
    });
  }
}

/**
 * A body as JSON, in the same way.
 *
 * @throws TimestoreError `invalid-request` with the place of what cannot be sent
 */
export function bodyText(body: unknown): string {
  return sending(() => textOf(body, [], []));
}

/**
 * What a query has in filters and parameters, as the server takes it.
 *
 * @throws TimestoreError as `bodyText` does
 */
export function queryBody<Body extends object>(body: Body): object {
  return sending(() => {
    // Refuses what has no place in JSON, wherever it is.
    textOf(body, [], []);
    const { params, ...rest } = body as { params?: Record<string, unknown> };
    const named = Object.entries(params ?? {}).map(([name, value]) => [name, parameter(value)]);
    return { ...(comparable(rest) as object), ...(params !== undefined && { params: Object.fromEntries(named) }) };
  });
}

function sending<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Unsendable)) throw error;
    const place = error.path.length === 0 ? '' : `${pathText(error.path)}: `;
    throw new TimestoreError('invalid-request', `${place}${error.message}.`, { retryable: false });
  }
}

function pathText(path: (string | number)[]): string {
  return path.map((step, i) => (typeof step === 'number' ? `[${step}]` : `${i === 0 ? '' : '.'}${step}`)).join('');
}

type Path = (string | number)[];

/** @param above objects that the value is in, so that none is written within itself */
function textOf(value: unknown, path: Path, above: object[]): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'number':
      return numberText(value);
    case 'bigint':
    case 'boolean':
      return String(value);
    case 'object':
      return value === null ? 'null' : objectText(value, path, above);
    default:
      throw new Unsendable(path, value === undefined ? 'undefined is no value' : `a ${typeof value} is no value`);
  }
}

const plainTypes = new Set(['string', 'number', 'bigint', 'boolean']);

function isPlain(value: unknown): boolean {
  return value === null || plainTypes.has(typeof value);
}

/**
 * Whole numbers beyond 2^53 have all the digits that they have, of which JSON.stringify makes others, and a fraction that
 * tells them from integers.
 */
function numberText(value: number): string {
  if (!Number.isFinite(value)) return `"${value}"`;
  if (Object.is(value, -0)) return '-0';
  return isLong(value) ? `${BigInt(value)}.0` : String(value);
}

/** Whether it is a whole number whose digits may be others than those that it is written with. */
function isLong(value: number): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21;
}

const { isRawJSON } = JSON as { isRawJSON?: (value: object) => boolean };

function objectText(value: object, path: Path, above: object[]): string {
  // Text that is JSON already, as JSON.rawJSON gives it.
  if (isRawJSON?.(value)) return (value as { rawJSON: string }).rawJSON;
  if (above.includes(value)) throw new Unsendable(path, 'it contains itself');
  const plain = plainOf(value, path);
  const within = [...above, value];
  if (typeof plain !== 'object' || plain === null) return textOf(plain, path, within);
  if (plain !== value) return objectText(plain, path, within);
  if (Array.isArray(plain)) {
    // Also of places that were never filled.
    return `[${Array.from(plain, (each: unknown, i) => textOf(each, [...path, i], within)).join(',')}]`;
  }
  let members = '';
  for (const [name, each] of Object.entries(plain)) {
    if (each === undefined) continue;
    // Most values are no objects, and need no path.
    const text = isPlain(each) ? textOf(each, path, within) : textOf(each, [...path, name], within);
    members += `${members === '' ? '' : ','}${JSON.stringify(name)}:${text}`;
  }
  return `{${members}}`;
}

/** A value as what JSON has: an object or a list stays what it is. */
function plainOf(value: object, path: Path): unknown {
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new Unsendable(path, 'the Date is invalid');
    return value.toISOString();
  }
  if (Array.isArray(value)) return value;
  if (value instanceof Map) return entriesOf(value, path);
  if (value instanceof Set) return [...value];
  if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    return Array.from(value as unknown as ArrayLike<unknown>);
  if (value instanceof Number || value instanceof String || value instanceof Boolean) return value.valueOf();
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === 'function') return toJSON.call(value) as unknown;
  const kind = Object.prototype.toString.call(value);
  // Whatever has its contents elsewhere: JSON would make {} of it.
  if (kind !== '[object Object]') throw new Unsendable(path, `JSON has no ${kind.slice('[object '.length, -1)}`);
  if (Object.getOwnPropertySymbols(value).length > 0) throw new Unsendable(path, 'a symbol is no name');
  return value;
}

function entriesOf(map: Map<unknown, unknown>, path: Path): object {
  const other = [...map.keys()].find((key) => typeof key !== 'string');
  if (other !== undefined) throw new Unsendable(path, 'the keys of a Map are texts');
  return Object.fromEntries(map as Map<string, unknown>);
}

/** Values as filters have them. Integers beyond 2^53 are strings of their digits: the server reads numbers as doubles. */
function comparable(value: unknown): unknown {
  if (typeof value === 'bigint') return integerOf(value);
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value !== 'object' || value === null) return value;
  const plain = plainOf(value, []);
  if (Array.isArray(plain)) return plain.map(comparable);
  if (typeof plain !== 'object' || plain === null) return comparable(plain);
  return Object.fromEntries(Object.entries(plain).map(([name, each]) => [name, comparable(each)]));
}

/** A value of a parameter: a time as every type of time takes it, a list with what JSON has not as the text of it. */
function parameter(value: unknown): unknown {
  if (value instanceof Date) return clockText(value);
  if (typeof value === 'number' && isLong(value)) return String(BigInt(value));
  const plain = typeof value === 'object' && value !== null ? plainOf(value, []) : value;
  if (!Array.isArray(plain)) return comparable(plain);
  return isJson(plain) ? plain : listText(plain);
}

/** Without a fraction where it has none: types of seconds take no more. */
function clockText(time: Date): string {
  const iso = time.toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, iso.endsWith('.000Z') ? -5 : -1)}`;
}

function isJson(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isJson);
  if (typeof value === 'number') return Number.isFinite(value) && !isLong(value);
  return value === null || typeof value === 'string' || typeof value === 'boolean';
}

/** A list as ClickHouse writes it. */
function listText(values: unknown[]): string {
  const items = values.map((value) => {
    if (value === null) return 'NULL';
    if (value instanceof Date) return `'${clockText(value)}'`;
    if (typeof value === 'string') return `'${value.replace(/[\\']/g, '\\$&')}'`;
    if (typeof value === 'number' && isLong(value)) return String(BigInt(value));
    const plain = typeof value === 'object' ? plainOf(value, []) : value;
    return Array.isArray(plain) ? listText(plain) : String(plain);
  });
  return `[${items.join(',')}]`;
}

function integerOf(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}
