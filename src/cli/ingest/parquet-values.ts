import type { SchemaElement } from 'hyparquet';
import { rowText } from '../../client/write.ts';
import { decimalText } from './decimals.ts';

/** Converts values of the Parquet reader to JSON values. Throws RangeError with the problem. */
export type Converter = (value: unknown) => unknown;

/** Digits that a double would change. */
const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON;

type Node = { element: SchemaElement; children: Node[] };

const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * A schema whose maps are read as lists of entries: JavaScript objects would lose entries with duplicate keys.
 */
export function withEntries(schema: SchemaElement[]): SchemaElement[] {
  return schema.map(({ converted_type, logical_type, ...element }) => ({
    ...element,
    ...(converted_type !== undefined && !isMapType(converted_type) && { converted_type }),
    ...(logical_type !== undefined && logical_type.type !== 'MAP' && { logical_type }),
  }));
}

const isMapType = (type: string) => type === 'MAP' || type === 'MAP_KEY_VALUE';

/** The converters of the columns, by the schema of the file. */
export function columnConverters(schema: SchemaElement[]): Map<string, Converter> {
  let next = 0;
  const nodeAt = (): Node => {
    const element = schema[next] as SchemaElement;
    next += 1;
    return { element, children: Array.from({ length: element.num_children ?? 0 }, nodeAt) };
  };
  return new Map(nodeAt().children.map((node) => [node.element.name, columnConverter(node)]));
}

/** A top-level double may be NaN or infinite; within JSON it may not. */
function columnConverter(node: Node): Converter {
  const convert = createConverter(node);
  return (value) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : convert(value));
}

function createConverter(node: Node): Converter {
  const { element, children } = node;
  // The reader assembles variants itself.
  if (element.logical_type?.type === 'VARIANT') return (value) => (value === undefined ? null : leaf(value));
  const one = isMap(node) ? mapConverter(node) : children.length > 0 ? groupConverter(node) : leafConverter(element);
  if (element.repetition_type !== 'REPEATED') return (value) => one(value ?? null);
  return (value) => (Array.isArray(value) ? value.map(one) : []);
}

function isMap({ element, children: [entries] }: Node): boolean {
  const type = element.converted_type ?? '';
  return isMapType(type) && entries?.element.repetition_type === 'REPEATED' && entries.children.length === 2;
}

function mapConverter({ children: [entries] }: Node): Converter {
  const name = entries?.element.name ?? '';
  const [key, value] = entries?.children ?? [];
  if (key === undefined || value === undefined) throw new RangeError('has a map without keys or values');
  const [toKey, toValue] = [createConverter(key), createConverter(value)];
  return (map) => {
    if (map === null) return null;
    const found = (map as Record<string, unknown>)[name] as Record<string, unknown>[] | null | undefined;
    const members = new Map<string, unknown>();
    for (const entry of found ?? []) {
      const member = keyText(toKey(entry[key.element.name]));
      if (members.has(member)) throw new RangeError(`has a map with the key ${member} twice`);
      members.set(member, toValue(entry[value.element.name]));
    }
    return new Members(members);
  };
}

function keyText(key: unknown): string {
  if (key === null) throw new RangeError('has a map with a key that is null');
  return key instanceof Date ? key.toISOString() : typeof key === 'object' ? valueText(key) : String(key);
}

/** A JSON object that keeps the order and the names of members, unlike a JavaScript object. */
class Members {
  readonly text: string;
  constructor(members: Iterable<[string, unknown]>) {
    this.text = `{${Array.from(members, ([name, value]) => `${JSON.stringify(name)}:${valueText(value)}`).join(',')}}`;
  }
}

/** JSON of a converted value. */
export function valueText(value: unknown): string {
  if (value instanceof Members) return value.text;
  if (typeof value === 'string') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(valueText).join(',')}]`;
  return rowText({ value }).slice('{"value":'.length, -1);
}

/** The converter of a list or a struct. The reader merges the two levels of a list. */
function groupConverter({ element, children }: Node): Converter {
  const [only] = children;
  const isList = element.converted_type === 'LIST' && children.length === 1 && only !== undefined;
  if (isList && only.element.repetition_type === 'REPEATED' && only.children.length <= 1) {
    const [inner] = only.children;
    const item = inner === undefined ? itemConverter(only) : createConverter(inner);
    // The reader returns undefined for an empty required list.
    const absent = element.repetition_type === 'REQUIRED' ? [] : null;
    return (value) => (Array.isArray(value) ? value.map(item) : (value ?? absent));
  }
  const members = children.map((child) => [child.element.name, createConverter(child)] as const);
  return (value) => {
    if (value === null || typeof value !== 'object') return value;
    return new Members(members.map(([name, of]) => [name, of((value as Record<string, unknown>)[name])]));
  };
}

const itemConverter = (node: Node): Converter =>
  createConverter({ ...node, element: { ...node.element, repetition_type: 'OPTIONAL' } });

function leafConverter({ converted_type, logical_type, scale }: SchemaElement): Converter {
  if (converted_type === 'DECIMAL') return (value) => (value === null ? null : rawJson(decimalText(value, scale ?? 0)));
  const digits = logical_type?.type === 'TIME' ? unitDigits[logical_type.unit] : timeDigits[converted_type ?? ''];
  return digits === undefined ? leaf : (value) => (value === null ? null : clockText(BigInt(value as number), digits));
}

const unitDigits = { MILLIS: 3, MICROS: 6, NANOS: 9 };
const timeDigits: Record<string, number> = { TIME_MILLIS: 3, TIME_MICROS: 6 };

/** A time of day as text, with the digits of its type: `10:00:00.000`. */
function clockText(units: bigint, digits: number): string {
  const second = 10n ** BigInt(digits);
  const [whole, fraction] = [units / second, units % second];
  if (units < 0n || whole >= 86_400n) throw new RangeError('is not a time of day');
  const two = (n: bigint) => String(n).padStart(2, '0');
  return `${two(whole / 3_600n)}:${two((whole / 60n) % 60n)}:${two(whole % 60n)}.${String(fraction).padStart(digits, '0')}`;
}

function leaf(value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new RangeError(`is ${value}, which JSON cannot represent. Replace it by null`);
  }
  if (value instanceof Date && Number.isNaN(value.getTime())) throw new RangeError('is outside of the range of times');
  if (!(value instanceof Uint8Array)) return deep(value);
  try {
    return text.decode(value);
  } catch {
    throw new RangeError('has bytes that are not UTF-8 text');
  }
}

/** Converts values that the reader has assembled, such as variants. */
function deep(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(leaf);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, leaf(each)]));
}
