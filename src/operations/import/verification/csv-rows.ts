import { isDecimal } from '../../../schema/decimal.ts';
import type { FieldType } from '../../../schema/types.ts';
import { NotARow, type TextRow } from './json-rows.ts';

/** A cell: its text, and whether it was quoted. */
export type CsvCell = { text: string; isQuoted: boolean };

const cellPattern = /(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r\n|\n|\r|$)/y;

/**
 * Reads rows of cells with one regular expression for a cell.
 *
 * @returns the start of the first row that is incomplete in the text
 * @throws NotARow
 */
export function* csvRows(text: string, isLast: boolean): Generator<TextRow<CsvCell[]>, number> {
  let start = text.startsWith('\uFEFF') ? 1 : 0;
  let at = start;
  let row: CsvCell[] = [];
  while (at < text.length || row.length > 0) {
    cellPattern.lastIndex = at;
    const found = cellPattern.exec(text);
    if (found === null) {
      if (!isLast && isOpen(text, at)) return start;
      throw new NotARow(
        isOpen(text, at) ? 'a quote is opened there and not closed' : 'a quote stands where a cell goes on',
        start,
      );
    }
    const [, quoted, plain = '', end = ''] = found;
    at = cellPattern.lastIndex;
    row.push({ text: quoted === undefined ? plain : quoted.replaceAll('""', '"'), isQuoted: quoted !== undefined });
    if (end === ',') continue;
    if (end === '' && !isLast) return start;
    const isBlank = row.length === 1 && quoted === undefined && plain === '';
    if (!isBlank) yield { row, start, end: at };
    start = at;
    row = [];
    if (end === '') break;
  }
  return text.length;
}

/** Whether the cell at `start` has a quote that is not closed. */
function isOpen(text: string, start: number): boolean {
  if (text[start] !== '"') return false;
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 2)) {
    if (text[at + 1] !== '"') return false;
  }
  return true;
}

/**
 * A cell as JSON text, as a JSON row has it; `null` for an empty cell.
 *
 * @param type of its field
 */
export function cellJson({ text, isQuoted }: CsvCell, type: FieldType): string {
  if (text === '' && !isQuoted) return 'null';
  if (type === 'string') return JSON.stringify(text);
  if (type === 'json' || type === 'string[]' || type === 'map' || type.startsWith('vector')) {
    return isJson(text) ? text.trim() : JSON.stringify(text);
  }
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text;
  if (type === 'double') return doubleJson(text);
  const isNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text);
  const takesNumbers = type === 'integer' || type === 'unsigned' || type === 'timestamp' || isDecimal(type);
  return isNumber && takesNumbers ? text : JSON.stringify(text);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function doubleJson(text: string): string {
  if (/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) return text;
  if (/^[+-]?nan$/i.test(text)) return '"NaN"';
  if (/^\+?inf(?:inity)?$/i.test(text)) return '"Infinity"';
  return /^-inf(?:inity)?$/i.test(text) ? '"-Infinity"' : JSON.stringify(text);
}
