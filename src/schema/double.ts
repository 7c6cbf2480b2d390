/** JSON has no numbers for these: they are strings in it, with the names that JavaScript gives them. */
const notNumbers = new Set(['NaN', 'Infinity', '-Infinity']);

/** Whether a text is the name of a double that no JSON number is. */
export function isNotNumber(text: unknown): text is string {
  return typeof text === 'string' && notNumbers.has(text);
}

/** The name of what a cell of CSV means by `inf`, `+Infinity`, `nan` and the like; undefined for any other text. */
export function notNumberOf(cell: string): string | undefined {
  const [, sign, word = ''] = /^([+-]?)(nan|inf|infinity)$/i.exec(cell) ?? [];
  if (sign === undefined) return undefined;
  if (word.toLowerCase() === 'nan') return 'NaN';
  return sign === '-' ? '-Infinity' : 'Infinity';
}
