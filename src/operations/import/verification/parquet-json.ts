import type { ParquetParsers, SchemaElement } from 'hyparquet';

/** A column of Parquet, or a part of a column. */
export type Node = { element: SchemaElement; children: Node[] };

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** JSON text of a column. */
class JsonText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Parsers that keep all digits of times, and JSON as text. */
export const parsers: Partial<ParquetParsers> = {
  stringFromBytes: (bytes) => bytes && utf8.decode(bytes),
  jsonFromBytes: (bytes) => bytes && new JsonText(utf8.decode(bytes)),
  timestampFromMilliseconds: (millis) => timeText(BigInt(millis) * 1_000_000n),
  timestampFromMicroseconds: (micros) => timeText(micros * 1_000n),
  timestampFromNanoseconds: timeText,
  dateFromDays: (days) => new Date(days * 86_400_000).toISOString().slice(0, 10),
};

function timeText(nanos: bigint): string {
  const second = 1_000_000_000n;
  const fraction = ((nanos % second) + second) % second;
  const text = new Date(Number((nanos - fraction) / 1_000_000n)).toISOString();
  const digits = String(fraction)
    .padStart(9, '0')
    .replace(/(?:000){1,2}$/, '');
  return `${text.slice(0, -4)}${digits}Z`;
}

/** The columns of a file's schema. */
export function buildColumns(schema: SchemaElement[]): Node[] {
  let next = 0;
  const nodeAt = (): Node => {
    const element = schema[next] as SchemaElement;
    next += 1;
    return { element, children: Array.from({ length: element.num_children ?? 0 }, nodeAt) };
  };
  return nodeAt().children;
}

const isMap = ({ converted_type, logical_type }: SchemaElement) =>
  converted_type === 'MAP' || converted_type === 'MAP_KEY_VALUE' || logical_type?.type === 'MAP';

const isDecimal = ({ converted_type, logical_type }: SchemaElement) =>
  converted_type === 'DECIMAL' || logical_type?.type === 'DECIMAL';

/** The schema for hyparquet: maps as lists of entries and decimals as units. `renderJson` converts both. */
export function lowerSchema(schema: SchemaElement[]): SchemaElement[] {
  return schema.map((element) => {
    const { converted_type: _, logical_type: __, ...plain } = element;
    return isMap(element) || isDecimal(element) ? plain : element;
  });
}

/**
 * A value as JSON text with all digits.
 *
 * @throws RangeError for a value that JSON cannot represent
 */
export function renderJson(node: Node, value: unknown): string {
  const { element } = node;
  if (element.repetition_type === 'REPEATED') {
    return listText(Array.isArray(value) ? value : [], (item) => renderOne(node, item));
  }
  return renderOne(node, value);
}

function renderOne(node: Node, value: unknown): string {
  if (value === null || value === undefined) return 'null';
  const { element, children } = node;
  const [only] = children;
  if (isMap(element) && only !== undefined) return mapText(only, value);
  if (element.converted_type === 'LIST' && Array.isArray(value) && only !== undefined) {
    const item = only.children.length === 1 ? only.children[0] : undefined;
    return listText(value, (each) => (item === undefined ? renderOne(only, each) : renderJson(item, each)));
  }
  if (children.length > 0 && element.logical_type?.type !== 'VARIANT') {
    const members = children.map((child) => {
      const member = (value as Record<string, unknown>)[child.element.name];
      return `${JSON.stringify(child.element.name)}:${renderJson(child, member)}`;
    });
    return `{${members.join(',')}}`;
  }
  const digits = clockDigits(element);
  if (digits !== undefined) return `"${clockText(BigInt(value as number), digits)}"`;
  return isDecimal(element) ? decimalText(value, element.scale ?? 0) : leafText(value);
}

function clockDigits({ logical_type, converted_type }: SchemaElement): number | undefined {
  if (logical_type?.type === 'TIME') return { MILLIS: 3, MICROS: 6, NANOS: 9 }[logical_type.unit];
  return converted_type === 'TIME_MILLIS' ? 3 : converted_type === 'TIME_MICROS' ? 6 : undefined;
}

/** A time of day with all digits of its type. */
function clockText(units: bigint, digits: number): string {
  const text = String(units).padStart(digits + 1, '0');
  const seconds = Number(text.slice(0, -digits));
  const parts = [seconds / 3_600, (seconds / 60) % 60, seconds % 60];
  return `${parts.map((part) => String(Math.floor(part)).padStart(2, '0')).join(':')}.${text.slice(-digits)}`;
}

function listText(items: unknown[], render: (item: unknown) => string): string {
  return `[${items.map(render).join(',')}]`;
}

function mapText(entries: Node, value: unknown): string {
  const [key, item] = entries.children;
  const found = (value as Record<string, unknown>)[entries.element.name];
  if (key === undefined || item === undefined) throw new RangeError('the map has no keys or no values');
  const members = (Array.isArray(found) ? (found as Record<string, unknown>[]) : []).map((entry) => {
    const name = renderJson(key, entry[key.element.name]);
    return `${name.startsWith('"') ? name : JSON.stringify(name)}:${renderJson(item, entry[item.element.name])}`;
  });
  return `{${members.join(',')}}`;
}

/** A decimal from an integer, or from big-endian bytes in two's complement. */
function decimalText(value: unknown, scale: number): string {
  let units = 0n;
  if (value instanceof Uint8Array) {
    for (const byte of value) units = units * 256n + BigInt(byte);
    units = BigInt.asIntN(value.length * 8, units);
  } else {
    units = BigInt(value as number | bigint);
  }
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, '0');
  const [whole, fraction] = [digits.slice(0, digits.length - scale), digits.slice(digits.length - scale)];
  const kept = fraction.replace(/0+$/, '');
  return `${units < 0n ? '-' : ''}${whole}${kept === '' ? '' : `.${kept}`}`;
}

function leafText(value: unknown): string {
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return JSON.stringify(String(value));
    return Object.is(value, -0) ? '-0' : String(value);
  }
  if (typeof value === 'bigint') return String(value);
  if (value instanceof JsonText) return value.text;
  if (value instanceof Uint8Array) {
    try {
      return JSON.stringify(utf8.decode(value));
    } catch {
      throw new RangeError('has bytes that are not UTF-8');
    }
  }
  if (Array.isArray(value)) return listText(value, leafText);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}:${leafText(each)}`);
  return `{${members.join(',')}}`;
}
