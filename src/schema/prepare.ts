import { ApiError } from '../core/errors.ts';
import type { Limits } from '../core/limits.ts';
import { malformedOpenQuote, readCsv } from './csv.ts';
import { OpenQuoteError } from './csv-reader.ts';
import { JsonReader, JsonSyntaxError } from './json-reader.ts';
import type { PreparedRows, RowChecks } from './prepared-rows.ts';
import type { Rename } from './rename.ts';
import { RowsPass } from './rows-pass.ts';
import type { FieldType, TableSchema } from './types.ts';

export type { PreparedRows, RowChecks } from './prepared-rows.ts';

const readings_max = 8;

export type RowFormat = 'json' | 'ndjson' | 'csv';

/**
 * Validates and normalises the rows of a request against a schema. Invalid rows are returned, not thrown: the caller decides
 * about the others.
 *
 * @throws ApiError `malformed-body` if the text is not of `format`; `limit-exceeded` for too many rows
 */
export function prepareRows(
  text: string,
  format: RowFormat,
  schema: TableSchema,
  limits: Limits,
  checks: RowChecks = {},
): PreparedRows {
  const hints = new Map<string, FieldType>();
  for (let readings = 1; ; readings += 1) {
    const pass = new RowsPass(schema, limits, hints, checks);
    try {
      readRows(text, format, pass, checks.rename);
    } catch (error) {
      if (error instanceof JsonSyntaxError) throw malformed(text, error);
      if (error instanceof OpenQuoteError) throw malformedOpenQuote(error);
      throw error;
    }
    // Reads again if later values of a new field need another type than the first one. One repetition is nearly always enough;
    // a value that needs more is rejected.
    if (pass.rehint.size === 0 || readings === readings_max) return pass.result();
    for (const [name, type] of pass.rehint) hints.set(name, type);
  }
}

function readRows(text: string, format: RowFormat, pass: RowsPass, rename: Rename | undefined): void {
  if (format === 'csv') {
    const plain = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
    for (const row of readCsv(plain, rename)) pass.csvRow(row, plain);
    return;
  }
  const reader = new JsonReader(text);
  if (reader.atEnd()) throw new ApiError('malformed-body', 'The body is empty; send one row or more.');
  if (format === 'json' && reader.take('[')) {
    if (!reader.take(']')) {
      do pass.row(reader);
      while (reader.take(','));
      reader.expect(']');
    }
    if (!reader.atEnd()) throw new JsonSyntaxError('more text after the end of the array', reader.offset);
    return;
  }
  do {
    pass.row(reader);
    if (format === 'json' && !reader.atEnd()) {
      throw new JsonSyntaxError(
        'more text after the end of the object (rows by line are application/x-ndjson)',
        reader.offset,
      );
    }
  } while (!reader.atEnd());
}

function malformed(text: string, error: JsonSyntaxError): ApiError {
  const before = text.slice(0, error.offset);
  const line = before.split('\n').length;
  const column = error.offset - before.lastIndexOf('\n');
  return new ApiError(
    'malformed-body',
    `The body is not valid JSON at line ${line}, column ${column}: ${error.message}.`,
  );
}
