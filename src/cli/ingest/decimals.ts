import type { ParquetParsers, SchemaElement } from 'hyparquet';
import { decimalOf } from '../../schema/number-text.ts';
import { placesInVariants } from './parquet-schema.ts';

const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON;

/** The scale of each decimal column, by name. */
export type Decimals = Map<string, number>;

/**
 * A schema whose decimals, also nested ones, are read as integers of their smallest unit: the Parquet reader would convert
 * them to doubles.
 */
export function withUnits(schema: SchemaElement[]): {
  schema: SchemaElement[];
  decimals: Decimals;
  parsers: Partial<ParquetParsers>;
} {
  const decimals: Decimals = new Map();
  const hasBytesParser = !schema.some(({ logical_type }) => logical_type?.type === 'GEOGRAPHY');
  const tops = findTopColumns(schema);
  const inVariants = placesInVariants(schema);
  const changed = schema.map((element, place) => {
    const { converted_type, logical_type, ...rest } = element;
    const isText = rest.type === 'BYTE_ARRAY';
    if (inVariants.has(place)) return element;
    if (converted_type !== 'DECIMAL' || rest.num_children !== undefined || (isText && !hasBytesParser)) return element;
    if (tops.has(place) && rest.repetition_type !== 'REPEATED') decimals.set(element.name, element.scale ?? 0);
    // The reader decodes byte arrays as text, unless their type has a parser.
    return isText ? { ...rest, logical_type: { type: 'GEOGRAPHY' } as const } : rest;
  });
  const parsers = hasBytesParser ? { geographyFromBytes: (bytes: Uint8Array | undefined) => bytes } : {};
  return { schema: changed, decimals, parsers };
}

/** Indexes of the top-level columns: a schema is a tree in preorder. */
function findTopColumns(schema: SchemaElement[]): Set<number> {
  const tops = new Set<number>();
  const after = (place: number): number => {
    let next = place + 1;
    for (let n = schema[place]?.num_children ?? 0; n > 0; n -= 1) next = after(next);
    return next;
  };
  for (let place = 1; place < schema.length; place = after(place)) tops.add(place);
  return tops;
}

/** Every decimal with this many digits survives a double. */
const doubleDigits = 15;

/**
 * A decimal as JSON: a number where it is an integer or short, which every field type accepts exactly or rejects; else a
 * string, which fields of type double reject.
 */
export function decimalJson(kept: unknown, scale: number): unknown {
  if (kept === null || kept === undefined) return kept;
  const text = decimalText(kept, scale);
  return text.includes('.') && decimalOf(text).digits.length > doubleDigits ? text : rawJson(text);
}

/** The digits of a decimal without trailing zeros. */
export function decimalText(kept: unknown, scale: number): string {
  // The reader has decoded its bytes as text.
  if (typeof kept === 'string') throw new RangeError('is a decimal beside columns of geography, which cannot be read');
  const units = kept instanceof Uint8Array ? readSigned(kept) : BigInt(kept as number | bigint);
  const isNegative = units < 0n;
  const digits = String(isNegative ? -units : units).padStart(scale + 1, '0');
  const [whole, fraction] = [digits.slice(0, digits.length - scale), digits.slice(digits.length - scale)];
  const short = fraction.replace(/0+$/, '');
  return `${isNegative ? '-' : ''}${whole}${short === '' ? '' : `.${short}`}`;
}

/** Big-endian two's complement. */
function readSigned(bytes: Uint8Array): bigint {
  let whole = 0n;
  for (const byte of bytes) whole = (whole << 8n) | BigInt(byte);
  return BigInt.asIntN(bytes.length * 8, whole);
}
