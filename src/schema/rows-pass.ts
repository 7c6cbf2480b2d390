import { ApiError } from '../core/errors.ts';
import type { Limits } from '../core/limits.ts';
import { inferType, isEmptyArray, type Refusal } from './coerce.ts';
import { type CsvRow, malformedCsv, membersOf } from './csv.ts';
import { FieldNames } from './field-name.ts';
import { type JsonReader, JsonSyntaxError, type Member, objectText, unwrapped } from './json-reader.ts';
import { LineCounter } from './line-counter.ts';
import { PlainRows } from './plain-row.ts';
import { type OpenField, outsideOf, type PreparedRows, type RowChecks } from './prepared-rows.ts';
import { renamed } from './rename.ts';
import { RowErrors } from './row-errors.ts';
import { isLarger, utf8BytesOfUnit } from './row-size.ts';
import { knownSlot, newSlot, otherType, type Slot, storedValue } from './slot.ts';
import { parseTimestamp, storedTimestamp, type TimePrecision, tooFine } from './timestamp.ts';
import { type Field, type FieldType, precisionOf, requiredFields, type TableSchema } from './types.ts';

/** One pass over all rows of a request, in any format. */
export class RowsPass {
  /** New fields whose type changed: the rows must be read again. */
  readonly rehint = new Map<string, FieldType>();
  /** Names in rows, including names that are not fields. */
  readonly #seen = new Set<string>();
  readonly #schema: TableSchema;
  readonly #precision: TimePrecision;
  readonly #required: string[];
  readonly #limits: Limits;
  readonly #hints: Map<string, FieldType>;
  readonly #slots = new Map<string, Slot>();
  readonly #names: FieldNames;
  readonly #lines: string[] = [];
  readonly #times_ms: number[] = [];
  readonly #errors: RowErrors;
  readonly #checks: RowChecks;
  readonly #defaults: Field[];
  readonly #counter: LineCounter;
  #plain: PlainRows<Slot> | undefined;
  /** Counts readings of rows: a row that is read again counts twice. */
  #reading = 0;
  /** The current row as sent; for CSV, the equivalent JSON. */
  #source = () => '';
  #csv: CsvRow | undefined;
  /** Changes of the current row to fields. They apply only if the row is accepted. */
  #newNames: string[] = [];
  #fractions: Slot[] = [];
  #index = -1;
  /** The first line of the current row. */
  #line = () => 1;
  #member: Member | undefined;

  constructor(schema: TableSchema, limits: Limits, hints: Map<string, FieldType>, checks: RowChecks) {
    this.#checks = checks;
    this.#errors = new RowErrors(checks.keepRefused ?? 0);
    this.#defaults = schema.fields.filter((field) => field.default !== undefined);
    this.#schema = schema;
    this.#precision = precisionOf(schema);
    this.#required = requiredFields(schema);
    this.#limits = limits;
    this.#hints = hints;
    for (const field of schema.fields) this.#slots.set(field.name, knownSlot(field, checks.open?.get(field.name)));
    this.#counter = new LineCounter(checks.firstLine ?? 1);
    this.#names = new FieldNames(this.#slots.keys());
  }

  /** A row of CSV. */
  csvRow(row: CsvRow, text: string): void {
    const { cells, problem, line } = row;
    this.#begin();
    this.#line = () => line;
    if (problem !== undefined) {
      if (!this.#checks.setsAside) throw malformedCsv(line, problem);
      this.#source = () => text.slice(row.start, row.end);
      this.#refuse(null, { reason: 'malformed', detail: problem });
      return;
    }
    const members = membersOf(row, (name) => this.#slots.get(name)?.type ?? this.#hints.get(name));
    this.#source = () => objectText(members);
    this.#csv = row;
    this.#take(members, cells.map(({ text: cell }) => cell).join(), true);
  }

  row(reader: JsonReader): void {
    this.#begin();
    const isObject = reader.peek() === '{';
    const start = reader.offset;
    this.#source = () => reader.text.slice(start, reader.offset);
    if (isObject && this.#takePlain(reader, start)) return;
    this.#line = () => this.#counter.lineAt(reader.text, start);
    try {
      if (isObject) this.#take(this.#named(reader.members()), reader.text.slice(start, reader.offset), false);
      else {
        reader.value();
        this.#refuse(null, { reason: 'not-an-object', detail: 'a row is a JSON object' });
      }
    } catch (error) {
      if (!(error instanceof JsonSyntaxError) || !this.#checks.setsAside) throw error;
      const end = reader.text.indexOf('\n', start);
      reader.moveTo(end < 0 ? reader.text.length : end);
      this.#refuse(null, { reason: 'malformed', detail: `the line is not valid JSON: ${error.message}` });
    }
  }

  /** Whether the fast path has read the row. */
  #takePlain(reader: JsonReader, start: number): boolean {
    const { refuse, rename } = this.#checks;
    if (refuse?.has(this.#index) || rename !== undefined) return false;
    this.#plain ??= new PlainRows(reader.text, this.#slots, this.#schema);
    const row = this.#plain.read(start, this.#reading);
    const isTaken =
      row !== undefined &&
      (row.end - start) * utf8BytesOfUnit <= this.#limits.row_bytes_max &&
      outsideOf(this.#checks, row) === undefined &&
      this.#required.every((name) => this.#slots.get(name)?.lastReading === this.#reading) &&
      this.#defaults.every(({ name }) => this.#slots.get(name)?.lastReading === this.#reading);
    if (isTaken) {
      this.#lines.push(row.line);
      this.#times_ms.push(row.time_ms);
      reader.moveTo(row.end);
    } else {
      this.#reading += 1;
    }
    return isTaken;
  }

  /** Renames members to their fields. A rejected row is stored with the new names. */
  #named(members: Member[]): Member[] {
    const { rename } = this.#checks;
    if (rename === undefined) return members;
    const named = members.map((member) => ({ ...member, name: renamed(rename, member.name) }));
    this.#source = () => objectText(named);
    return named;
  }

  #begin(): void {
    this.#member = undefined;
    this.#csv = undefined;
    this.#index += 1;
    this.#reading += 1;
    if (this.#index < this.#limits.request_rows_max) return;
    throw new ApiError(
      'limit-exceeded',
      `More than ${this.#limits.request_rows_max} rows in one request (limit request_rows_max); send them in several.`,
    );
  }

  /** @param source text with the length of the row as sent */
  #take(members: Member[], source: string, isText: boolean): void {
    if (this.#checks.refuse?.has(this.#index)) {
      this.#refuse(null, { reason: 'refused-before', detail: 'rejected at the first attempt of this request' });
      return;
    }
    if (isLarger(source, this.#limits.row_bytes_max)) {
      const detail = `a row has at most ${this.#limits.row_bytes_max} bytes (limit row_bytes_max)`;
      this.#refuse(null, { reason: 'too-large', detail });
      return;
    }
    const line = this.#lineOf(members, isText);
    if (line !== undefined) {
      this.#lines.push(line);
      for (const slot of this.#fractions) slot.hasFraction = true;
    } else {
      for (const name of this.#newNames) {
        this.#slots.delete(name);
        this.#names.delete(name);
      }
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
      errors: this.#errors.errors,
      errorsTotal: this.#errors.total,
      refused: this.#errors.refused,
    };
  }

  /** Fields whose types can still change. */
  open(): Map<string, OpenField> {
    const open = [...this.#slots].filter(([, { isOpen }]) => isOpen);
    return new Map(open.map(([name, { hasFraction, isEmpty }]) => [name, { hasFraction, isEmpty }]));
  }

  /** Index of the current row. */
  get place(): number {
    return this.#index;
  }

  /** Names in rows, including names that are not fields. */
  seen(): Set<string> {
    for (const [name, { lastReading }] of this.#slots) if (lastReading >= 0) this.#seen.add(name);
    return this.#seen;
  }

  /** The stored line of a row; undefined for an invalid row. */
  #lineOf(members: Member[], isText: boolean): string | undefined {
    let line = '';
    let time_ms: number | undefined;
    let reread: [field: string, refusal: Refusal] | undefined;
    /** Names of null members without a field. */
    const unknown = new Set<string>();
    for (const member of members) {
      this.#member = member;
      if (this.#checks.only !== undefined && !this.#checks.only.has(member.name)) {
        this.#seen.add(member.name);
        continue;
      }
      const slot = this.#slots.get(member.name) ?? this.#add(member);
      if (unknown.has(member.name)) return this.#twice(member.name);
      if (slot === undefined) {
        unknown.add(member.name);
        this.#seen.add(member.name);
        continue;
      }
      if ('reason' in slot) return this.#refuse(member.name, slot);
      if (slot.lastReading === this.#reading) return this.#twice(member.name);
      slot.lastReading = this.#reading;
      // Null equals absent, which is shorter. Required fields are checked below.
      if (member.kind === 'null') {
        const known = this.#defaults.find(({ name }) => name === member.name);
        const text = known?.required ? known.default : 'null';
        if (known !== undefined) line += `${line === '' ? '' : ','}${slot.nameJson}:${text}`;
        continue;
      }
      if (member.name === this.#schema.timestampColumn) {
        const parsed = parseTimestamp(member);
        if ('reason' in parsed) return this.#refuse(member.name, parsed);
        const problem = tooFine(parsed, this.#precision) ?? outsideOf(this.#checks, parsed);
        if (problem !== undefined) return this.#refuse(member.name, problem);
        time_ms = parsed.time_ms;
        line += `${line === '' ? '' : ','}${slot.nameJson}:"${storedTimestamp(parsed.time_ms, parsed.finer)}"`;
        continue;
      }
      const value = slot.type === 'json' && !isText ? unwrapped(member) : member;
      const stored = storedValue(slot, value, this.#precision);
      const other = otherType(slot, member, stored, isText);
      if (other !== undefined) this.rehint.set(member.name, other);
      if (typeof stored !== 'string') {
        if (other === undefined) return this.#refuse(member.name, stored);
        reread ??= [member.name, stored];
        continue;
      }
      if (slot.isEmpty && !isEmptyArray(member)) slot.isEmpty = false;
      if (slot.isOpen && slot.type === 'double' && !/^-?[0-9]+$/.test(stored)) this.#fractions.push(slot);
      line += `${line === '' ? '' : ','}${slot.nameJson}:${stored}`;
    }
    this.#member = undefined;
    if (reread !== undefined) return this.#refuse(...reread);
    if (time_ms === undefined) {
      return this.#refuse(this.#schema.timestampColumn, { reason: 'missing', detail: 'every row needs a timestamp' });
    }
    for (const name of this.#required) {
      if (!members.some((member) => member.name === name && member.kind !== 'null')) {
        const kind = this.#schema.keyFields.includes(name) ? 'key' : 'required';
        return this.#refuse(name, { reason: 'missing', detail: `a ${kind} field cannot be null or absent` });
      }
    }
    for (const { name, default: text } of this.#defaults) {
      // An absent field gets its default, a null field does not.
      if (this.#slots.get(name)?.lastReading !== this.#reading) line += `,${JSON.stringify(name)}:${text}`;
    }
    this.#times_ms.push(time_ms);
    return `${line}}`;
  }

  /** Adds a new field with the type of its value. */
  #add(member: Member): Slot | Refusal | undefined {
    const problem = this.#names.problemOf(member.name);
    if (problem !== undefined) return { reason: 'bad-name', detail: problem };
    const inferred = this.#hints.get(member.name) ?? inferType(member);
    if (inferred === undefined) return undefined;
    // ClickHouse treats lists with the same prefix before a dot as one nested table, and rejects different lengths.
    const type = inferred === 'string[]' && member.name.includes('.') ? 'json' : inferred;
    const { table_fields_max } = this.#limits;
    if (this.#slots.size >= table_fields_max) {
      const detail = `a table has at most ${table_fields_max} fields (limit table_fields_max)`;
      return { reason: 'too-many-fields', detail };
    }
    const slot = newSlot(member.name, type, true);
    slot.isEmpty = type === 'json' && isEmptyArray(member);
    this.#slots.set(member.name, slot);
    this.#names.add(member.name);
    this.#newNames.push(member.name);
    return slot;
  }

  #twice(field: string): undefined {
    return this.#refuse(field, { reason: 'duplicate-field', detail: 'the row names this field twice' });
  }

  #refuse(field: string | null, refusal: Refusal): undefined {
    this.#errors.add(this.#index, field, refusal, () => {
      return { source: this.#source(), line: this.#line(), member: this.#member, csv: this.#csv };
    });
  }
}
