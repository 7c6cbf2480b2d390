import type { TimePrecision } from './timestamp.ts';

/**
 * SQL of a time as text: `2026-05-01T10:00:00.000Z`, with six or nine fractional digits if they are not all zeros.
 *
 * @param column a column of type DateTime64(precision) in UTC
 */
export function timeTextSql(column: string, precision: TimePrecision): string {
  const text = `toString(${column})`;
  const shortest = `endsWith(${text}, '${'0'.repeat(Math.max(precision - 3, 1))}')`;
  const trimmed = {
    3: text,
    6: `if(${shortest}, left(${text}, 23), ${text})`,
    9: `multiIf(${shortest}, left(${text}, 23), endsWith(${text}, '000'), left(${text}, 26), ${text})`,
  }[precision];
  return `concat(replaceOne(${trimmed}, ' ', 'T'), 'Z')`;
}
