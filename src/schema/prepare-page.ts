import type { Limits } from '../core/limits.ts';
import { headerProblem, rowOf } from './csv.ts';
import { CsvReader, lineEndsIn, OpenQuoteError } from './csv-reader.ts';
import { JsonReader, JsonSyntaxError } from './json-reader.ts';
import type { OpenField, PreparedRows, RowChecks } from './prepared-rows.ts';
import { renamed } from './rename.ts';
import { RowsPass } from './rows-pass.ts';
import type { FieldType, TableSchema } from './types.ts';

/** The state between the parts of a long text. */
export type PageState = {
  schema: TableSchema;
  /** Inferred types of new fields, as later values have changed them. */
  hints: Map<string, FieldType>;
  checks: RowChecks;
  /** CSV only, after the first line. */
  names: string[] | undefined;
};

export type Page = PreparedRows & {
  /** Names in rows, including names that are not fields. */
  seen: Set<string>;
  names: string[] | undefined;
  open: Map<string, OpenField>;
  /** The begin of an incomplete row at the end of the text. */
  rest: string;
};

/** A part of a text is malformed at a line. */
export class PageError extends Error {
  readonly line: number;
  /** Index of the row in the part. */
  readonly row: number;
  constructor(message: string, line: number, row: number) {
    super(message);
    this.name = 'PageError';
    this.line = line;
    this.row = row;
  }
}

const readings_max = 8;

/**
 * Prepares a part of a long text like the rows of a request. The part ends with a line.
 *
 * @param isLast whether this is the last part
 * @returns the rows; and changed types of fields of earlier parts, after which the text must be read again
 * @throws PageError
 */
export function preparePage(
  text: string,
  format: 'ndjson' | 'csv',
  isLast: boolean,
  state: PageState,
  limits: Limits,
): Page | { rehint: Map<string, FieldType> } {
  const hints = new Map(state.hints);
  for (let readings = 1; ; readings += 1) {
    const pass = new RowsPass(state.schema, { ...limits, request_rows_max: Number.MAX_SAFE_INTEGER }, hints, {
      ...state.checks,
      setsAside: false,
    });
    const read = format === 'csv' ? readCsvPage(text, isLast, state, pass) : readJsonPage(text, isLast, state, pass);
    if ([...pass.rehint.keys()].some((name) => state.checks.open?.has(name))) return { rehint: pass.rehint };
    if (pass.rehint.size === 0 || readings === readings_max) {
      return { ...pass.result(), seen: pass.seen(), open: pass.open(), names: read.names, rest: text.slice(read.end) };
    }
    for (const [name, type] of pass.rehint) hints.set(name, type);
  }
}

type Read = { end: number; names: string[] | undefined };

function readJsonPage(text: string, isLast: boolean, { checks, names }: PageState, pass: RowsPass): Read {
  const { firstLine = 1 } = checks;
  // A byte order mark is valid only at the beginning of a file.
  const isMarked = text.charCodeAt(0) === 0xfeff;
  if (isMarked && firstLine > 1) throw new PageError('a byte order mark stands within the text', firstLine, 0);
  const mark = isMarked ? 1 : 0;
  const reader = new JsonReader(text);
  let start = 0;
  try {
    while (!reader.atEnd()) {
      start = reader.offset;
      pass.row(reader);
    }
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    const offset = error.offset + mark;
    if (!isLast && text.slice(offset).trim() === '') return { end: start + mark, names };
    throw new PageError(error.message, firstLine + lineEndsIn(text.slice(0, offset)), pass.place);
  }
  return { end: text.length, names };
}

function readCsvPage(text: string, isLast: boolean, { checks, names: known }: PageState, pass: RowsPass): Read {
  const { firstLine = 1 } = checks;
  const mark = text.charCodeAt(0) === 0xfeff && firstLine === 1 ? 1 : 0;
  const plain = text.slice(mark);
  const reader = new CsvReader(plain, firstLine);
  let names = known;
  try {
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      if (names === undefined) {
        const problem = headerProblem(record, checks.rename);
        if (problem !== undefined) throw new PageError(problem, record.line, 0);
        names = record.cells.map(({ text: name }) => renamed(checks.rename, name));
        continue;
      }
      const row = rowOf(record, names);
      if (row.problem !== undefined) throw new PageError(row.problem, row.line, pass.place + 1);
      pass.csvRow(row, plain);
    }
  } catch (error) {
    if (!(error instanceof OpenQuoteError)) throw error;
    if (!isLast) return { end: error.start + mark, names };
    throw new PageError('a quote is opened there and not closed', error.line, pass.place + 1);
  }
  return { end: text.length, names };
}
