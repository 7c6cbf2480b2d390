import { type DecimalType, decimalSize, isNumberText, unitsText } from '../../schema/decimal.ts';
import { decimalOf } from '../../schema/number-text.ts';
import type { Condition } from './filters.ts';
import { takesList } from './operators.ts';

/** A number of a filter as text; undefined for a value that is not an exact number. */
export function decimalText(value: unknown): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined;
  const text = String(value);
  if (!isNumberText(text)) return undefined;
  // JSON.parse may have rounded a number with more digits.
  return typeof value === 'number' && decimalOf(text).digits.length > 15 ? undefined : text;
}

/**
 * Rewrites a condition on a decimal field into conditions with values that its type holds, which must all be true; `never`
 * where no value can match. A number with more digits lies between two decimals or beyond all: it has a place in the order,
 * and is equal to none. Other values are kept, and `bindValue` rejects them.
 */
export function fitDecimals(condition: Condition, type: DecimalType): Condition[] | 'never' {
  const { column, op, value } = condition;
  const isList = Array.isArray(value);
  const texts = [value].flat().map(decimalText);
  const places = texts.map((text) => (text === undefined ? undefined : placeNumber(text, type)));
  const numbers = places.filter((place) => place !== undefined);
  if (numbers.length < places.length || isList !== takesList(op, false)) return [condition];
  if (op === 'in' || op === 'notIn') {
    const listed = numbers.filter(({ isEqual }) => isEqual).map(({ units }) => unitsText(type, units));
    if (listed.length > 0) return [{ column, op, value: listed }];
    return op === 'in' ? 'never' : [{ column, op: 'isNotNull' }];
  }
  const [first, second, ...more] = numbers;
  if (first === undefined) return [condition];
  if (op !== 'between') return compareWithPlace(condition, first, type);
  if (second === undefined || more.length > 0) return [condition];
  const low = compareWithPlace({ column, op: 'gte' }, first, type);
  const high = compareWithPlace({ column, op: 'lte' }, second, type);
  return low === 'never' || high === 'never' ? 'never' : [...low, ...high];
}

/** The greatest decimal that is not above a number, in units, and whether the two are equal. */
type Place = { units: bigint; isEqual: boolean };

/** A number below all decimals gets the units right below the least, which the type does not hold. */
function placeNumber(text: string, type: DecimalType): Place {
  const { precision, scale } = decimalSize(type);
  const { isNegative, digits, exponent } = decimalOf(text);
  const units_max = 10n ** BigInt(precision) - 1n;
  // A large exponent must not be written out as zeros.
  if (digits.length + exponent > precision - scale)
    return { units: isNegative ? -units_max - 1n : units_max, isEqual: false };
  const kept = digits.slice(0, Math.max(0, digits.length + exponent + scale));
  const units = BigInt(kept + '0'.repeat(Math.max(0, exponent + scale)) || '0');
  const isEqual = exponent >= -scale;
  if (!isNegative || digits === '') return { units, isEqual: isEqual || digits === '' };
  return { units: isEqual ? -units : -units - 1n, isEqual };
}

function compareWithPlace(
  { column, op }: Condition,
  { units, isEqual }: Place,
  type: DecimalType,
): Condition[] | 'never' {
  const isBelowAll = units <= -(10n ** BigInt(decimalSize(type).precision));
  const withUnits = (operator: Condition['op']): Condition[] => [
    { column, op: operator, value: unitsText(type, units) },
  ];
  const always: Condition[] = [{ column, op: 'isNotNull' }];
  if (isEqual) return withUnits(op);
  switch (op) {
    case 'ne':
      return always;
    case 'lt':
    case 'lte':
      return isBelowAll ? 'never' : withUnits('lte');
    case 'gt':
    case 'gte':
      return isBelowAll ? always : withUnits('gt');
    case 'eq':
      return 'never';
    default:
      return withUnits(op);
  }
}
