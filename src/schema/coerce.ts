import { coerceDecimal, type DecimalType, isDecimal, isNumberText } from './decimal.ts';
import { isNotNumber } from './double.ts';
import { JsonReader, type Member } from './json-reader.ts';
import { decimalOf, isSameDecimal, wholeText } from './number-text.ts';
import { parseTimestamp, storedTimestamp, type TimePrecision, tooFine } from './timestamp.ts';
import { type FieldType, vectorLength } from './types.ts';

/** Why a value cannot be stored in its field. Codes are stable; `detail` is for people. */
export type Refusal = { reason: RefusalReason; detail: string; oldType?: FieldType; newType?: FieldType };

export type RefusalReason =
  | 'not-an-object'
  | 'malformed'
  | 'missing'
  | 'wrong-type'
  | 'bad-timestamp'
  | 'out-of-range'
  | 'not-exact'
  | 'bad-string'
  | 'wrong-length'
  | 'duplicate-field'
  | 'bad-name'
  | 'too-large'
  | 'past-retention'
  | 'outside-time-range'
  | 'refused-before'
  | 'too-many-fields';

type Value = Pick<Member, 'kind' | 'text' | 'escaped'>;

/**
 * Turns a value as sent into the JSON text that is stored: exactly the same value, or a refusal, nothing in between.
 * The result holds no line break, so that a row is one line. A null is the caller's.
 *
 * @param precision of the table's timestamps
 */
export function coerce(type: FieldType, value: Value, precision: TimePrecision): string | Refusal {
  if (isDecimal(type)) return coerceDigits(type, value);
  switch (type) {
    case 'timestamp': {
      const time = parseTimestamp(value);
      if ('reason' in time) return time;
      return tooFine(time, precision) ?? JSON.stringify(storedTimestamp(time.time_ms, time.finer));
    }
    case 'string':
      return value.kind === 'string' ? coerceString(value) : wrongType(type, value);
    case 'double':
      if (value.kind === 'number') return coerceDouble(value.text);
      return value.kind === 'string' && isNotNumber(stringOf(value)) ? `"${stringOf(value)}"` : wrongType(type, value);
    case 'integer':
    case 'unsigned':
      return coerceInteger(type, value);
    case 'boolean':
      return value.kind === 'true' || value.kind === 'false' ? value.text : wrongType(type, value);
    case 'json':
      // The text itself is what is kept: digits, order of members and spelling are the sender's.
      return JSON.stringify(value.text);
    case 'string[]':
      return coerceStrings(value);
    case 'map':
      return coerceMap(value);
    default:
      return coerceVector(type, value);
  }
}

/** The type a field gets that no schema names; undefined for null, which tells nothing. */
export function inferType(value: Value): FieldType | undefined {
  switch (value.kind) {
    case 'null':
      return undefined;
    case 'string':
      return 'string';
    case 'true':
    case 'false':
      return 'boolean';
    case 'number':
      // A counter that starts at 0 may go on with 0.5, so numbers are doubles, but for whole ones beyond 2^53.
      return wholeType(value) ?? 'double';
    case 'array':
      return isStrings(value.text) ? 'string[]' : 'json';
    case 'object':
      return 'json';
  }
}

function coerceString(value: Value): string | Refusal {
  if (!value.escaped) return value.text;
  const text = stringOf(value);
  // Half of a surrogate pair has no UTF-8 form: the store would change it.
  if (!text.isWellFormed()) return { reason: 'bad-string', detail: 'half of a surrogate pair is not a character' };
  return JSON.stringify(text);
}

function coerceDouble(text: string): string | Refusal {
  const number = Number(text);
  if (!Number.isFinite(number)) return { reason: 'out-of-range', detail: 'larger than a double can be' };
  if (number === 0 && hasDigit.test(text)) {
    return { reason: 'out-of-range', detail: 'nearer to zero than a double can be; send 0' };
  }
  if (isInexactInteger(text, number)) {
    return {
      reason: 'not-exact',
      detail: 'a double cannot hold this number exactly; send it to an integer field, or in quotes to a string field',
    };
  }
  return text;
}

/** One of the digits before an exponent that is not zero. */
const hasDigit = /^[^eE]*[1-9]/;

const integerLiteral = /^-?(?:0|[1-9][0-9]*)$/;

/** Whole numbers that 64 bits hold. */
const ranges = {
  integer: { min: -(2n ** 63n), max: 2n ** 63n - 1n, name: '64-bit integers' },
  unsigned: { min: 0n, max: 2n ** 64n - 1n, name: 'unsigned 64-bit integers' },
};
const wholeChars_max = String(ranges.unsigned.max).length;

function coerceInteger(type: keyof typeof ranges, value: Value): string | Refusal {
  // In quotes too: many JSON writers cannot write integers beyond 2^53 in any other way.
  const text = value.kind === 'string' ? stringOf(value) : value.text;
  if (value.kind !== 'number' && !(value.kind === 'string' && integerLiteral.test(text))) return wrongType(type, value);
  const { min, max, name } = ranges[type];
  if (integerLiteral.test(text) && text.length <= 16 && (min < 0n || !text.startsWith('-'))) {
    return text === '-0' ? '0' : text;
  }
  const whole = integerLiteral.test(text) ? text : wholeText(decimalOf(text), wholeChars_max);
  if (whole === undefined) return { reason: 'not-exact', detail: 'not a whole number of 64 bits' };
  // A number of a megabyte takes its time to read.
  const integer = whole.length > wholeChars_max ? undefined : BigInt(whole);
  if (integer === undefined || integer < min || integer > max) {
    return {
      reason: 'out-of-range',
      detail: `outside of the ${name}; send it to a decimal field, or in quotes to a string field`,
    };
  }
  return String(integer);
}

/** In quotes, so that whoever reads the row does not make a double of it. */
function coerceDigits(type: DecimalType, value: Value): string | Refusal {
  const text = value.kind === 'string' ? stringOf(value) : value.text;
  const isNumber = value.kind === 'number' || (value.kind === 'string' && isNumberText(text));
  if (!isNumber) return wrongType(type, value);
  const stored = coerceDecimal(type, text);
  return typeof stored === 'string' ? `"${stored}"` : stored;
}

/** The text of a string. */
function stringOf({ text, escaped }: Value): string {
  return escaped ? (JSON.parse(text) as string) : text.slice(1, -1);
}

function coerceStrings(value: Value): string | Refusal {
  if (value.kind !== 'array') return wrongType('string[]', value);
  const items = JSON.parse(value.text) as unknown[];
  for (const item of items) {
    if (typeof item !== 'string') return { reason: 'wrong-type', detail: 'string[] takes an array of strings only' };
    if (!item.isWellFormed()) return { reason: 'bad-string', detail: 'half of a surrogate pair is not a character' };
  }
  return JSON.stringify(items);
}

function coerceMap(value: Value): string | Refusal {
  if (value.kind !== 'object') return wrongType('map', value);
  const members = new Map<string, string>();
  for (const { name, ...member } of new JsonReader(value.text).members()) {
    if (member.kind !== 'string') return { reason: 'wrong-type', detail: 'map takes an object of strings only' };
    const stored = coerceString(member);
    if (typeof stored !== 'string') return stored;
    if (!name.isWellFormed()) return { reason: 'bad-string', detail: 'half of a surrogate pair is not a character' };
    if (members.has(name)) return { reason: 'duplicate-field', detail: 'the map has the same key twice' };
    members.set(name, stored);
  }
  return `{${[...members].map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`;
}

function coerceVector(type: `vector(${number})`, value: Value): string | Refusal {
  if (value.kind !== 'array') return wrongType(type, value);
  const items = JSON.parse(value.text) as unknown[];
  const length = vectorLength(type);
  // Without numbers it is absent, which is also how it is answered.
  if (items.length !== length && items.length > 0) {
    return { reason: 'wrong-length', detail: `${type} takes ${length} numbers, not ${items.length}` };
  }
  for (const item of items) {
    if (typeof item !== 'number') return { reason: 'wrong-type', detail: `${type} takes numbers only` };
    if (!Number.isFinite(Math.fround(item))) {
      return { reason: 'out-of-range', detail: 'larger than a single-precision float can be' };
    }
  }
  return JSON.stringify(items.map((item) => (isBetweenSingles(item as number) ? Math.fround(item as number) : item)));
}

/**
 * Whether a double lies just in the middle between two single-precision floats. Rounded from the double, it becomes the even
 * one; rounded from digits, which are not all that it has, it could become the other.
 */
function isBetweenSingles(number: number): boolean {
  const single = Math.fround(number);
  const other = 2 * number - single;
  return number !== single && Math.fround(other) === other;
}

/** From here on programs write doubles with an exponent and 17 digits, which are near and not exact. */
const writtenWithExponent = 1e17;

/**
 * Whether a number from 2^53 on, where doubles have no fractions, would come back as another. The digits that a double is
 * written with are exact, whatever follows them.
 */
function isInexactInteger(text: string, number: number): boolean {
  if (text.length < 16 || Math.abs(number) < 2 ** 53) return false;
  if (Math.abs(number) >= writtenWithExponent && /[eE]/.test(text)) return false;
  const sent = decimalOf(text);
  return !isSameDecimal(sent, decimalOf(String(number))) && !isSameDecimal(sent, decimalOf(String(BigInt(number))));
}

/**
 * The type of a whole number beyond 2^53 that 64 bits hold: it is meant to be exact, whether a double happens to hold it or
 * not.
 */
export function wholeType({ kind, text }: Value): 'integer' | 'unsigned' | undefined {
  if (kind !== 'number' || text.length < 16 || text.length > wholeChars_max || !integerLiteral.test(text)) {
    return undefined;
  }
  const whole = BigInt(text);
  if (Number.isSafeInteger(Number(text))) return undefined;
  const isIn = ({ min, max }: (typeof ranges)['integer']) => whole >= min && whole <= max;
  if (isIn(ranges.integer)) return 'integer';
  return isIn(ranges.unsigned) ? 'unsigned' : undefined;
}

/** Whether a value is a list of nothing. */
export function isEmptyArray({ kind, text }: Value): boolean {
  return kind === 'array' && /^\[\s*\]$/.test(text);
}

function isStrings(arrayText: string): boolean {
  const reader = new JsonReader(arrayText);
  reader.expect('[');
  // An empty array may go on as anything, and json holds anything.
  if (reader.peek() === ']') return false;
  do if (reader.value().kind !== 'string') return false;
  while (reader.take(','));
  return true;
}

const kindNames: Record<Member['kind'], string> = {
  string: 'a string',
  number: 'a number',
  true: 'a boolean',
  false: 'a boolean',
  null: 'null',
  array: 'an array',
  object: 'an object',
};

function wrongType(type: FieldType, value: Value): Refusal {
  const newType = inferType(value);
  return {
    reason: 'wrong-type',
    detail: `${type} does not take ${kindNames[value.kind]}`,
    ...(newType !== undefined && { oldType: type, newType }),
  };
}
