import { limitExceeded } from '../../core/invalid-request.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';

/** Rows as an external table: its name in the SQL, its columns, and the rows; a tail is in format RowBinary. */
export type SentTail = {
  name: string;
  structure: string;
  format: 'RowBinary' | 'JSONEachRow';
  rows: Uint8Array[];
};

/** ClickHouse limits a form field to 128 KiB (`http_max_field_value_size`), which a query cannot change. */
const field_bytes_max = 130_000;

/**
 * A form with SQL, its parameters (long lists do not fit into a URL) and tails. SQL that is too long for a form field is the
 * body itself where no tail is sent; its parameters are then settings of the request.
 *
 * @throws ApiError `limit-exceeded`
 */
export function multipartRequest(
  sql: string,
  params: Settings,
  tails: SentTail[] = [],
): { body: FormData | string; settings: Settings } {
  const isLong = Buffer.byteLength(sql) > field_bytes_max;
  if (isLong && tails.length === 0) return { body: sql, settings: params };
  if (isLong || tails.some(({ structure }) => Buffer.byteLength(structure) > field_bytes_max)) {
    throw limitExceeded(
      `With the names of all columns the query exceeds ${field_bytes_max} bytes, the limit for a query that reads rows waiting ` +
        'to be flushed. Select fewer columns, or repeat the query after the flush',
    );
  }
  const body = new FormData();
  body.append('query', sql);
  for (const [name, value] of Object.entries(params)) body.append(name, String(value));
  for (const { name, structure, format, rows } of tails) {
    // ClickHouse reads the parts in order and needs the structure before the rows.
    body.append(`${name}_format`, format);
    body.append(`${name}_structure`, structure);
    body.append(name, new Blob(rows), name);
  }
  return { body, settings: {} };
}
