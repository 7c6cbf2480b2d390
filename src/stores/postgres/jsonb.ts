/**
 * JSON of users in columns of type jsonb, which take any JSON but NUL and halves of surrogate pairs. Those are kept as
 * `DLE` and four digits, and so is `DLE` itself, a control character that nobody types. What has none of them, which is
 * nearly everything, is in the column as it is.
 *
 * @module
 */

/** An escape of JSON. Each is taken whole: what follows an escaped backslash is none. */
const any = /\\(?:u(0000|0010|d[89a-f][0-9a-f]{2})|.)/g;
const escaped = /\\(?:u0010([0-9a-f]{4})|.)/g;

/** A value as JSON text that jsonb takes. */
export function toJsonb(value: unknown, replacer?: (name: string, value: unknown) => unknown): string {
  const text = JSON.stringify(value, replacer);
  // Surrogates that are a pair are not escaped in it.
  if (!text.includes('\\u')) return text;
  return text.replace(any, (whole, code?: string) => (code === undefined ? whole : `\\u0010${code}`));
}

/** A value that came out of such a column, as it was before. */
export function fromJsonb<Value>(value: Value): Value {
  const text = JSON.stringify(value);
  if (!text?.includes('\\u0010')) return value;
  return JSON.parse(
    text.replace(escaped, (whole, code?: string) => (code === undefined ? whole : `\\u${code}`)),
  ) as Value;
}

/** Text for people in a column of type text: what it cannot hold is shown as JSON would. */
export function toText(text: string): string {
  return text.replace(/[\0\p{Surrogate}]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
