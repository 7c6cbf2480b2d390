import { type DecimalType, decimalSize, isDecimal } from '../../../schema/decimal.ts';
import type { TimePrecision } from '../../../schema/timestamp.ts';
import { type FieldType, vectorLength } from '../../../schema/types.ts';
import { parseMembers } from './json-rows.ts';

/** Why a value is invalid for a field. The reasons are those of rejected rows. */
export type Wrong = { reason: string; detail: string };

/**
 * The value of a field for a JSON text, read with the platform's parsers instead of those of requests. Doubles are returned
 * as their bits and times as a count of the table's smallest unit, so that ClickHouse does not parse digits again.
 *
 * @param raw JSON text of the value, not null
 * @returns JSON text of an input for `planInput`
 */
export function fieldValue(type: FieldType, raw: string, precision: TimePrecision): string | Wrong {
  if (isDecimal(type)) return decimalValue(type, raw);
  switch (type) {
    case 'timestamp':
      return timeValue(raw, precision);
    case 'string':
      return raw.startsWith('"') ? textValue(raw) : wrongType(type, raw);
    case 'double':
      return doubleValue(raw);
    case 'integer':
      return wholeValue(type, raw, -(2n ** 63n), 2n ** 63n);
    case 'unsigned':
      return wholeValue(type, raw, 0n, 2n ** 64n);
    case 'boolean':
      return raw === 'true' || raw === 'false' ? raw : wrongType(type, raw);
    case 'json':
      return JSON.stringify(raw);
    case 'string[]':
      return textsValue(raw);
    case 'map':
      return mapValue(raw);
    default:
      return vectorValue(type, raw);
  }
}

const wrongType = (type: FieldType, raw: string): Wrong => ({
  reason: type === 'timestamp' ? 'bad-timestamp' : 'wrong-type',
  detail: `${raw.slice(0, 50)} cannot be ${type}`,
});

function textValue(raw: string): string | Wrong {
  const text = JSON.parse(raw) as string;
  if (!text.isWellFormed()) return { reason: 'bad-string', detail: 'half of a surrogate pair is not a character' };
  return JSON.stringify(text);
}

const instant = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?$/;

function timeValue(raw: string, precision: TimePrecision): string | Wrong {
  const nanos = raw.startsWith('"') ? parseNanos(JSON.parse(raw) as string) : epochNanos(raw);
  if (nanos === undefined) return wrongType('timestamp', raw);
  const unit = 10n ** BigInt(9 - precision);
  if (nanos % unit !== 0n) return { reason: 'not-exact', detail: `the table keeps ${precision} digits of a second` };
  if (nanos < 0n || nanos >= BigInt(Date.UTC(2106, 0, 1)) * 1_000_000n) {
    return { reason: 'out-of-range', detail: 'timestamps go from 1970 to 2105' };
  }
  return String(nanos / unit);
}

function parseNanos(text: string): bigint | undefined {
  const [, day, clock, fraction = '', zone] = instant.exec(text) ?? [];
  if (day === undefined || (zone === undefined && /[Tt]/.test(text))) return undefined;
  const local_ms = Date.parse(`${day}T${clock}Z`);
  // JavaScript changes a day that does not exist to one of the next month.
  if (Number.isNaN(local_ms) || !new Date(local_ms).toISOString().startsWith(`${day}T${clock}`)) return undefined;
  const [sign, hours = '0', minutes = '0'] = /^([+-])(\d\d):(\d\d)$/.exec(zone ?? '')?.slice(1) ?? [];
  const offset_ms = (Number(hours) * 60 + Number(minutes)) * 60_000 * (sign === '-' ? -1 : 1);
  return BigInt(local_ms - offset_ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}

const epochNanos = (raw: string) => (/^-?\d{1,15}$/.test(raw) ? BigInt(raw) * 1_000_000n : undefined);

const bits = new DataView(new ArrayBuffer(8));

function doubleValue(raw: string): string | Wrong {
  const isName = /^"(NaN|-?Infinity)"$/.test(raw);
  if (!isName && !isNumber(raw)) return wrongType('double', raw);
  const double = Number(isName ? JSON.parse(raw) : raw);
  const isTooLarge = !isName && !Number.isFinite(double);
  const isLost = double === 0 && /^[^eE]*[1-9]/.test(raw);
  if (isTooLarge || isLost) return { reason: 'out-of-range', detail: 'no double is close to this number' };
  if (!isName && Math.abs(double) >= 2 ** 53 && !isIntended(raw, double)) {
    return { reason: 'not-exact', detail: 'a double cannot hold this number exactly' };
  }
  bits.setFloat64(0, double);
  return String(bits.getBigUint64(0));
}

/** Whether the digits are exactly those of a double without a fraction, or those that programs write for it. */
function isIntended(raw: string, double: number): boolean {
  if (/[eE]/.test(raw) && Math.abs(double) >= 1e17) return true;
  const units = parseUnits(raw, 0);
  return units !== undefined && (units === BigInt(double) || units === parseUnits(String(double), 0));
}

const isNumber = (raw: string) => /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(raw);

const digits_max = 400;

/** A number as a count of its `scale`-th decimal place; undefined for other text, inexact results and too many digits. */
function parseUnits(raw: string, scale: number): bigint | undefined {
  const [, sign, whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(raw) ?? [];
  const digits = (whole + fraction).replace(/^0+/, '');
  if (digits === '') return whole === '' ? undefined : 0n;
  const shift = Number(exponent) - fraction.length + scale;
  if (Math.abs(shift) > digits_max + digits.length) return undefined;
  const kept = shift >= 0 ? digits + '0'.repeat(shift) : digits.slice(0, shift);
  const isCut = shift < 0 && /[1-9]/.test(digits.slice(shift));
  if (isCut || kept.length > digits_max) return undefined;
  return BigInt(`${sign}${kept === '' ? '0' : kept}`);
}

const unquote = (raw: string): string => (raw.startsWith('"') ? (JSON.parse(raw) as string) : raw);

function wholeValue(type: FieldType, raw: string, min: bigint, end: bigint): string | Wrong {
  const text = unquote(raw);
  if (!isNumber(text) || (raw.startsWith('"') && !/^-?\d+$/.test(text))) return wrongType(type, raw);
  const units = parseUnits(text, 0);
  if (units === undefined) return { reason: 'not-exact', detail: 'not a whole number of 64 bits' };
  return units >= min && units < end
    ? String(units)
    : { reason: 'out-of-range', detail: `the number is outside of the range of ${type}` };
}

function decimalValue(type: DecimalType, raw: string): string | Wrong {
  const text = unquote(raw);
  const { precision, scale } = decimalSize(type);
  if (!isNumber(text)) return wrongType(type, raw);
  const units = parseUnits(text, scale);
  if (units === undefined)
    return { reason: 'not-exact', detail: `${type} has ${scale} digits after the decimal point` };
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, '0');
  if (digits.length > precision && units !== 0n && digits.replace(/^0+/, '').length > precision) {
    return { reason: 'out-of-range', detail: `${type} has ${precision - scale} digits before the decimal point` };
  }
  const [whole, fraction] = [digits.slice(0, digits.length - scale), digits.slice(digits.length - scale)];
  return JSON.stringify(`${units < 0n ? '-' : ''}${whole}${scale === 0 ? '' : `.${fraction}`}`);
}

function parseList(type: FieldType, raw: string): unknown[] | Wrong {
  const value: unknown = JSON.parse(raw);
  return Array.isArray(value) ? value : wrongType(type, raw);
}

function textsValue(raw: string): string | Wrong {
  const items = parseList('string[]', raw);
  if (!Array.isArray(items)) return items;
  const isText = (item: unknown) => typeof item === 'string' && item.isWellFormed();
  return items.every(isText) ? JSON.stringify(items) : wrongType('string[]', raw);
}

function mapValue(raw: string): string | Wrong {
  if (!raw.startsWith('{')) return wrongType('map', raw);
  const entries = parseMembers(raw);
  if (new Set(entries.map(({ name }) => name)).size < entries.length) {
    return { reason: 'duplicate-field', detail: 'the map has the same key twice' };
  }
  const texts = entries.map(({ name, raw: text }) => {
    const value = text.startsWith('"') && name.isWellFormed() ? textValue(text) : wrongType('map', raw);
    return typeof value === 'string' ? `${JSON.stringify(name)}:${value}` : value;
  });
  return texts.find((text) => typeof text !== 'string') ?? `{${texts.join(',')}}`;
}

function vectorValue(type: `vector(${number})`, raw: string): string | Wrong {
  const items = parseList(type, raw);
  if (!Array.isArray(items)) return items;
  if (items.length !== 0 && items.length !== vectorLength(type)) {
    return { reason: 'wrong-length', detail: `${type} has ${vectorLength(type)} numbers, not ${items.length}` };
  }
  if (!items.every((item) => typeof item === 'number' && Number.isFinite(Math.fround(item))))
    return wrongType(type, raw);
  return JSON.stringify(
    items.map((item) => {
      bits.setFloat32(0, item as number);
      return bits.getUint32(0);
    }),
  );
}
