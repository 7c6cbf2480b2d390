import { ApiError } from '../core/errors.ts';
import type { Limits } from '../core/limits.ts';
import { coerce } from './coerce.ts';
import { isDecimal } from './decimal.ts';
import { FieldNames } from './field-name.ts';
import { JsonReader } from './json-reader.ts';
import { newPrecision, type TimePrecision } from './timestamp.ts';
import { type Field, type FieldType, isNeverNull, precisionOf, type TableSchema } from './types.ts';

type DeclaredField = {
  name: string;
  type: FieldType;
  /** The values that the field may have. */
  values?: (string | number)[] | undefined;
  required?: true | undefined;
};

/** The schema that a request declares, in addition to the fields of its rows. */
export type DeclaredSchema = {
  fields: DeclaredField[];
  /** The value of a new field in rows without it, including rows stored before; as JSON text. */
  defaults: { name: string; json: string }[];
  timestampColumn?: string | undefined;
  /** For a new table. Default: nine fractional digits. */
  timestampPrecision?: TimePrecision | undefined;
  keyFields?: string[] | undefined;
};

/** The schema that rows are checked against, and its fields that the table does not have yet. */
export type MergedSchema = { schema: TableSchema; added: Field[] };

const keyTypes: FieldType[] = ['string', 'integer', 'unsigned', 'boolean', 'timestamp'];

/**
 * Merges the declared schema of a request into the schema of a table. It only adds fields.
 *
 * @param known the schema of the table; undefined for a new table
 * @throws ApiError `schema-refused` with the field and its old and new type
 */
export function mergeSchema(
  known: TableSchema | undefined,
  declared: DeclaredSchema | undefined,
  limits: Limits,
): MergedSchema {
  const base = known ?? firstSchema(declared);
  if (declared === undefined) return { schema: base, added: [] };
  const tooMany = () => refused(`a table has at most ${limits.table_fields_max} fields (limit table_fields_max)`, {});
  if (declared.fields.length > limits.table_fields_max) throw tooMany();
  if (known !== undefined) requireSame(known, declared);
  const version = known === undefined ? base.version : known.version + 1;
  const fields = new Map(base.fields.map((field) => [field.name, field]));
  const names = new FieldNames(fields.keys());
  const added: Field[] = [];
  for (const declaredField of declared.fields) {
    const { name, type } = declaredField;
    const there = fields.get(name);
    if (there !== undefined) {
      if (there.type !== type) throw typeConflict(name, there.type, type);
      continue;
    }
    const problem = names.problemOf(name) ?? listProblem(name, type);
    if (problem !== undefined) throw refused(`schema.fields: ${name || 'a field'}: ${problem}`, { field: name });
    const field: Field = { name, type, ...constraintsOf(declaredField, base) };
    fields.set(name, field);
    names.add(name);
    added.push(field);
  }
  for (const { name, json } of declared.defaults) setDefault(fields.get(name), added, base, version, name, json);
  if (fields.size > limits.table_fields_max) throw tooMany();
  const defaults = [...fields.values()].reduce((sum, field) => sum + Buffer.byteLength(field.default ?? ''), 0);
  // Defaults are in every cached definition, and a flush prefixes them to each older row.
  if (added.length > 0 && defaults > limits.table_defaults_bytes_max) {
    throw refused(
      `the defaults of a table have at most ${limits.table_defaults_bytes_max} bytes (limit table_defaults_bytes_max)`,
      {},
    );
  }
  requireKeys(base, fields);
  return { schema: { ...base, fields: [...fields.values()] }, added };
}

/** Of a table that is not there yet, but for the fields that are declared and that the first rows bring. */
function firstSchema(declared: DeclaredSchema | undefined): TableSchema {
  const timestampColumn = declared?.timestampColumn ?? 'timestamp';
  return {
    version: 1,
    timestampColumn,
    timestampPrecision: declared?.timestampPrecision ?? newPrecision,
    keyFields: declared?.keyFields ?? [],
    fields: [{ name: timestampColumn, type: 'timestamp' }],
  };
}

function requireSame(known: TableSchema, declared: DeclaredSchema): void {
  const { timestampColumn = known.timestampColumn, keyFields = known.keyFields } = declared;
  if (timestampColumn !== known.timestampColumn) {
    throw refused(`schema.timestampColumn: it is ${known.timestampColumn} and cannot change; ${newTable}`, {});
  }
  const { timestampPrecision = precisionOf(known) } = declared;
  if (timestampPrecision !== precisionOf(known)) {
    throw refused(`schema.timestampPrecision: it is ${precisionOf(known)} and cannot change; ${newTable}`, {});
  }
  if (String(keyFields) !== String(known.keyFields)) {
    throw refused(`schema.keyFields: they are [${known.keyFields.join(', ')}] and cannot change; ${newTable}`, {});
  }
}

function requireKeys({ keyFields, timestampColumn }: TableSchema, fields: Map<string, Field>): void {
  for (const key of keyFields) {
    const field = fields.get(key);
    if (field === undefined || key === timestampColumn) {
      throw refused(`schema.keyFields: ${key} is not among the fields besides the timestamp`, { field: key });
    }
    if (!keyTypes.includes(field.type) && !isDecimal(field.type)) {
      throw refused(`schema.keyFields: ${key} is ${field.type}; a key is one of ${keyTypes.join(', ')}, decimal`, {
        field: key,
      });
    }
  }
}

/** Types whose equal values have equal stored texts. */
function isListed(type: FieldType): boolean {
  return type === 'string' || type === 'integer' || type === 'unsigned';
}

function constraintsOf({ name, type, values, required }: DeclaredField, table: TableSchema) {
  if (values !== undefined && !isListed(type)) {
    throw refused(`schema.fields: ${name} is ${type}; values can be listed for string, integer and unsigned`, {
      field: name,
    });
  }
  const texts = values?.map((value) => {
    const stored = coerce(type, new JsonReader(JSON.stringify(value)).value(), precisionOf(table));
    if (typeof stored === 'string') return stored;
    throw refused(`schema.fields: ${name}: ${JSON.stringify(value)}: ${stored.detail}`, { field: name });
  });
  return { ...(texts !== undefined && { values: texts }), ...(required === true && { required }) };
}

function setDefault(
  field: Field | undefined,
  added: Field[],
  table: TableSchema,
  version: number,
  name: string,
  json: string,
): void {
  const place = 'schema.evolution.defaults';
  if (field === undefined) throw refused(`${place}: ${name} is not among the fields`, { field: name });
  const value = new JsonReader(json).value();
  if (value.kind === 'null') return;
  const stored = coerce(field.type, value, precisionOf(table));
  if (typeof stored !== 'string') throw refused(`${place}: ${name}: ${stored.detail}`, { field: name });
  if (field.default === stored) return;
  if (!added.includes(field)) {
    const existing = field.default === undefined ? 'has no default' : `has the default ${field.default}`;
    throw refused(`${place}: ${name} exists already and ${existing}. Leave the default out, or use a new field`, {
      field: name,
    });
  }
  field.default = stored;
  field.since = version;
}

function listProblem(name: string, type: FieldType): string | undefined {
  const hasDot = isNeverNull(type) && name.includes('.');
  return hasDot ? 'a list or a map cannot have a dot in its name; declare it as json' : undefined;
}

const newTable = 'send to a new table instead';

function typeConflict(name: string, oldType: FieldType, newType: FieldType): ApiError {
  return refused(
    `schema.fields: ${name} is ${oldType} and cannot become ${newType}. Send its values as ${oldType}, or under a new name, ` +
      'or to a new table',
    { field: name, row: null, oldType, newType },
  );
}

function refused(detail: string, extra: Record<string, unknown>): ApiError {
  return new ApiError('schema-refused', `${detail}.`, { extra });
}
