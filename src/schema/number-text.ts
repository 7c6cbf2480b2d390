/** Digits without leading or trailing zeros, times a power of ten. */
export type Decimal = { isNegative: boolean; digits: string; exponent: number };

const literal = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/;

/** The exact value of the text of a JSON number. */
export function decimalOf(text: string): Decimal {
  const [, sign, whole = '', fraction = '', exponent = '0'] = literal.exec(text) ?? [];
  const all = whole + fraction;
  const digits = withoutZerosBehind(all.replace(/^0+/, ''));
  const behind = all.length - withoutZerosBehind(all).length;
  return {
    isNegative: sign === '-',
    digits,
    exponent: digits === '' ? 0 : Number(exponent) - fraction.length + behind,
  };
}

/** The digits of an integer with its sign; undefined for other numbers, or for more digits than `digitsMax`. */
export function wholeText({ isNegative, digits, exponent }: Decimal, digitsMax: number): string | undefined {
  if (digits === '') return '0';
  if (exponent < 0 || digits.length + exponent > digitsMax) return undefined;
  return `${isNegative ? '-' : ''}${digits}${'0'.repeat(exponent)}`;
}

export function isSameDecimal(a: Decimal, b: Decimal): boolean {
  return a.isNegative === b.isNegative && a.digits === b.digits && a.exponent === b.exponent;
}

/** A loop, because a regular expression for trailing zeros needs quadratic time. */
function withoutZerosBehind(digits: string): string {
  let end = digits.length;
  while (end > 0 && digits.charCodeAt(end - 1) === 0x30) end -= 1;
  return digits.slice(0, end);
}
