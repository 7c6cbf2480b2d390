import { askLong } from '../../../catalog/object-table.ts';
import { quoteName, quoteString } from '../../../core/identifiers.ts';
import { notAllowed } from '../../../schema/coerce.ts';
import {
  clickhouseType,
  type Field,
  isNeverNull,
  precisionOf,
  requiredFields,
  type TableSchema,
} from '../../../schema/types.ts';
import type { OperationNode } from '../../deps.ts';
import { stagingName } from '../staging.ts';
import { cellJson } from './csv-rows.ts';
import type { SourceMember, SourceRow } from './text-rows.ts';
import { fieldValue, type Wrong } from './values.ts';

/** Why a row of a source is invalid. */
export type WrongSource = Wrong & { field: string; value: string };

type Slot = { field: Field; index: number; isRequired: boolean; absent: string };

const valueChars_max = 100;

/** Converts rows of a source to rows of a table. */
export class RowMaker {
  readonly schema: TableSchema;
  readonly fields: Field[];
  readonly #slots: Map<string, Slot>;
  readonly #options: { jsonInStrings: boolean; isTyped: boolean };

  /** @param options whether strings in `json` fields contain JSON text; whether values have types of their own, as in Parquet */
  constructor(schema: TableSchema, fields: Field[], options: { jsonInStrings: boolean; isTyped: boolean }) {
    this.schema = schema;
    this.fields = fields;
    this.#options = options;
    this.#slots = new Map(fields.map((field, index) => [field.name, this.#slot(field, index)]));
  }

  #slot(field: Field, index: number): Slot {
    const { type, default: text } = field;
    const isNeeded = requiredFields(this.schema).includes(field.name);
    if (text === undefined) return { field, index, isRequired: isNeeded, absent: emptyValue(field) };
    const value = fieldValue(type, type === 'json' ? (JSON.parse(text) as string) : text, precisionOf(this.schema));
    return { field, index, isRequired: isNeeded, absent: typeof value === 'string' ? value : 'null' };
  }

  /** @returns JSON text for `insertChecked` */
  row({ members }: SourceRow, place: number): string | WrongSource {
    const values: (string | undefined)[] = new Array(this.fields.length);
    const names = new Set<string>();
    for (const member of members) {
      const { name } = member;
      if (names.has(name))
        return { reason: 'duplicate-field', detail: 'the row has this field twice', field: name, value: '' };
      names.add(name);
      const slot = this.#slots.get(name);
      if (slot === undefined) continue;
      const value = this.#value(slot, member);
      if (typeof value !== 'string') return value;
      values[slot.index] = value;
    }
    for (const { field, index, isRequired, absent } of this.#slots.values()) {
      if (isRequired && (values[index] ?? 'null') === 'null') {
        return { reason: 'missing', detail: 'every row needs this field', field: field.name, value: 'null' };
      }
      values[index] ??= absent;
    }
    return `[${place},${values.join(',')}]`;
  }

  #value({ field, absent }: Slot, { raw: given, kind }: SourceMember): string | WrongSource {
    const { name, type } = field;
    if (typeof given === 'object') return { ...given, field: name, value: '' };
    const raw = typeof given === 'string' ? this.#interpret(given, field, kind) : given(type);
    if (raw === 'null') return field.required ? absent : emptyValue(field);
    const isTime = kind === 'time' && type === 'timestamp';
    const value = isTime
      ? { reason: 'bad-timestamp', detail: 'a time of day is not a timestamp' }
      : fieldValue(type, raw, precisionOf(this.schema));
    const read = typeof value === 'string' ? (notAllowed(field.values, value) ?? value) : value;
    return typeof read === 'string' ? read : { ...read, field: name, value: shorten(raw) };
  }

  /** Text for a field of another type is read as its value, as a CSV cell is. */
  #interpret(raw: string, { type }: Field, kind: SourceMember['kind']): string {
    const { jsonInStrings, isTyped } = this.#options;
    if (kind === 'json' && type === 'string') return JSON.stringify(raw);
    if (!raw.startsWith('"') || type === 'string') return raw;
    if (isTyped && kind === 'date' && type === 'timestamp') return `${raw.slice(0, -1)}T00:00:00Z"`;
    const text = JSON.parse(raw) as string;
    const isText = isTyped || (jsonInStrings && type === 'json' && text.trim() !== 'null');
    return isText ? cellJson({ text, isQuoted: true }, type) : raw;
  }
}

/** The beginning of a value, without quotes. */
function shorten(raw: string): string {
  const text = raw.startsWith('"') ? (JSON.parse(raw) as string) : raw;
  return text.toWellFormed().slice(0, valueChars_max).toWellFormed();
}

function emptyValue({ type }: Field): string {
  if (!isNeverNull(type)) return 'null';
  return type === 'map' ? '{}' : '[]';
}

/** The input type of a field, and the SQL that converts the input to the field's value. */
function planInput(field: Field, schema: TableSchema): { type: string; value(x: string): string } {
  const whole = clickhouseType(field, schema);
  const orNull = (type: string) => (whole.startsWith('Nullable(') ? `Nullable(${type})` : type);
  if (field.type === 'timestamp') {
    const unit = { 3: 'Milli', 6: 'Micro', 9: 'Nano' }[precisionOf(schema)];
    return { type: orNull('Int64'), value: (x) => `fromUnixTimestamp64${unit}(${x}, 'UTC')` };
  }
  if (field.type === 'double') return { type: orNull('UInt64'), value: (x) => `reinterpret(${x}, 'Float64')` };
  if (field.type.startsWith('vector')) {
    return { type: 'Array(UInt32)', value: (x) => `arrayMap(item -> reinterpret(item, 'Float32'), ${x})` };
  }
  return { type: whole, value: (x) => x };
}

/** Inserts rows into the staging table. Throws StoreError, ClickHouseError. */
export async function insertChecked(
  node: OperationNode,
  staging: string,
  { schema, fields }: RowMaker,
  { attempt, object }: { attempt: number; object: number },
  rows: string[],
): Promise<void> {
  if (rows.length === 0) return;
  const inputs = fields.map((field) => planInput(field, schema));
  const structure = ['_place UInt64', ...inputs.map(({ type }, i) => `_v${i} ${type}`)].join(', ');
  const names = fields.map(({ name }) => quoteName(name)).join(', ');
  const values = inputs.map(({ value }, i) => value(`_v${i}`)).join(', ');
  await askLong(
    node,
    `INSERT INTO ${stagingName(staging)} (_attempt, _object, _place, ${names})
     SELECT {_attempt:UInt64}, {_object:UInt32}, _place, ${values} FROM input(${quoteString(structure)}) FORMAT JSONCompactEachRow\n${rows.join('\n')}\n`,
    {
      param__attempt: attempt,
      param__object: object,
      async_insert: 0,
      insert_deduplicate: 0,
      input_format_parallel_parsing: 0,
      max_insert_threads: 1,
      max_query_size: 4_194_304,
    },
  );
}
