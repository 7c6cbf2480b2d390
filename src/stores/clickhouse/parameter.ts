const escapes: Record<string, string> = {
  '\\': '\\\\',
  '\t': '\\t',
  '\n': '\\n',
  '\r': '\\r',
  '\0': '\\0',
  "'": "\\'",
};

/** The text of a statement parameter, which ClickHouse parses as one field of tab-separated text. */
export function parameterText(text: string): string {
  return text.replace(/[\\\t\n\r\0]/g, (character) => escapes[character] ?? character);
}

/** The text of a list parameter. Items are quoted unless `areBare`. */
export function arrayText(items: string[], areBare = false): string {
  return `[${items.map((item) => (areBare ? item : quoted(item))).join(',')}]`;
}

function quoted(text: string): string {
  return `'${text.replace(/[\\'\t\n\r\0]/g, (character) => escapes[character] ?? character)}'`;
}

/** The text of a JSON value as a parameter of any type; undefined for an object. */
export function paramText(value: unknown, place: 'alone' | 'item' = 'alone'): string | undefined {
  if (value === null) return place === 'alone' ? '\\N' : 'NULL';
  if (typeof value === 'string') return place === 'alone' ? parameterText(value) : quoted(value);
  if (typeof value === 'number' || typeof value === 'boolean') return exactText(value);
  if (!Array.isArray(value)) return undefined;
  const items = value.flatMap((item) => paramText(item, 'item') ?? []);
  return items.length < value.length ? undefined : arrayText(items, true);
}

/** Undefined for an integer beyond 2^53, which JSON.parse may have rounded: clients send it as a string. */
function exactText(value: number | boolean): string | undefined {
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? undefined : String(value);
}
