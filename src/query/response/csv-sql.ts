import { quoteName } from '../../core/identifiers.ts';
import { isFinerTime } from '../request/finer-times.ts';
import type { Column } from './json.ts';

/**
 * Converts lists and objects to JSON, so that the CSV can be ingested again. Columns that share a name cannot be selected by
 * name: such SQL stays unchanged.
 */
export function csvSql(sql: string, columns: Column[]): string {
  const names = columns.map(({ name }) => name);
  if (!columns.some(isNested) || new Set(names).size < names.length) return sql;
  const selected = columns.map((column) => {
    const name = quoteName(column.name);
    return isNested(column) ? `${nestedSql(name, column)} AS ${name}` : name;
  });
  return `SELECT ${selected.join(', ')} FROM (${sql}\n)`;
}

function isNested({ type }: Column): boolean {
  return /^(?:Nullable\()?(?:Array|Tuple|Map|Nested|JSON|Object|Variant|Dynamic)\b/.test(type);
}

/** JSON of a value, without trailing zeros of times. */
function nestedSql(name: string, { type }: Column): string {
  const text = `toJSONString(${name})`;
  if (!isFinerTime(type)) return text;
  const zeros = String.raw`(T\\d\\d:\\d\\d:\\d\\d\\.\\d{3}(?:\\d{3})??)(?:000){1,2}Z"`;
  return `replaceRegexpAll(${text}, '${zeros}', '\\\\1Z"')`;
}
