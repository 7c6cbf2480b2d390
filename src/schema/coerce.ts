import { coerceDecimal, type DecimalType, isDecimal, isNumberText } from './decimal.ts';
import { isNotNumber } from './double.ts';
import { JsonReader, type Member } from './json-reader.ts';
import { decimalOf, isSameDecimal, wholeText } from './number-text.ts';
import { parseTimestamp, storedTimestamp, type TimePrecision, tooFine } from './timestamp.ts';
import { type FieldType, vectorLength } from './types.ts';

/** The reason why a value cannot be stored in its field. Codes are stable; `detail` is for people. */
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
  | 'not-allowed'
  | 'duplicate-field'
  | 'bad-name'
  | 'too-large'
  | 'past-retention'
  | 'outside-time-range'
  | 'refused-before'
  | 'too-many-fields';

type Value = Pick<Member, 'kind' | 'text' | 'escaped'>;

/**
 * Converts a value to the JSON text that is stored: exactly the same value, or a rejection. The result has no line break, so
 * that a row is one line. The caller handles null.
 *
 * @param precision precision of the table's timestamps
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
      // The text is stored unchanged: digits, order of members and spelling.
      return JSON.stringify(value.text);
    case 'string[]':
      return coerceStrings(value);
    case 'map':
      return coerceMap(value);
    default:
      return coerceVector(type, value);
  }
}

/** The reason to reject a stored value that is not one of the values of its field. */
export function notAllowed(values: Iterable<string> | undefined, stored: string): Refusal | undefined {
  const allowed = values === undefined ? [stored] : [...values];
  if (allowed.includes(stored)) return undefined;
  return { reason: 'not-allowed', detail: `the field takes ${allowed.join(', ')}` };
}

/** Infers the type of a new field from a value; undefined for null. */
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
      // Numbers are doubles, because a counter that starts at 0 may continue with 0.5; integers beyond 2^53 are not.
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
  // Half of a surrogate pair has no UTF-8 encoding, so the store would change it.
  if (!text.isWellFormed()) return { reason: 'bad-string', detail: 'half of a surrogate pair is not a character' };
  return JSON.stringify(text);
}

function coerceDouble(text: string): string | Refusal {
  const number = Number(text);
  if (!Number.isFinite(number)) return { reason: 'out-of-range', detail: 'beyond the range of a double' };
  if (number === 0 && hasDigit.test(text)) {
    return { reason: 'out-of-range', detail: 'closer to zero than a double can represent; send 0' };
  }
  if (isInexactInteger(text, number)) {
    return {
      reason: 'not-exact',
      detail:
        'a double cannot represent this number exactly; use an integer field, or send it in quotes to a string field',
    };
  }
  return text;
}

/** A digit before the exponent that is not zero. */
const hasDigit = /^[^eE]*[1-9]/;

const integerLiteral = /^-?(?:0|[1-9][0-9]*)$/;

/** Ranges of 64-bit integers. */
const ranges = {
  integer: { min: -(2n ** 63n), max: 2n ** 63n - 1n, name: '64-bit integers' },
  unsigned: { min: 0n, max: 2n ** 64n - 1n, name: 'unsigned 64-bit integers' },
};
const wholeChars_max = String(ranges.unsigned.max).length;

function coerceInteger(type: keyof typeof ranges, value: Value): string | Refusal {
  // Quoted integers too, because many JSON writers cannot write integers beyond 2^53 otherwise.
  const text = value.kind === 'string' ? stringOf(value) : value.text;
  if (value.kind !== 'number' && !(value.kind === 'string' && integerLiteral.test(text))) return wrongType(type, value);
  const { min, max, name } = ranges[type];
  if (integerLiteral.test(text) && text.length <= 16 && (min < 0n || !text.startsWith('-'))) {
    return text === '-0' ? '0' : text;
  }
  const whole = integerLiteral.test(text) ? text : wholeText(decimalOf(text), wholeChars_max);
  if (whole === undefined) return { reason: 'not-exact', detail: 'not a 64-bit integer' };
  // Avoids parsing a number of a megabyte.
  const integer = whole.length > wholeChars_max ? undefined : BigInt(whole);
  if (integer === undefined || integer < min || integer > max) {
    return {
      reason: 'out-of-range',
      detail: `outside of the range of ${name}; use a decimal field, or send it in quotes to a string field`,
    };
  }
  return String(integer);
}

/** Quoted, so that readers of the row do not parse it as a double. */
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
  // An empty vector is stored, and returned, as absent.
  if (items.length !== length && items.length > 0) {
    return { reason: 'wrong-length', detail: `${type} takes ${length} numbers, not ${items.length}` };
  }
  for (const item of items) {
    if (typeof item !== 'number') return { reason: 'wrong-type', detail: `${type} takes numbers only` };
    if (!Number.isFinite(Math.fround(item))) {
      return { reason: 'out-of-range', detail: 'beyond the range of a single-precision float' };
    }
  }
  return JSON.stringify(items.map((item) => (isBetweenSingles(item as number) ? Math.fround(item as number) : item)));
}

/**
 * Whether a double lies exactly between two single-precision floats. Rounding the double yields the even one; rounding its
 * shortened digits could yield the other.
 */
function isBetweenSingles(number: number): boolean {
  const single = Math.fround(number);
  const other = 2 * number - single;
  return number !== single && Math.fround(other) === other;
}

/** From this size on, programs write doubles with an exponent and 17 digits, which are not exact. */
const writtenWithExponent = 1e17;

/**
 * Whether a number from 2^53 on, where doubles have no fraction, would be returned as another number. The shortest digits of a
 * double count as exact.
 */
function isInexactInteger(text: string, number: number): boolean {
  if (text.length < 16 || Math.abs(number) < 2 ** 53) return false;
  if (Math.abs(number) >= writtenWithExponent && /[eE]/.test(text)) return false;
  const sent = decimalOf(text);
  return !isSameDecimal(sent, decimalOf(String(number))) && !isSameDecimal(sent, decimalOf(String(BigInt(number))));
}

/**
 * The type of an integer beyond 2^53 within 64 bits: the sender means the exact number, even if a double can represent it.
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

/** Whether a value is an empty list. */
export function isEmptyArray({ kind, text }: Value): boolean {
  return kind === 'array' && /^\[\s*\]$/.test(text);
}

function isStrings(arrayText: string): boolean {
  const reader = new JsonReader(arrayText);
  reader.expect('[');
  // An empty array has no item type, and json accepts all.
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
