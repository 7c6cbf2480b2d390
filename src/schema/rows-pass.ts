import type { Limits } from '../config.ts';
import { TimestoreError } from '../errors.ts';
import { coerce, inferType, type Refusal, type RefusalReason } from './coerce.ts';
import { type CsvRow, cellMember } from './csv.ts';
import type { JsonReader, Member } from './json-reader.ts';
import { parseTimestamp, storedTimestamp } from './timestamp.ts';
import type { Field, FieldType, TableSchema } from './types.ts';

/** A row that cannot be stored: its place in the request (from 0), the field at fault and why. */
export type RowError = { index: number; field: string | null; reason: RefusalReason; detail: string };

/** Rows of one request, ready to be staged. */
export type PreparedRows = {
  /** Each accepted row as a JSON object without its opening brace, in the stored form: `"field":…}`. No line breaks. */
  lines: string[];
  /** Event time of each, in ms. */
  times_ms: number[];
  /** Fields the schema does not have yet, with the types their values imply. */
  added: Field[];
  /** The first rows at fault, and how many there are. */
  errors: RowError[];
  errorsTotal: number;
};

const errorsListed = 100;
const nameLengthMax = 128;

type Slot = {
  type: FieldType;
  nameJson: string;
  /** The last row that named the field, to find one that names it twice. */
  lastRow: number;
  /** Not in the schema: the first accepted row of this request that has it makes it. */
  isNew: boolean;
  /** An accepted row has a value in it that is not whole. */
  hasFraction: boolean;
};

/** One reading of all rows of a request, in whatever form they come. */
export class RowsPass {
  /** A new field to read again as integers, from the start. */
  rehint: string | undefined;
  readonly #schema: TableSchema;
  readonly #limits: Limits;
  readonly #hints: Map<string, FieldType>;
  readonly #slots = new Map<string, Slot>();
  readonly #lines: string[] = [];
  readonly #times_ms: number[] = [];
  readonly #errors: RowError[] = [];
  /** What the row at hand would add and change: it counts only if the row is accepted. */
  #newNames: string[] = [];
  #fractions: Slot[] = [];
  #errorsTotal = 0;
  #index = -1;

  constructor(schema: TableSchema, limits: Limits, hints: Map<string, FieldType>) {
    this.#schema = schema;
    this.#limits = limits;
    this.#hints = hints;
    for (const { name, type } of schema.fields) this.#slots.set(name, newSlot(name, type, false));
  }

  /** A row of CSV. */
  csvRow({ names, cells }: CsvRow): void {
    this.#begin();
    const members = cells.map((cell, i) => {
      const name = names[i] ?? '';
      return cellMember(name, cell, this.#slots.get(name)?.type ?? this.#hints.get(name));
    });
    this.#take(members, cells.map(({ text }) => text).join());
  }

  row(reader: JsonReader): void {
    this.#begin();
    if (reader.peek() !== '{') {
      reader.value();
      this.#refuse(null, { reason: 'not-an-object', detail: 'a row is a JSON object' });
      return;
    }
    const start = reader.offset;
    const members = reader.members();
    this.#take(members, reader.text.slice(start, reader.offset));
  }

  #begin(): void {
    this.#index += 1;
    if (this.#index < this.#limits.request_rows_max) return;
    throw new TimestoreError(
      'limit-exceeded',
      `More than ${this.#limits.request_rows_max} rows in one request (limit request_rows_max); send them in several.`,
    );
  }

  /** @param source the row as it was sent */
  #take(members: Member[], source: string): void {
    if (isLarger(source, this.#limits.row_bytes_max)) {
      this.#refuse(null, {
        reason: 'too-large',
        detail: `a row has at most ${this.#limits.row_bytes_max} bytes (limit row_bytes_max)`,
      });
      return;
    }
    const line = this.#line(members);
    if (line !== undefined) {
      this.#lines.push(line);
      for (const slot of this.#fractions) slot.hasFraction = true;
    } else {
      for (const name of this.#newNames) this.#slots.delete(name);
    }
    this.#newNames = [];
    this.#fractions = [];
  }

  result(): PreparedRows {
    const added = [...this.#slots].filter(([, slot]) => slot.isNew).map(([name, slot]) => ({ name, type: slot.type }));
    return {
      lines: this.#lines,
      times_ms: this.#times_ms,
      added,
      errors: this.#errors,
      errorsTotal: this.#errorsTotal,
    };
  }

  /** The stored line of a row, or undefined when it is at fault. */
  #line(members: Member[]): string | undefined {
    let line = '';
    let time_ms: number | undefined;
    for (const member of members) {
      const slot = this.#slots.get(member.name) ?? this.#add(member);
      if (slot === undefined) {
        if (members.filter(({ name }) => name === member.name).length > 1) return this.#twice(member.name);
        continue;
      }
      if ('reason' in slot) return this.#refuse(member.name, slot);
      if (slot.lastRow === this.#index) return this.#twice(member.name);
      slot.lastRow = this.#index;
      // Null and absent are the same, and absent is shorter; fields that must be there are checked below.
      if (member.kind === 'null') continue;
      if (member.name === this.#schema.timestampColumn) {
        const parsed = parseTimestamp(member);
        if (typeof parsed !== 'number') return this.#refuse(member.name, parsed);
        time_ms = parsed;
        line += `${line === '' ? '' : ','}${slot.nameJson}:"${storedTimestamp(parsed)}"`;
        continue;
      }
      const stored = coerce(slot.type, member);
      if (typeof stored !== 'string') {
        if (slot.isNew && slot.type === 'double' && stored.reason === 'not-exact' && !slot.hasFraction) {
          this.rehint = member.name;
        }
        return this.#refuse(member.name, stored);
      }
      if (slot.isNew && slot.type === 'double' && !/^-?[0-9]+$/.test(stored)) this.#fractions.push(slot);
      line += `${line === '' ? '' : ','}${slot.nameJson}:${stored}`;
    }
    if (time_ms === undefined) {
      return this.#refuse(this.#schema.timestampColumn, { reason: 'missing', detail: 'every row has a timestamp' });
    }
    for (const key of this.#schema.keyFields) {
      if (!members.some((member) => member.name === key && member.kind !== 'null')) {
        return this.#refuse(key, { reason: 'missing', detail: 'a key field cannot be null or absent' });
      }
    }
    this.#times_ms.push(time_ms);
    return `${line}}`;
  }

  /** A field nobody has seen: it gets the type its value implies. */
  #add(member: Member): Slot | Refusal | undefined {
    const problem = nameProblem(member.name);
    if (problem !== undefined) return { reason: 'bad-name', detail: problem };
    const inferred = this.#hints.get(member.name) ?? inferType(member);
    if (inferred === undefined) return undefined;
    // ClickHouse takes lists whose names share what is before a dot for one nested table, and refuses other lengths.
    const type = inferred === 'string[]' && member.name.includes('.') ? 'json' : inferred;
    if (this.#slots.size >= this.#limits.table_fields_max) {
      return {
        reason: 'too-many-fields',
        detail: `a table has at most ${this.#limits.table_fields_max} fields (limit table_fields_max)`,
      };
    }
    // The other way round it is well: a.b may come after a.
    const nested = [...this.#slots.keys()].find((name) => name.startsWith(`${member.name}.`));
    if (nested !== undefined) {
      return {
        reason: 'bad-name',
        detail: `there is a field ${nested}, beside which ClickHouse adds none of this name`,
      };
    }
    const slot = newSlot(member.name, type, true);
    this.#slots.set(member.name, slot);
    this.#newNames.push(member.name);
    return slot;
  }

  #twice(field: string): undefined {
    return this.#refuse(field, { reason: 'duplicate-field', detail: 'the row names this field twice' });
  }

  #refuse(field: string | null, refusal: Refusal): undefined {
    this.#errorsTotal += 1;
    if (this.#errors.length < errorsListed) this.#errors.push({ index: this.#index, field, ...refusal });
  }
}

function newSlot(name: string, type: FieldType, isNew: boolean): Slot {
  return { type, nameJson: JSON.stringify(name), lastRow: -1, isNew, hasFraction: false };
}

/** Why a field cannot have this name; undefined if it can. */
function nameProblem(name: string): string | undefined {
  if (name === '') return 'a field has a name';
  if (name.startsWith('_')) return 'names that begin with _ are reserved';
  // ClickHouse makes such columns itself, beside the one they belong to, and then has two of the name.
  if (/\.(?:null|size\d*)$/.test(name)) return 'names that end with .null or .size are ClickHouse’s own';
  if (name.length > nameLengthMax) return `a name has at most ${nameLengthMax} characters`;
  if (/\p{Cc}/u.test(name) || !name.isWellFormed()) return 'a name has no control characters';
  return undefined;
}

/** A UTF-16 unit is at most 3 bytes of UTF-8: only text that may be over the limit is counted exactly. */
function isLarger(text: string, bytesMax: number): boolean {
  return text.length * 3 > bytesMax && new TextEncoder().encode(text).length > bytesMax;
}
