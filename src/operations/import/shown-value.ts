import { quoteName } from '../../core/identifiers.ts';
import { isNumber, isText, isTime, isWhole, plain, type Reading, type SourceColumn } from './columns.ts';
import { clockText, dateText, momentText } from './json-sql.ts';
import { readType, unwrapType } from './source-type.ts';

/** Characters of a value that are kept to find out why it is invalid. */
export const shownChars_max = 1_000;

/** Letters for the JSON kind of a value. */
export const kinds = { number: 'n', array: 'a', string: 's', unclear: 'u', other: 'o' };

/** SQL for an invalid value as text after a letter for its kind; null without a value. */
export function shownText(column: SourceColumn, { isUnclear }: Reading): string {
  const { kind, text } = shownSql(column);
  const letter = `'${kinds[kind]}'`;
  return `concat(${isUnclear === undefined ? letter : `if(${isUnclear}, '${kinds.unclear}', ${letter})`}, ${text})`;
}

/** SQL for a value of a column as text, and its JSON kind. */
function shownSql({ name, type, node }: SourceColumn): { kind: 'number' | 'string' | 'array' | 'other'; text: string } {
  const x = quoteName(name);
  const of = plain(type);
  if (node?.meaning === 'time') return { kind: 'string', text: clockText(x) };
  if (node?.meaning === 'date' && isWhole(of)) return { kind: 'string', text: dateText(x).text };
  if (isTime(of)) return { kind: 'string', text: momentText(x, unwrapType(readType(type))).text };
  if (isText(of)) return { kind: 'string', text: `toString(${x})` };
  if (of.startsWith('Array(')) return { kind: 'array', text: `toJSONString(${x})` };
  return { kind: isNumber(of) ? 'number' : 'other', text: `toString(${x})` };
}
