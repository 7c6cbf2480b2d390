/** A decimal as its digits, without zeros at either end, times a power of ten. */
export type Decimal = { isNegative: boolean; digits: string; exponent: number };

const literal = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/;

/** What the text of a JSON number says, exactly. */
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

/** The digits of a whole number, with its sign; undefined for one that is not whole, or has more digits than `digitsMax`. */
export function wholeText({ isNegative, digits, exponent }: Decimal, digitsMax: number): string | undefined {
  if (digits === '') return '0';
  if (exponent < 0 || digits.length + exponent > digitsMax) return undefined;
  return `${isNegative ? '-' : ''}${digits}${'0'.repeat(exponent)}`;
}

export function isSameDecimal(a: Decimal, b: Decimal): boolean {
  return a.isNegative === b.isNegative && a.digits === b.digits && a.exponent === b.exponent;
}

/** A loop: an expression that looks for the end takes the square of the length in a text of zeros. */
function withoutZerosBehind(digits: string): string {
  let end = digits.length;
  while (end > 0 && digits.charCodeAt(end - 1) === 0x30) end -= 1;
  return digits.slice(0, end);
}
