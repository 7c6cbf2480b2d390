/** Doubles without a JSON number. They are JSON strings with their JavaScript names. */
const notNumbers = new Set(['NaN', 'Infinity', '-Infinity']);

/** Whether a text is the name of such a double. */
export function isNotNumber(text: unknown): text is string {
  return typeof text === 'string' && notNumbers.has(text);
}

/** The name for a CSV cell such as `inf`, `+Infinity` or `nan`; undefined for any other text. */
export function notNumberOf(cell: string): string | undefined {
  const [, sign, word = ''] = /^([+-]?)(nan|inf|infinity)$/i.exec(cell) ?? [];
  if (sign === undefined) return undefined;
  if (word.toLowerCase() === 'nan') return 'NaN';
  return sign === '-' ? '-Infinity' : 'Infinity';
}
