import { ApiError } from '../core/errors.ts';
import { type Cell, CsvReader, type CsvRecord, type OpenQuoteError } from './csv-reader.ts';
import { notNumberOf } from './double.ts';
import type { Member } from './json-reader.ts';
import { missingName, type Rename, renamed } from './rename.ts';
import type { FieldType } from './types.ts';

export type { Cell } from './csv-reader.ts';

/** A row with the names of the first line. */
export type CsvRow = CsvRecord & { names: string[] };

/**
 * Reads CSV with field names in its first line. A row with more or fewer cells than names has a `problem`.
 *
 * @throws ApiError `malformed-body` for a missing or invalid first line; OpenQuoteError
 */
export function* readCsv(text: string, rename?: Rename): Generator<CsvRow> {
  const reader = new CsvReader(text);
  const names = namesIn(reader.next(), rename);
  for (let record = reader.next(); record !== undefined; record = reader.next()) yield rowOf(record, names);
}

/** The names in a first line. Throws ApiError `malformed-body`. */
function namesIn(header: CsvRecord | undefined, rename: Rename | undefined): string[] {
  if (header === undefined) throw new ApiError('malformed-body', 'The body is empty; send a line of names and rows.');
  const problem = headerProblem(header, rename);
  if (problem !== undefined) throw malformedCsv(header.line, problem);
  return header.cells.map(({ text }) => renamed(rename, text));
}

/** The problem of a first line that has no valid field names. */
export function headerProblem({ problem, cells }: CsvRecord, rename: Rename | undefined): string | undefined {
  const names = cells.map(({ text }) => text);
  const other = delimiterOf(names);
  const missing = missingName(rename, names);
  return (
    problem ??
    (other && `its cells are separated by ${other}; send it with commas between them`) ??
    (missing === undefined ? undefined : `it has no name ${missing}, which is to be renamed`)
  );
}

/** The likely delimiter of a first line without commas. */
function delimiterOf(names: string[]): string | undefined {
  const [only = ''] = names;
  if (names.length > 1) return undefined;
  if (only.includes(';')) return 'semicolons';
  if (only.includes('\t')) return 'tabs';
  return only.includes('|') ? 'vertical bars' : undefined;
}

export function rowOf(record: CsvRecord, names: string[]): CsvRow {
  const { length } = record.cells;
  const isWhole = length === names.length;
  const problem =
    record.problem ?? (isWhole ? undefined : `the row has ${length} cells and the first line ${names.length} names`);
  return { ...record, names, ...(problem !== undefined && { problem }) };
}

/** The error for an invalid line of a body. */
export function malformedCsv(line: number, problem: string): ApiError {
  return new ApiError('malformed-body', `The body is not valid CSV at line ${line}: ${problem}.`);
}

export const malformedOpenQuote = ({ line }: OpenQuoteError): ApiError =>
  malformedCsv(line, 'a quote is opened there and not closed');

/** A row as CSV with its own first line. */
export function csvText({ names, cells }: CsvRow): string {
  const quotedText = (text: string) => `"${text.replaceAll('"', '""')}"`;
  const ofCells = cells.map(({ text, quoted }) => (quoted ? quotedText(text) : text));
  return `${names.map(quotedText).join()}\n${ofCells.join()}\n`;
}

/** Converts the cells of a row to members, by the types of their fields. */
export function membersOf({ names, cells }: CsvRow, typeOf: (name: string) => FieldType | undefined): Member[] {
  return cells.map((cell, i) => {
    const name = names[i] ?? '';
    return cellMember(name, cell, typeOf(name));
  });
}

const numberForm = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;

/**
 * Converts a cell to a member of a JSON row. CSV has no types, so the type of the field determines the value. An empty cell is
 * null; a quoted empty cell is the empty string.
 *
 * @param type type of the field; undefined if it is inferred from the cell
 */
export function cellMember(name: string, { text, quoted }: Cell, type: FieldType | undefined): Member {
  if (text === '' && !quoted) return { name, kind: 'null', text: 'null', escaped: false };
  if (type === 'string' || (quoted && type === undefined)) return stringMember(name, text);
  if (text === 'true' || text === 'false') return { name, kind: text, text, escaped: false };
  if (type !== 'json' && numberForm.test(text)) return { name, kind: 'number', text, escaped: false };
  if (type === 'double') return stringMember(name, notNumberOf(text) ?? text);
  if (type === 'json' || type === 'string[]' || type === 'map' || type?.startsWith('vector'))
    return jsonMember(name, text);
  return stringMember(name, text);
}

function stringMember(name: string, text: string): Member {
  const json = JSON.stringify(text);
  return { name, kind: 'string', text: json, escaped: json.length !== text.length + 2 };
}

/** JSON text stays unchanged; other text becomes a string, which the field accepts or rejects. */
function jsonMember(name: string, text: string): Member {
  try {
    const value: unknown = JSON.parse(text);
    const kind = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
    if (kind === 'array' || kind === 'object' || kind === 'number' || kind === 'null') {
      return { name, kind, text: text.trim(), escaped: false };
    }
    if (kind === 'boolean') return { name, kind: value ? 'true' : 'false', text: text.trim(), escaped: false };
    return { name, kind: 'string', text: text.trim(), escaped: true };
  } catch {
    return stringMember(name, text);
  }
}
