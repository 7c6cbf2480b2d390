import { quoteName } from '../../core/identifiers.ts';
import { isFinerTime } from '../request/finer-times.ts';
import type { Column } from './json.ts';

/**
 * SQL whose answer is CSV that can be sent again: CSV has no lists and no objects, which are JSON in it. Two columns of one
 * name cannot be told apart: such an answer stays as it is.
 */
export function csvSql(sql: string, columns: Column[]): string {
  const names = columns.map(({ name }) => name);
  if (!columns.some(isNested) || new Set(names).size < names.length) return sql;
  const shown = columns.map((column) => {
    const name = quoteName(column.name);
    return isNested(column) ? `${nestedSql(name, column)} AS ${name}` : name;
  });
  return `SELECT ${shown.join(', ')} FROM (${sql}\n)`;
}

function isNested({ type }: Column): boolean {
  return /^(?:Nullable\()?(?:Array|Tuple|Map|Nested|JSON|Object|Variant|Dynamic)\b/.test(type);
}

/** With as many digits of a second in times as there is something in. */
function nestedSql(name: string, { type }: Column): string {
  const text = `toJSONString(${name})`;
  if (!isFinerTime(type)) return text;
  const zeros = String.raw`(T\\d\\d:\\d\\d:\\d\\d\\.\\d{3}(?:\\d{3})??)(?:000){1,2}Z"`;
  return `replaceRegexpAll(${text}, '${zeros}', '\\\\1Z"')`;
}
