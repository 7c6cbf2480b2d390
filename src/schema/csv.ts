import { CsvError, parse } from 'csv-parse/sync';
import { TimestoreError } from '../errors.ts';
import type { Member } from './json-reader.ts';
import type { FieldType } from './types.ts';

/** A cell: its text, and whether it stood in quotes. */
export type Cell = { text: string; quoted: boolean };

export type CsvRow = { names: string[]; cells: Cell[] };

/**
 * Reads CSV (RFC 4180) with the names of the fields in its first line.
 *
 * @param rowsMax rows after the first that are read before it is refused
 * @throws TimestoreError `malformed-body` with the line
 */
export function readCsv(text: string, rowsMax: number): CsvRow[] {
  let records: Cell[][];
  try {
    records = parse(text, {
      bom: true,
      skip_empty_lines: true,
      // One more than the limit, so that the caller sees it exceeded.
      to: rowsMax + 2,
      cast: (cell, { quoting }): Cell => ({ text: cell, quoted: quoting }),
    }) as unknown as Cell[][];
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new TimestoreError('malformed-body', `The body is not valid CSV: ${error.message.replace(/\.$/, '')}.`);
  }
  const [header, ...rows] = records;
  if (header === undefined)
    throw new TimestoreError('malformed-body', 'The body is empty; send a line of names and rows.');
  const names = header.map(({ text }) => text);
  return rows.map((cells) => ({ names, cells }));
}

const numberForm = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;

/**
 * A cell as the member of a row that JSON would have: CSV has no types, so the field's says what the text means. An empty
 * cell is null; in quotes it is the empty string.
 *
 * @param type of the field; undefined where the cell is what tells it
 */
export function cellMember(name: string, { text, quoted }: Cell, type: FieldType | undefined): Member {
  if (text === '' && !quoted) return { name, kind: 'null', text: 'null', escaped: false };
  if (type === 'string' || (quoted && type === undefined)) return stringMember(name, text);
  if (text === 'true' || text === 'false') return { name, kind: text, text, escaped: false };
  if (type !== 'json' && numberForm.test(text)) return { name, kind: 'number', text, escaped: false };
  if (type === 'json' || type === 'string[]' || type?.startsWith('vector')) return jsonMember(name, text);
  return stringMember(name, text);
}

function stringMember(name: string, text: string): Member {
  const json = JSON.stringify(text);
  return { name, kind: 'string', text: json, escaped: json.length !== text.length + 2 };
}

/** Text that is JSON stays as it is; other text is a string, which the field takes or refuses. */
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
