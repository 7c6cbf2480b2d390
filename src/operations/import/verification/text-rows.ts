import { type Rename, renamed } from '../../../schema/rename.ts';
import type { FieldType } from '../../../schema/types.ts';
import type { TextObject } from '../reading.ts';
import { lineFeedsIn, type TextPage } from '../text-lines.ts';
import { type CsvCell, cellJson, csvRows } from './csv-rows.ts';
import { jsonRows, NotARow } from './json-rows.ts';
import type { Kind } from './parquet-rows.ts';
import type { Wrong } from './values.ts';

/** A value as JSON text; for CSV it depends on the field's type. */
export type SourceMember = { name: string; raw: string | Wrong | ((type: FieldType) => string); kind?: Kind };

export type SourceRow = { members: SourceMember[]; line?: number };

/** Reads the complete rows of a part of a text. */
export class TextReader {
  readonly #format: 'ndjson' | 'csv';
  readonly #text: string;
  readonly #isLast: boolean;
  readonly seen = new Set<string>();
  /** Line of the next row, from 1. */
  line: number;
  #names: string[] | undefined;
  readonly #rename: Rename | undefined;
  #row: number;
  #end = 0;

  constructor(
    format: 'ndjson' | 'csv',
    { line, names, row }: TextObject,
    text: string,
    isLast: boolean,
    rename?: Rename,
  ) {
    this.#rename = rename;
    this.#format = format;
    this.#text = text;
    this.#isLast = isLast;
    this.#names = names;
    this.#row = row;
    this.line = line;
  }

  /** The text after the last complete row. */
  get rest(): string {
    return this.#text.slice(this.#end);
  }

  /** Progress in the object after the page. */
  after(page: TextPage): Pick<TextObject, 'line' | 'row' | 'place' | 'names'> {
    const place = page.place + lineFeedsIn(page.text) - lineFeedsIn(this.rest);
    return { place, line: this.line, row: this.#row, ...(this.#names !== undefined && { names: this.#names }) };
  }

  /** @param createError creates the error for text that is not a row */
  *rows(createError: (message: string, row: number, line: number) => Error): Generator<SourceRow> {
    try {
      yield* this.#format === 'csv' ? this.#csv() : this.#json();
    } catch (error) {
      if (!(error instanceof NotARow)) throw error;
      throw createError(
        error.message,
        this.#row + 1,
        this.line + lineFeedsIn(this.#text.slice(this.#end, error.start)),
      );
    }
  }

  *#json(): Generator<SourceRow> {
    const rows = jsonRows(this.#text, this.#isLast);
    for (let next = rows.next(); ; next = rows.next()) {
      if (next.done) return this.#moveTo(next.value);
      const { row, start, end } = next.value;
      this.#moveTo(start);
      const { line } = this;
      this.#moveTo(end);
      this.#row += 1;
      const members = row.map(({ name, raw }) => ({ name: renamed(this.#rename, name), raw }));
      for (const { name } of members) this.seen.add(name);
      yield { members, line };
    }
  }

  *#csv(): Generator<SourceRow> {
    const rows = csvRows(this.#text, this.#isLast);
    for (let next = rows.next(); ; next = rows.next()) {
      if (next.done) return this.#moveTo(next.value);
      const { row, start, end } = next.value;
      this.#moveTo(start);
      const { line } = this;
      const names = this.#names;
      if (names !== undefined && row.length !== names.length) {
        throw new NotARow(`the row has ${row.length} cells and the first line ${names.length} names`, start);
      }
      this.#moveTo(end);
      if (names === undefined) this.#header(row, start);
      else {
        this.#row += 1;
        yield { members: row.map((cell, i) => member(names[i] ?? '', cell)), line };
      }
    }
  }

  #header(cells: CsvCell[], start: number): void {
    const names = cells.map(({ text }) => renamed(this.#rename, text));
    if (new Set(names).size < names.length) throw new NotARow('two columns have the same name', start);
    this.#names = names;
    for (const name of names) this.seen.add(name);
  }

  #moveTo(end: number): void {
    if (end <= this.#end) return;
    this.line += lineFeedsIn(this.#text.slice(this.#end, end));
    this.#end = end;
  }
}

const member = (name: string, cell: CsvCell): SourceMember => ({ name, raw: (type) => cellJson(cell, type) });
