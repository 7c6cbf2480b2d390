import { isDecimal, unitsOf, unitsText } from '../../schema/decimal.ts';
import { notNumberOf } from '../../schema/double.ts';
import type { Member } from '../../schema/json-reader.ts';
import { readMap } from '../../schema/map.ts';
import { parseTimestampText, storedTimestamp } from '../../schema/timestamp.ts';
import { type Field, type FieldType, isNeverNull } from '../../schema/types.ts';
import type { HotValue } from '../request/compare-values.ts';

/** Parses a value of a batch. Timestamps stay text, which sorts in the order of time. */
export function hotValue(type: FieldType, member: Pick<Member, 'kind' | 'text'> | undefined): HotValue {
  if (type === 'map') return member?.kind === 'object' ? readMap(member.text) : new Map();
  if (member === undefined || member.kind === 'null') return isNeverNull(type) ? [] : null;
  const { text } = member;
  if (isDecimal(type)) return unitsOf(type, JSON.parse(text) as string);
  switch (type) {
    case 'timestamp':
      return timeText(JSON.parse(text) as string);
    case 'integer':
    case 'unsigned':
      return BigInt(text);
    case 'double':
      return Number(member.kind === 'string' ? JSON.parse(text) : text);
    case 'boolean':
      return text === 'true';
    case 'string':
    case 'json':
      return JSON.parse(text) as string;
    case 'string[]':
      return JSON.parse(text) as string[];
    default:
      return (JSON.parse(text) as number[]).map(Math.fround);
  }
}

/** A stored time without trailing zeros. */
function timeText(stored: string): string {
  const time = parseTimestampText(stored);
  if ('reason' in time) throw new Error('a stored timestamp cannot be parsed');
  return storedTimestamp(time.time_ms, time.finer);
}

/** The JSON of a value, byte for byte as ClickHouse writes it. */
export function hotJson(type: FieldType, value: HotValue): string {
  if (value === null) return 'null';
  if (isDecimal(type) && typeof value === 'bigint') return `"${unitsText(type, value)}"`;
  if (Array.isArray(value)) {
    return `[${value.map((item) => (typeof item === 'string' ? jsonString(item) : floatText(item))).join(',')}]`;
  }
  if (type === 'timestamp') return `"${String(value).replace(' ', 'T')}Z"`;
  if (typeof value === 'string') return jsonString(value);
  if (value instanceof Map) return `{${[...value].map((entry) => entry.map(jsonString).join(':')).join(',')}}`;
  if (typeof value !== 'number') return String(value);
  return Number.isFinite(value) ? doubleText(value) : `"${value}"`;
}

/** The text of a value in sort keys: `toString` of ClickHouse, without trailing zeros of times. */
export function hotText(type: FieldType, value: HotValue): string | null {
  if (value === null) return null;
  if (isDecimal(type) && typeof value === 'bigint') return unitsText(type, value);
  if (typeof value !== 'number') return String(value);
  return Number.isFinite(value) ? doubleText(value) : String(value).toLowerCase().replace('infinity', 'inf');
}

/** The inverse of `hotText`. */
export function parseHotText({ type }: Pick<Field, 'type'>, text: string | null): HotValue {
  if (text === null) return null;
  if (type === 'string' || type === 'json') return text;
  if (isDecimal(type)) return unitsOf(type, text);
  if (type === 'timestamp') return timeText(text);
  if (type === 'integer' || type === 'unsigned') return BigInt(text);
  return type === 'boolean' ? text === 'true' : Number(notNumberOf(text) ?? text);
}

/** The shortest digits, as in ClickHouse, which writes no plus in an exponent and a sign for negative zero. */
function doubleText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value).replace('e+', 'e');
}

const smallestNormal = 2 ** -126;

/** The shortest digits of a single-precision number; of two equally near ones, those with an even last digit. */
function floatText(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return doubleText(value);
  // Every normal number keeps six digits: `toPrecision(6)` already gives shorter ones, with trailing zeros.
  for (let digits = Math.abs(value) < smallestNormal ? 1 : 6; digits < 9; digits += 1) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value)
      return doubleText(isHalfway(value, digits) ? roundHalfEven(value, digits) : short);
  }
  return doubleText(isHalfway(value, 9) ? roundHalfEven(value, 9) : Number(value.toPrecision(9)));
}

/** Whether a number may lie halfway between two numbers of this precision, of which `toPrecision` takes the larger one. */
function isHalfway(value: number, digits: number): boolean {
  const next = value.toPrecision(digits + 1);
  return /5(?:e|$)/.test(next) && Number(next) === value;
}

function roundHalfEven(value: number, digits: number): number {
  const [mantissa = '', exponent = '0'] = Math.abs(value).toExponential(100).split('e');
  const all = mantissa.replace('.', '');
  const head = BigInt(all.slice(0, digits));
  const rest = all.slice(digits);
  const half = `5${'0'.repeat(rest.length - 1)}`;
  const isUp = rest > half || (rest === half && head % 2n === 1n);
  return Number(
    `${value < 0 || Object.is(value, -0) ? '-' : ''}${isUp ? head + 1n : head}e${Number(exponent) - digits + 1}`,
  );
}

function jsonString(text: string): string {
  return JSON.stringify(text)
    .replace(/\\(?:u00[0-9a-f]{2}|.)/g, (sequence) =>
      sequence[1] === 'u' ? `\\u${sequence.slice(2).toUpperCase()}` : sequence,
    )
    .replaceAll('\u2028', '\\u2028')
    .replaceAll('\u2029', '\\u2029');
}
