/**
 * Encodes user JSON for jsonb columns, which accept neither NUL nor halves of surrogate pairs. These characters, and `DLE`
 * itself, become `DLE` and four hexadecimal digits. Nearly all values have none of them and stay unchanged.
 *
 * @module
 */

/** A JSON escape. `.` consumes an escaped backslash, so that the next character does not begin an escape. */
const any = /\\(?:u(0000|0010|d[89a-f][0-9a-f]{2})|.)/g;
const escaped = /\\(?:u0010([0-9a-f]{4})|.)/g;

/** JSON text that jsonb accepts. */
export function toJsonb(value: unknown, replacer?: (name: string, value: unknown) => unknown): string {
  const text = JSON.stringify(value, replacer);
  // JSON.stringify escapes unpaired surrogates only.
  if (!text.includes('\\u')) return text;
  return text.replace(any, (whole, code?: string) => (code === undefined ? whole : `\\u0010${code}`));
}

/** Decodes a value of a jsonb column. */
export function fromJsonb<Value>(value: Value): Value {
  const text = JSON.stringify(value);
  if (!text?.includes('\\u0010')) return value;
  return JSON.parse(
    text.replace(escaped, (whole, code?: string) => (code === undefined ? whole : `\\u${code}`)),
  ) as Value;
}

/** Text for a text column: characters that Postgres does not accept become JSON escapes. Not reversible. */
export function toText(text: string): string {
  return text.replace(/[\0\p{Surrogate}]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
