import * as z from 'zod';
import { quoteString } from '../core/identifiers.ts';
import { type DecimalType, decimalForm, decimalSize, isDecimal } from './decimal.ts';
import { oldPrecision, type TimePrecision } from './timestamp.ts';

/** Fractional digits of a table's timestamps. */
export const timestampPrecision = z.union([z.literal(3), z.literal(6), z.literal(9)]);

/** Field types. `vector(n)` is a list of n single-precision floats. */
const scalarTypes = [
  'timestamp',
  'string',
  'double',
  'integer',
  'unsigned',
  'boolean',
  'json',
  'string[]',
  'map',
] as const;

const vectorType = z.templateLiteral(['vector(', z.number(), ')']).check(z.regex(/^vector\([1-9][0-9]{0,3}\)$/));

const decimalType = z
  .templateLiteral(['decimal(', z.number(), ',', z.number(), ')'])
  .check(z.regex(decimalForm))
  .refine((type) => decimalSize(type).scale <= decimalSize(type).precision, 'the scale is at most the precision');

export const fieldType = z.union([z.enum(scalarTypes), vectorType, decimalType]).meta({
  description:
    '`double` has NaN and both infinities as the strings "NaN", "Infinity" and "-Infinity" in JSON; `integer` and `unsigned` ' +
    'are 64 bits and may also come as a string of digits; `decimal(p,s)` has up to 76 digits, s of them behind the point, is taken as a number or as a string of digits, ' +
    'and answered as a string; `map` is an object of strings, and {} where it is absent; `vector(n)` is a list of n numbers',
});

export type FieldType = (typeof scalarTypes)[number] | `vector(${number})` | DecimalType;

export type Field = {
  name: string;
  type: FieldType;
  /** The value in rows without the field, including rows stored before it was added; as stored JSON text. */
  default?: string | undefined;
  /** The values that the field may have beside null, as stored JSON text. Default: all of its type. */
  values?: string[] | undefined;
  /** The field cannot be null, like a key field; null stands for the default, if it has one. Set when the table is made. */
  required?: true | undefined;
  /** The schema version that added the field. Set for fields with a default, which older batches need. */
  since?: number | undefined;
};

/** One version of a table's schema. Fields are only ever added, in order; a type never changes in place. */
export type TableSchema = {
  version: number;
  /** The field with the time of a row; required in each row. */
  timestampColumn: string;
  /** Fractional digits of timestamps. Default: three, as in old tables. */
  timestampPrecision?: TimePrecision | undefined;
  /** Fields of the sort key before the timestamp; they cannot be null. */
  keyFields: string[];
  fields: Field[];
};

/** The length of a `vector(n)`. */
export function vectorLength(type: `vector(${number})`): number {
  return Number(type.slice('vector('.length, -1));
}

/** The ClickHouse type of a field, for its table and for the tail. */
export function clickhouseType(
  field: Field,
  schema: Pick<TableSchema, 'timestampColumn' | 'timestampPrecision' | 'keyFields'>,
): string {
  const plain = plainType(field.type, precisionOf(schema));
  return isRequired(field, schema) || isNeverNull(field.type) ? plain : `Nullable(${plain})`;
}

type KeyColumns = Pick<TableSchema, 'timestampColumn' | 'keyFields'>;

/** Whether the column of a field has no nulls. */
export function isRequired({ name, required }: Field, { timestampColumn, keyFields }: KeyColumns): boolean {
  return required === true || name === timestampColumn || keyFields.includes(name);
}

/** The names of the fields without which a row is invalid, with the timestamp first. */
export function requiredFields({ timestampColumn, keyFields, fields }: KeyColumns & { fields: Field[] }): string[] {
  const others = fields.filter((field) => {
    return field.required === true && field.default === undefined && !keyFields.includes(field.name);
  });
  return [timestampColumn, ...keyFields, ...others.map(({ name }) => name)];
}

/** Whether an absent value is empty instead of null. */
export function isNeverNull(type: FieldType): boolean {
  return type === 'string[]' || type === 'map' || type.startsWith('vector');
}

export function precisionOf({ timestampPrecision }: Pick<TableSchema, 'timestampPrecision'>): TimePrecision {
  return timestampPrecision ?? oldPrecision;
}

/** The ClickHouse type of a timestamp with this precision. */
export function timeType(precision: TimePrecision): string {
  return `DateTime64(${precision}, ${quoteString('UTC')})`;
}

function plainType(type: FieldType, precision: TimePrecision): string {
  if (isDecimal(type)) return `Decimal(${decimalSize(type).precision}, ${decimalSize(type).scale})`;
  switch (type) {
    case 'timestamp':
      return timeType(precision);
    case 'string':
    case 'json':
      return 'String';
    case 'double':
      return 'Float64';
    case 'integer':
      return 'Int64';
    case 'unsigned':
      return 'UInt64';
    case 'boolean':
      return 'Bool';
    case 'string[]':
      return 'Array(String)';
    case 'map':
      return 'Map(LowCardinality(String), String)';
    default:
      return 'Array(Float32)';
  }
}
