const escapes: Record<string, string> = {
  '\\': '\\\\',
  '\t': '\\t',
  '\n': '\\n',
  '\r': '\\r',
  '\0': '\\0',
  "'": "\\'",
};

/** A value as a parameter of a ClickHouse statement, which is read as one field of tab-separated text. */
export function parameterText(text: string): string {
  return text.replace(/[\\\t\n\r\0]/g, (character) => escapes[character] ?? character);
}

/** A list as a parameter: its items are quoted, and that is all that is read of it. */
export function arrayText(items: string[], areBare = false): string {
  return `[${items.map((item) => (areBare ? item : quoted(item))).join(',')}]`;
}

function quoted(text: string): string {
  return `'${text.replace(/[\\'\t\n\r\0]/g, (character) => escapes[character] ?? character)}'`;
}

/** A value of JSON as a parameter of whatever type the SQL gives it; undefined for what is neither a value nor a list. */
export function paramText(value: unknown, place: 'alone' | 'item' = 'alone'): string | undefined {
  if (value === null) return place === 'alone' ? '\\N' : 'NULL';
  if (typeof value === 'string') return place === 'alone' ? parameterText(value) : quoted(value);
  if (typeof value === 'number' || typeof value === 'boolean') return exactText(value);
  if (!Array.isArray(value)) return undefined;
  const items = value.flatMap((item) => paramText(item, 'item') ?? []);
  return items.length < value.length ? undefined : arrayText(items, true);
}

/** An integer beyond 2^53 may have been another one before it was read: it has to come as a string. */
function exactText(value: number | boolean): string | undefined {
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? undefined : String(value);
}
