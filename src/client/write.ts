import { TimestoreError } from './errors.ts';

/** A value that JSON cannot represent, and its path: `tags[1]`. */
class Unsendable extends Error {
  readonly path: (string | number)[];
  constructor(path: (string | number)[], what: string) {
    super(what);
    this.path = path;
  }
}

/**
 * A row as a line of JSON without loss: `bigint` as digits, numbers beyond 2^53 as doubles, `Date` as UTC time, a `Map` with
 * string keys as an object, a `Set` or a typed array as a list, and non-finite numbers as "NaN", "Infinity" or "-Infinity",
 * which fields of type double accept.
 *
 * @param index of the row, for the error
 * @throws TimestoreError `rows-refused` for a value that JSON cannot represent, with `problem.errors` as in a response
 */
export function rowText(row: object, index = 0): string {
  try {
    const text = valueText(row, [], []);
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
 * A body as JSON, converted like a row.
 *
 * @throws TimestoreError `invalid-request` with the path of the value
 */
export function bodyText(body: unknown): string {
  return withInvalidRequest(() => valueText(body, [], []));
}

/**
 * A query whose filters and parameters are converted for the server.
 *
 * @throws TimestoreError as `bodyText` does
 */
export function queryBody<Body extends object>(body: Body): object {
  return withInvalidRequest(() => {
    // Throws for values that JSON cannot represent.
    valueText(body, [], []);
    const { params, ...rest } = body as { params?: Record<string, unknown> };
    const named = Object.entries(params ?? {}).map(([name, value]) => [name, parameterValue(value)]);
    return { ...(filterValue(rest) as object), ...(params !== undefined && { params: Object.fromEntries(named) }) };
  });
}

function withInvalidRequest<Result>(work: () => Result): Result {
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

/** @param above the objects around the value, to detect cycles */
function valueText(value: unknown, path: Path, above: object[]): string {
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
      throw new Unsendable(path, value === undefined ? 'undefined is not a value' : `a ${typeof value} is not a value`);
  }
}

const plainTypes = new Set(['string', 'number', 'bigint', 'boolean']);

function isPlain(value: unknown): boolean {
  return value === null || plainTypes.has(typeof value);
}

/**
 * Doubles beyond 2^53 with all their digits, which JSON.stringify would round, and with a fraction, which distinguishes them
 * from integers.
 */
function numberText(value: number): string {
  if (!Number.isFinite(value)) return `"${value}"`;
  if (Object.is(value, -0)) return '-0';
  return isLong(value) ? `${BigInt(value)}.0` : String(value);
}

/** Whether `String` may print other digits than those of the value. */
function isLong(value: number): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21;
}

const { isRawJSON } = JSON as { isRawJSON?: (value: object) => boolean };

function objectText(value: object, path: Path, above: object[]): string {
  if (isRawJSON?.(value)) return (value as { rawJSON: string }).rawJSON;
  if (above.includes(value)) throw new Unsendable(path, 'it contains itself');
  const plain = toPlainValue(value, path);
  const within = [...above, value];
  if (typeof plain !== 'object' || plain === null) return valueText(plain, path, within);
  if (plain !== value) return objectText(plain, path, within);
  if (Array.isArray(plain)) {
    // `Array.from` visits the holes of a sparse array too.
    return `[${Array.from(plain, (each: unknown, i) => valueText(each, [...path, i], within)).join(',')}]`;
  }
  let members = '';
  for (const [name, each] of Object.entries(plain)) {
    if (each === undefined) continue;
    // Only objects need a path; building it for each value would be slow.
    const text = isPlain(each) ? valueText(each, path, within) : valueText(each, [...path, name], within);
    members += `${members === '' ? '' : ','}${JSON.stringify(name)}:${text}`;
  }
  return `{${members}}`;
}

/** Converts class instances to plain JSON values. */
function toPlainValue(value: object, path: Path): unknown {
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new Unsendable(path, 'the Date is invalid');
    return value.toISOString();
  }
  if (Array.isArray(value)) return value;
  if (value instanceof Map) return mapToObject(value, path);
  if (value instanceof Set) return [...value];
  if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    return Array.from(value as unknown as ArrayLike<unknown>);
  if (value instanceof Number || value instanceof String || value instanceof Boolean) return value.valueOf();
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === 'function') return toJSON.call(value) as unknown;
  const kind = Object.prototype.toString.call(value);
  // JSON.stringify would write {} for objects with internal slots.
  if (kind !== '[object Object]')
    throw new Unsendable(path, `JSON cannot represent ${kind.slice('[object '.length, -1)}`);
  if (Object.getOwnPropertySymbols(value).length > 0) throw new Unsendable(path, 'symbols are not allowed as names');
  return value;
}

function mapToObject(map: Map<unknown, unknown>, path: Path): object {
  const other = [...map.keys()].find((key) => typeof key !== 'string');
  if (other !== undefined) throw new Unsendable(path, 'the keys of a Map must be strings');
  return Object.fromEntries(map as Map<string, unknown>);
}

/** A value of a filter. Integers beyond 2^53 become strings of digits: the server parses numbers as doubles. */
function filterValue(value: unknown): unknown {
  if (typeof value === 'bigint') return integerValue(value);
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value !== 'object' || value === null) return value;
  const plain = toPlainValue(value, []);
  if (Array.isArray(plain)) return plain.map(filterValue);
  if (typeof plain !== 'object' || plain === null) return filterValue(plain);
  return Object.fromEntries(Object.entries(plain).map(([name, each]) => [name, filterValue(each)]));
}

/** A value of a parameter: a time in the format that all time types accept; a list that JSON cannot represent as ClickHouse text. */
function parameterValue(value: unknown): unknown {
  if (value instanceof Date) return clockText(value);
  if (typeof value === 'number' && isLong(value)) return String(BigInt(value));
  const plain = typeof value === 'object' && value !== null ? toPlainValue(value, []) : value;
  if (!Array.isArray(plain)) return filterValue(plain);
  return isJson(plain) ? plain : listText(plain);
}

/** Omits a zero fraction, which types with a precision of seconds reject. */
function clockText(time: Date): string {
  const iso = time.toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, iso.endsWith('.000Z') ? -5 : -1)}`;
}

function isJson(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isJson);
  if (typeof value === 'number') return Number.isFinite(value) && !isLong(value);
  return value === null || typeof value === 'string' || typeof value === 'boolean';
}

/** A list in ClickHouse syntax. */
function listText(values: unknown[]): string {
  const items = values.map((value) => {
    if (value === null) return 'NULL';
    if (value instanceof Date) return `'${clockText(value)}'`;
    if (typeof value === 'string') return `'${value.replace(/[\\']/g, '\\$&')}'`;
    if (typeof value === 'number' && isLong(value)) return String(BigInt(value));
    const plain = typeof value === 'object' ? toPlainValue(value, []) : value;
    return Array.isArray(plain) ? listText(plain) : String(plain);
  });
  return `[${items.join(',')}]`;
}

function integerValue(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}
