import type { Refusal } from './coerce.ts';
import { decimalOf } from './number-text.ts';

/** A decimal type: at most `precision` digits, `scale` of them after the point. */
export type DecimalType = `decimal(${number},${number})`;

export const decimalForm = /^decimal\(([1-9]|[1-6][0-9]|7[0-6]),(0|[1-9]|[1-6][0-9]|7[0-6])\)$/;

export function isDecimal(type: string): type is DecimalType {
  return type.startsWith('decimal(');
}

export function decimalSize(type: DecimalType): { precision: number; scale: number } {
  const [, precision, scale] = decimalForm.exec(type) ?? [];
  return { precision: Number(precision), scale: Number(scale) };
}

const numberForm = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;

/** Whether a text is a JSON number. */
export function isNumberText(text: string): boolean {
  return numberForm.test(text);
}

/** Converts a JSON number to a decimal without leading or trailing zeros: `-1.5`. */
export function coerceDecimal(type: DecimalType, text: string): string | Refusal {
  const { precision, scale } = decimalSize(type);
  const { isNegative, digits, exponent } = decimalOf(text);
  if (digits === '') return '0';
  if (exponent < -scale) {
    return { reason: 'not-exact', detail: `${type} takes at most ${scale} digits after the point` };
  }
  if (digits.length + exponent > precision - scale) {
    return { reason: 'out-of-range', detail: `${type} takes at most ${precision - scale} digits before the point` };
  }
  return decimalText({ isNegative, digits: digits + '0'.repeat(exponent + scale), scale });
}

/** A decimal as an integer in units of its last digit. */
export function unitsOf(type: DecimalType, text: string): bigint {
  const { scale } = decimalSize(type);
  const { isNegative, digits, exponent } = decimalOf(text);
  const units = BigInt(digits + '0'.repeat(exponent + scale));
  return isNegative ? -units : units;
}

/** Formats a decimal like ClickHouse. */
export function unitsText(type: DecimalType, units: bigint): string {
  const isNegative = units < 0n;
  return decimalText({ isNegative, digits: String(isNegative ? -units : units), scale: decimalSize(type).scale });
}

function decimalText({ isNegative, digits, scale }: { isNegative: boolean; digits: string; scale: number }): string {
  const all = digits.padStart(scale + 1, '0');
  const whole = all.slice(0, all.length - scale);
  let end = all.length;
  while (end > whole.length && all[end - 1] === '0') end -= 1;
  const fraction = all.slice(whole.length, end);
  return `${isNegative ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`;
}

/** Bytes of a decimal in ClickHouse. */
export function decimalBytes(type: DecimalType): 4 | 8 | 16 | 32 {
  const { precision } = decimalSize(type);
  if (precision <= 9) return 4;
  if (precision <= 18) return 8;
  return precision <= 38 ? 16 : 32;
}
