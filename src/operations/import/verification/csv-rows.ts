import { isDecimal } from '../../../schema/decimal.ts';
import type { FieldType } from '../../../schema/types.ts';
import { NotARow, type TextRow } from './json-rows.ts';

/** A cell: its text, and whether it stood in quotes. */
export type CsvCell = { text: string; isQuoted: boolean };

const cellForm = /(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r\n|\n|\r|$)/y;

/**
 * Reads rows of cells by one expression for a cell.
 *
 * @returns where the first row begins that the text does not have as a whole, by `return`
 * @throws NotARow
 */
export function* csvRows(text: string, isLast: boolean): Generator<TextRow<CsvCell[]>, number> {
  let start = text.startsWith('\uFEFF') ? 1 : 0;
  let at = start;
  let row: CsvCell[] = [];
  while (at < text.length || row.length > 0) {
    cellForm.lastIndex = at;
    const found = cellForm.exec(text);
    if (found === null) {
      if (!isLast && isOpen(text, at)) return start;
      throw new NotARow(
        isOpen(text, at) ? 'a quote is opened there and not closed' : 'a quote stands where a cell goes on',
        start,
      );
    }
    const [, quoted, plain = '', end = ''] = found;
    at = cellForm.lastIndex;
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

/** Whether a cell that begins at a place has a quote that nothing closes. */
function isOpen(text: string, start: number): boolean {
  if (text[start] !== '"') return false;
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 2)) {
    if (text[at + 1] !== '"') return false;
  }
  return true;
}

/**
 * A cell as the JSON text that a row of JSON would have; `null` for one that is empty.
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
