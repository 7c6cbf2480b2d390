import { askLong } from '../../../catalog/object-table.ts';
import { quoteName, quoteString } from '../../../core/identifiers.ts';
import { clickhouseType, type Field, isNeverNull, precisionOf, type TableSchema } from '../../../schema/types.ts';
import type { OperationNode } from '../../deps.ts';
import { stagingName } from '../staging.ts';
import { cellJson } from './csv-rows.ts';
import type { SourceMember, SourceRow } from './text-rows.ts';
import { fieldValue, type Wrong } from './values.ts';

/** A row that cannot be one of the table. */
export type WrongSource = Wrong & { field: string; value: string };

type Slot = { field: Field; index: number; isRequired: boolean; absent: string };

const valueChars_max = 100;

/** Makes rows of a source into those of a table, by its fields. */
export class RowMaker {
  readonly schema: TableSchema;
  readonly fields: Field[];
  readonly #slots: Map<string, Slot>;
  readonly #how: { jsonInStrings: boolean; isTyped: boolean };

  /** @param how whether `json` fields are text that holds JSON; whether values have types of their own, as in Parquet */
  constructor(schema: TableSchema, fields: Field[], how: { jsonInStrings: boolean; isTyped: boolean }) {
    this.schema = schema;
    this.fields = fields;
    this.#how = how;
    this.#slots = new Map(fields.map((field, index) => [field.name, this.#slot(field, index)]));
  }

  #slot(field: Field, index: number): Slot {
    const { name, type, default: text } = field;
    const isRequired = name === this.schema.timestampColumn || this.schema.keyFields.includes(name);
    if (text === undefined) return { field, index, isRequired, absent: emptyOf(field) };
    const value = fieldValue(type, type === 'json' ? (JSON.parse(text) as string) : text, precisionOf(this.schema));
    return { field, index, isRequired, absent: typeof value === 'string' ? value : 'null' };
  }

  /** @returns JSON text for `insertChecked` */
  row({ members }: SourceRow, place: number): string | WrongSource {
    const values: (string | undefined)[] = new Array(this.fields.length);
    const names = new Set<string>();
    for (const member of members) {
      const { name } = member;
      if (names.has(name))
        return { reason: 'duplicate-field', detail: 'the row names it twice', field: name, value: '' };
      names.add(name);
      const slot = this.#slots.get(name);
      if (slot === undefined) continue;
      const value = this.#value(slot, member);
      if (typeof value !== 'string') return value;
      values[slot.index] = value;
    }
    for (const { field, index, isRequired, absent } of this.#slots.values()) {
      if (isRequired && (values[index] ?? 'null') === 'null') {
        return { reason: 'missing', detail: 'every row has it', field: field.name, value: 'null' };
      }
      values[index] ??= absent;
    }
    return `[${place},${values.join(',')}]`;
  }

  #value({ field }: Slot, { raw: given, kind }: SourceMember): string | WrongSource {
    const { name, type } = field;
    if (typeof given === 'object') return { ...given, field: name, value: '' };
    const raw = typeof given === 'string' ? this.#meant(given, field, kind) : given(type);
    if (raw === 'null') return emptyOf(field);
    const isTime = kind === 'time' && type === 'timestamp';
    const value = isTime
      ? { reason: 'bad-timestamp', detail: 'a time of day is no timestamp' }
      : fieldValue(type, raw, precisionOf(this.schema));
    if (typeof value === 'string') return value;
    return { ...value, field: name, value: shown(raw) };
  }

  /** Text of a column of text is a value of the field's type, as a cell is. */
  #meant(raw: string, { type }: Field, kind: SourceMember['kind']): string {
    const { jsonInStrings, isTyped } = this.#how;
    if (kind === 'json' && type === 'string') return JSON.stringify(raw);
    if (!raw.startsWith('"') || type === 'string') return raw;
    if (isTyped && kind === 'date' && type === 'timestamp') return `${raw.slice(0, -1)}T00:00:00Z"`;
    const text = JSON.parse(raw) as string;
    const isText = isTyped || (jsonInStrings && type === 'json' && text.trim() !== 'null');
    return isText ? cellJson({ text, isQuoted: true }, type) : raw;
  }
}

/** The beginning of a value, of text without its quotes. */
function shown(raw: string): string {
  const text = raw.startsWith('"') ? (JSON.parse(raw) as string) : raw;
  return text.toWellFormed().slice(0, valueChars_max).toWellFormed();
}

function emptyOf({ type }: Field): string {
  if (!isNeverNull(type)) return 'null';
  return type === 'map' ? '{}' : '[]';
}

/** How a field is handed over, and what makes the value of it in SQL. */
function inputOf(field: Field, schema: TableSchema): { type: string; value(x: string): string } {
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

/** Puts rows into the staging table. Throws StoreError, ClickHouseError. */
export async function insertChecked(
  node: OperationNode,
  staging: string,
  { schema, fields }: RowMaker,
  { attempt, object }: { attempt: number; object: number },
  rows: string[],
): Promise<void> {
  if (rows.length === 0) return;
  const inputs = fields.map((field) => inputOf(field, schema));
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
