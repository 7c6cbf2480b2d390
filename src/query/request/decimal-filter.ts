import { type DecimalType, decimalSize, isNumberText, unitsText } from '../../schema/decimal.ts';
import { decimalOf } from '../../schema/number-text.ts';
import type { Condition } from './filters.ts';
import { takesList } from './operators.ts';

/** A number that a filter compares decimals with, as text; undefined for any other value. */
export function decimalText(value: unknown): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined;
  const text = String(value);
  if (!isNumberText(text)) return undefined;
  // A JSON number of more digits may have been another one.
  return typeof value === 'number' && decimalOf(text).digits.length > 15 ? undefined : text;
}

/**
 * A condition on decimals as conditions with values that their type holds, all of which have to be true; `never` where none
 * can be. A number with more digits lies between two decimals, or beyond all of them: it has its place in their order, and
 * is none of them. What is not a number stays, and is refused where values are bound.
 */
export function fitDecimals(condition: Condition, type: DecimalType): Condition[] | 'never' {
  const { column, op, value } = condition;
  const isList = Array.isArray(value);
  const texts = [value].flat().map(decimalText);
  const places = texts.map((text) => (text === undefined ? undefined : placeNumber(text, type)));
  const known = places.filter((place) => place !== undefined);
  if (known.length < places.length || isList !== takesList(op, false)) return [condition];
  if (op === 'in' || op === 'notIn') {
    const listed = known.filter(({ isSame }) => isSame).map(({ units }) => unitsText(type, units));
    if (listed.length > 0) return [{ column, op, value: listed }];
    return op === 'in' ? 'never' : [{ column, op: 'isNotNull' }];
  }
  const [first, second, ...more] = known;
  if (first === undefined) return [condition];
  if (op !== 'between') return compareWithPlace(condition, first, type);
  if (second === undefined || more.length > 0) return [condition];
  const low = compareWithPlace({ column, op: 'gte' }, first, type);
  const high = compareWithPlace({ column, op: 'lte' }, second, type);
  return low === 'never' || high === 'never' ? 'never' : [...low, ...high];
}

/** The greatest decimal that is not above a number, in units, and whether it is the number. */
type Place = { units: bigint; isSame: boolean };

/** A number below all decimals has the one before the least, which the type does not hold. */
function placeNumber(text: string, type: DecimalType): Place {
  const { precision, scale } = decimalSize(type);
  const { isNegative, digits, exponent } = decimalOf(text);
  const most = 10n ** BigInt(precision) - 1n;
  // Exponents may be long: what is too large is not written out.
  if (digits.length + exponent > precision - scale) return { units: isNegative ? -most - 1n : most, isSame: false };
  const kept = digits.slice(0, Math.max(0, digits.length + exponent + scale));
  const units = BigInt(kept + '0'.repeat(Math.max(0, exponent + scale)) || '0');
  const isSame = exponent >= -scale;
  if (!isNegative || digits === '') return { units, isSame: isSame || digits === '' };
  return { units: isSame ? -units : -units - 1n, isSame };
}

function compareWithPlace(
  { column, op }: Condition,
  { units, isSame }: Place,
  type: DecimalType,
): Condition[] | 'never' {
  const isBelowAll = units <= -(10n ** BigInt(decimalSize(type).precision));
  const than = (operator: Condition['op']): Condition[] => [{ column, op: operator, value: unitsText(type, units) }];
  const always: Condition[] = [{ column, op: 'isNotNull' }];
  if (isSame) return than(op);
  switch (op) {
    case 'ne':
      return always;
    case 'lt':
    case 'lte':
      return isBelowAll ? 'never' : than('lte');
    case 'gt':
    case 'gte':
      return isBelowAll ? always : than('gt');
    case 'eq':
      return 'never';
    default:
      return than(op);
  }
}
