import { limitExceeded } from '../../core/invalid-request.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';

/** A tail as it is sent along: its name in the SQL, its columns, and its rows in format RowBinary. */
export type SentTail = { name: string; structure: string; rows: Uint8Array[] };

/** ClickHouse reads a field of a form up to 128 KiB (`http_max_field_value_size`), which a query cannot change. */
const field_bytes_max = 130_000;

/**
 * A form with SQL, its parameters (a URL has no room for long lists) and tails. SQL that is too long for a form is the body
 * itself, where no tail has to go with it; its parameters are then settings of the request.
 *
 * @throws TimestoreError `limit-exceeded`
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
      `With the names of all columns the query has more than ${field_bytes_max} bytes, too many to go along with rows that ` +
        'wait to be flushed. Ask for fewer columns, or again once they are flushed',
    );
  }
  const body = new FormData();
  body.append('query', sql);
  for (const [name, value] of Object.entries(params)) body.append(name, String(value));
  for (const { name, structure, rows } of tails) {
    // Before the rows it describes: the server reads the parts in their order.
    body.append(`${name}_format`, 'RowBinary');
    body.append(`${name}_structure`, structure);
    body.append(name, new Blob(rows), name);
  }
  return { body, settings: {} };
}
