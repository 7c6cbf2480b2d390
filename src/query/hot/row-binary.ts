import { parsePartitionKey } from '../../buffer/batch-rows.ts';
import type { BufferedBatch } from '../../buffer/buffered-batch.ts';
import { coerceDecimal, decimalBytes, isDecimal, isNumberText, unitsOf } from '../../schema/decimal.ts';
import { isNotNumber } from '../../schema/double.ts';
import { JsonReader } from '../../schema/json-reader.ts';
import { mayBeReordered, readMap } from '../../schema/map.ts';
import { parseTimestampText, type Time, type TimePrecision } from '../../schema/timestamp.ts';
import { clickhouseType, type Field, isNeverNull, precisionOf, type TableSchema } from '../../schema/types.ts';

/** A batch that does not match its schema. ClickHouse would reject it too, and the flush quarantines it. */
export class UnreadableBatch extends Error {
  constructor(seq: number, subject: string) {
    super(`batch ${seq}: ${subject} does not match the schema`);
    this.name = 'UnreadableBatch';
  }
}

/**
 * The rows of a batch in the ClickHouse format RowBinary: the system columns, then the fields. RowBinary takes some 40 % of
 * the bytes and the time of JSON; all queries share the encoded batch while it is in the tail.
 * https://clickhouse.com/docs/interfaces/formats/RowBinary
 *
 * @throws UnreadableBatch
 */
export function encodeRowBinary(batch: BufferedBatch, lane: number, schema: TableSchema): Uint8Array {
  const known = encodedBatches.get(batch);
  if (known?.version === schema.version) return known.bytes;
  const bytes = encodeBatch(batch, lane, schema);
  encodedBatches.set(batch, { version: schema.version, bytes });
  return bytes;
}

const encodedBatches = new WeakMap<BufferedBatch, { version: number; bytes: Uint8Array }>();

type Column = {
  name: string;
  type: Field['type'];
  isNullable: boolean;
  /** The value of rows that do not have the field. */
  absent: unknown;
};

function encodeBatch(batch: BufferedBatch, lane: number, schema: TableSchema): Uint8Array {
  const columns = schema.fields.map((field): Column => {
    const isNewer = field.default !== undefined && (field.since ?? 1) > batch.schemaVersion;
    return {
      name: field.name,
      type: field.type,
      isNullable: clickhouseType(field, schema).startsWith('Nullable('),
      absent: isNewer ? parseDefault(field) : undefined,
    };
  });
  const precision = precisionOf(schema);
  const writer = new Writer(batch.payload.length + batch.rows * 32);
  const key = Object.entries(parsePartitionKey(batch.meta) ?? {});
  for (const row of parseRows(batch, schema)) {
    writer.uint16(lane);
    writer.int64(batch.seq);
    writer.uint32(row._row as number);
    writer.int64(batch.receivedAt_ms);
    writer.length(key.length);
    for (const [name, value] of key) {
      writer.string(name);
      writer.string(value);
    }
    // `_row` is not a field.
    let members = Object.keys(row).length - 1;
    for (const column of columns) {
      const isPresent = Object.hasOwn(row, column.name);
      if (isPresent) members -= 1;
      const value = isPresent ? row[column.name] : column.absent;
      if (!write(writer, column, value, precision)) throw new UnreadableBatch(batch.seq, `field ${column.name}`);
    }
    if (members !== 0) throw new UnreadableBatch(batch.seq, 'an unknown member');
  }
  return writer.bytes();
}

function parseDefault({ type, default: text = 'null' }: Field): unknown {
  return type === 'map' ? readMap(text) : JSON.parse(text, exactIntegers);
}

type Row = Record<string, unknown> & { _row?: unknown };

function parseRows({ payload }: BufferedBatch, { fields }: TableSchema): Row[] {
  const text = `[${payload.trimEnd().replaceAll('\n', ',')}]`;
  // Only integers beyond 2^53 need exact parsing, which is slower.
  const hasLong = longInteger.test(text) && fields.some(({ type }) => type === 'integer' || type === 'unsigned');
  const rows = JSON.parse(text, hasLong ? exactIntegers : undefined) as Row[];
  const maps = new Set(fields.filter(({ type }) => type === 'map').map(({ name }) => name));
  if (maps.size > 0 && mayBeReordered(text)) readMaps(payload, maps, rows);
  return rows;
}

/** Replaces objects by maps: JSON.parse changes the order of members with numeric names. */
function readMaps(payload: string, maps: Set<string>, rows: Row[]): void {
  for (const [i, line] of payload.trimEnd().split('\n').entries()) {
    const row = rows[i];
    if (row === undefined || !mayBeReordered(line)) continue;
    for (const { name, kind, text } of new JsonReader(line).members()) {
      if (maps.has(name) && kind === 'object') row[name] = readMap(text);
    }
  }
}

const longInteger = /(?<![0-9.])[0-9]{16}/;

type Reviver = NonNullable<Parameters<typeof JSON.parse>[1]>;

const exactIntegers = ((_: string, value: unknown, { source = '' }: { source?: string }) =>
  typeof value === 'number' && !Number.isSafeInteger(value) && /^-?[0-9]+$/.test(source)
    ? BigInt(source)
    : value) as Reviver;

/** A time as DateTime64 stores it. */
function timeTicks({ time_ms, finer }: Time, precision: 6 | 9): bigint {
  const digits = precision - 3;
  return BigInt(time_ms) * 10n ** BigInt(digits) + BigInt(finer.padEnd(digits, '0'));
}

/** False where the value does not have the type of the column. */
function write(writer: Writer, { type, isNullable }: Column, value: unknown, precision: TimePrecision): boolean {
  if (value === undefined || value === null) {
    if (isNullable) writer.byte(1);
    // Lists and maps are empty instead of null.
    else if (isNeverNull(type)) writer.length(0);
    else return false;
    return true;
  }
  if (isNullable) writer.byte(0);
  if (isDecimal(type)) {
    const stored = typeof value === 'string' && isNumberText(value) ? coerceDecimal(type, value) : undefined;
    if (typeof stored !== 'string') return false;
    writer.bigint(unitsOf(type, stored), decimalBytes(type));
    return true;
  }
  switch (type) {
    case 'timestamp': {
      const time = typeof value === 'string' ? parseTimestampText(value) : undefined;
      if (time === undefined || 'reason' in time || time.finer.length + 3 > precision) return false;
      if (precision === 3) writer.int64(time.time_ms);
      else writer.bigint64(timeTicks(time, precision));
      return true;
    }
    case 'string':
    case 'json':
      return typeof value === 'string' && writer.string(value);
    case 'double':
      writer.float64(Number(value));
      return typeof value === 'number' || typeof value === 'bigint' || isNotNumber(value);
    case 'unsigned':
      writer.bigUint64(parseInteger(value) ?? 0n);
      return (parseInteger(value) ?? -1n) >= 0n;
    case 'integer':
      if (typeof value === 'bigint') writer.bigint64(value);
      else writer.int64(Number(value));
      return typeof value === 'bigint' || Number.isSafeInteger(value);
    case 'boolean':
      writer.byte(value === true ? 1 : 0);
      return typeof value === 'boolean';
    case 'map':
      return writer.map(value);
    case 'string[]':
      return writer.list(value, (item) => typeof item === 'string' && writer.string(item));
    default:
      return writer.list(value, (item) => {
        writer.float32(Number(item));
        return typeof item === 'number' || typeof item === 'bigint';
      });
  }
}

function parseInteger(value: unknown): bigint | undefined {
  return typeof value === 'bigint' || Number.isSafeInteger(value) ? BigInt(value as bigint | number) : undefined;
}

/** Writes little-endian values into a growing buffer. */
class Writer {
  #buffer: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #at = 0;

  constructor(bytes: number) {
    this.#buffer = new Uint8Array(bytes);
    this.#view = new DataView(this.#buffer.buffer);
  }

  bytes(): Uint8Array {
    return this.#buffer.slice(0, this.#at);
  }

  byte(value: number): void {
    this.#view.setUint8(this.#reserve(1), value);
  }

  uint16(value: number): void {
    this.#view.setUint16(this.#reserve(2), value, true);
  }

  uint32(value: number): void {
    this.#view.setUint32(this.#reserve(4), value, true);
  }

  /** A safe integer. */
  int64(value: number): void {
    const at = this.#reserve(8);
    this.#view.setUint32(at, value >>> 0, true);
    this.#view.setInt32(at + 4, Math.floor(value / 2 ** 32), true);
  }

  bigint64(value: bigint): void {
    this.#view.setBigInt64(this.#reserve(8), value, true);
  }

  bigint(value: bigint, bytes: 4 | 8 | 16 | 32): void {
    if (bytes === 4) this.#view.setInt32(this.#reserve(4), Number(value), true);
    else for (let shift = 0n; shift < bytes * 8; shift += 64n) this.bigUint64(BigInt.asUintN(64, value >> shift));
  }

  bigUint64(value: bigint): void {
    this.#view.setBigUint64(this.#reserve(8), value, true);
  }

  float32(value: number): void {
    this.#view.setFloat32(this.#reserve(4), value, true);
  }

  float64(value: number): void {
    this.#view.setFloat64(this.#reserve(8), value, true);
  }

  /** LEB128. */
  length(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  string(text: string): true {
    const bytes = Buffer.byteLength(text);
    this.length(bytes);
    const at = this.#reserve(bytes);
    // For short ASCII strings, a call to the encoder costs more than the loop.
    if (bytes === text.length && bytes <= shortString) {
      for (let i = 0; i < bytes; i += 1) this.#buffer[at + i] = text.charCodeAt(i);
    } else {
      encoder.encodeInto(text, this.#buffer.subarray(at, at + bytes));
    }
    return true;
  }

  list(value: unknown, item: (value: unknown) => boolean): boolean {
    if (!Array.isArray(value)) return false;
    this.length(value.length);
    return value.every(item);
  }

  map(value: unknown): boolean {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    this.length(entries.length);
    return entries.every(([key, text]) => typeof text === 'string' && this.string(String(key)) && this.string(text));
  }

  #reserve(bytes: number): number {
    const at = this.#at;
    this.#at += bytes;
    if (this.#at > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(this.#at, this.#buffer.length * 2));
      larger.set(this.#buffer.subarray(0, at));
      this.#buffer = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

const shortString = 64;
const encoder = new TextEncoder();
