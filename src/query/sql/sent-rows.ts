import { quoteName } from '../../core/identifiers.ts';
import { clickhouseType, type Field } from '../../schema/types.ts';
import type { SentTail } from '../execution/multipart-request.ts';
import type { OwnRows } from '../own-tables.ts';

/** Such tables have neither a time nor a key. */
const noKeys = { timestampColumn: '', keyFields: [] };

/** The ClickHouse type of a column of a table that the catalogue does not have. */
export function columnType(field: Field): string {
  return clickhouseType(field, noKeys);
}

/** The name of the n-th such table in a statement. No name in SQL of users can have the prefix. */
export function rowsName(n: number): string {
  return `__ts_rows${n}`;
}

/** The rows as an external table of the statement. */
export function sentRows({ fields, rows }: OwnRows, n: number): SentTail {
  const structure = fields.map((field) => `${quoteName(field.name)} ${columnType(field)}`).join(', ');
  const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  return { name: rowsName(n), structure, format: 'JSONEachRow', rows: [new TextEncoder().encode(text)] };
}
