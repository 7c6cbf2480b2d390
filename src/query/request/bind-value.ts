import type { ApiError } from '../../core/errors.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';
import { coerceDecimal, type DecimalType, decimalSize, isDecimal } from '../../schema/decimal.ts';
import { isNotNumber } from '../../schema/double.ts';
import { parseTimeBound, type Time, time_ms_max, time_ms_min } from '../../schema/timestamp.ts';
import type { Field, FieldType, TableSchema } from '../../schema/types.ts';
import { decimalText } from './decimal-filter.ts';
import { timeValue } from './time-range.ts';

/** A parameter of SQL: its text and its ClickHouse type. */
export type BoundValue = { text: string; type: string };

type Value = string | number | boolean;

/**
 * The value of a filter as a parameter of its field's type, so that ClickHouse converts nothing.
 *
 * @throws ApiError `invalid-request` for a value that the field does not take
 */
export function bindValue(field: Field, value: Value, schema: TableSchema): BoundValue {
  const bound = tryBindValue(field, value, schema);
  if (bound !== undefined) return bound;
  const sent = JSON.stringify(value).slice(0, 100);
  throw invalidRequest(`filters.columns: ${field.name} takes ${describeValues(field.type)}, not ${sent}`);
}

function describeValues(type: FieldType): string {
  if (isDecimal(type)) return 'a number, beyond 15 digits as a string of digits';
  if (type === 'integer' || type === 'unsigned') return 'a whole number, beyond 2^53 as a string of digits';
  return `a ${type}`;
}

function tryBindValue(field: Field, value: Value, schema: TableSchema): BoundValue | undefined {
  const { type } = field;
  if (isDecimal(type)) return bindDecimal(type, value);
  switch (type) {
    case 'timestamp': {
      const time = filterTime(value);
      return time && timeValue(time, schema);
    }
    case 'boolean':
      return typeof value === 'boolean' ? { text: String(value), type: 'Bool' } : undefined;
    case 'string':
    case 'json':
    case 'string[]':
    case 'map':
      return typeof value === 'string' ? { text: value, type: 'String' } : undefined;
    case 'integer':
    case 'unsigned':
      return bindInteger(type, value);
    case 'double':
      if (isNotNumber(value)) return { text: value, type: 'Float64' };
      return typeof value === 'number' ? { text: String(value), type: 'Float64' } : undefined;
    default:
      return typeof value === 'number' ? { text: String(value), type: itemType(field) } : undefined;
  }
}

/** The time that a filter compares with; undefined for a value that is not a time. */
export function filterTime(value: Value): Time | undefined {
  if (typeof value !== 'number') {
    const time = parseTimeBound(String(value));
    return 'reason' in time ? undefined : time;
  }
  // All rows lie between these bounds, so that clamping does not change the comparison.
  const clamped_ms = Math.min(Math.max(value, time_ms_min - 1), time_ms_max + 1);
  return Number.isSafeInteger(value) ? { time_ms: clamped_ms, finer: '' } : undefined;
}

/** Numbers with a fraction and numbers beyond the type are bound too: they have a place in the order of integers. */
function bindInteger(type: 'integer' | 'unsigned', value: Value): BoundValue | undefined {
  if (typeof value === 'number' && !Number.isInteger(value)) return { text: String(value), type: 'Float64' };
  // JSON.parse has rounded an unsafe integer.
  if (typeof value === 'boolean' || (typeof value === 'number' && !Number.isSafeInteger(value))) return undefined;
  const text = String(value);
  if (!/^-?[0-9]{1,20}$/.test(text)) return undefined;
  const integer = BigInt(text);
  if (type === 'integer') return BigInt.asIntN(64, integer) === integer ? { text, type: 'Int64' } : undefined;
  if (BigInt.asUintN(64, integer) === integer) return { text, type: 'UInt64' };
  return integer < 0n ? { text, type: 'Int128' } : undefined;
}

/** `fitDecimals` has replaced numbers that the type does not hold. */
function bindDecimal(type: DecimalType, value: Value): BoundValue | undefined {
  const text = decimalText(value);
  if (text === undefined) return undefined;
  const { precision, scale } = decimalSize(type);
  const stored = coerceDecimal(type, text);
  return typeof stored === 'string' ? { text: stored, type: `Decimal(${precision}, ${scale})` } : undefined;
}

export function isListField({ type }: Pick<Field, 'type'>): boolean {
  return type === 'string[]' || type.startsWith('vector');
}

export function itemType({ type }: Pick<Field, 'type'>): string {
  return type === 'string[]' ? 'String' : 'Float32';
}

/** The type that holds the values of all these types: for times, the one with the most digits. */
export function commonType(types: string[]): string {
  const times = types.filter((type) => type.startsWith('DateTime64')).sort();
  return times.at(-1) ?? ['Float64', 'Int128'].find((type) => types.includes(type)) ?? types[0] ?? 'String';
}

export function listTooLong(member: string, limits: Limits): ApiError {
  return limitExceeded(
    `${member}: a list has at most ${limits.query_list_max} values (limit query_list_max) and ${limits.sql_param_bytes_max} bytes (limit sql_param_bytes_max)`,
  );
}
