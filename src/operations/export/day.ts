import * as z from 'zod';
import { type LanePositions, lanePositionsSql } from '../../buffer/lane-positions.ts';
import { atAllRows } from '../../catalog/lane-location.ts';
import { askLong, objectFunction, writeObject } from '../../catalog/object-table.ts';
import { quoteName } from '../../core/identifiers.ts';
import { rangeConditions, type TimeRange } from '../../query/request/time-range.ts';
import type { Table } from '../../schema/table.ts';
import { timeTextSql } from '../../schema/time-text-sql.ts';
import { oldPrecision } from '../../schema/timestamp.ts';
import { clickhouseType, type Field, isNeverNull, precisionOf, timeType } from '../../schema/types.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import type { OperationDeps } from '../deps.ts';

export const exportFormats = {
  parquet: { clickhouse: 'Parquet', extension: 'parquet' },
  csv: { clickhouse: 'CSVWithNames', extension: 'csv' },
  ndjson: { clickhouse: 'JSONEachRow', extension: 'ndjson' },
} as const;

export type ExportFormat = keyof typeof exportFormats;

export const exportFormat = z.enum(Object.keys(exportFormats) as ExportFormat[]);

/** The rows and fields of a table that are exported. */
export type Exported = {
  table: Table;
  fields: Field[];
  until: LanePositions;
  range: TimeRange;
};

/** Row count, and the sum of the hashes of whole rows: detects any different value and does not depend on the order. */
export type Content = { rows: number; checksum: string };

/** Settings for writing values as answers of the API have them, and for reading them back. */
const writeSettings: Settings = {
  date_time_output_format: 'iso',
  output_format_json_quote_64bit_integers: 0,
  session_timezone: 'UTC',
  output_format_json_escape_forward_slashes: 0,
  format_csv_null_representation: '',
  output_format_json_quote_decimals: 1,
  // A number, or the name of a value that JSON numbers cannot express.
  use_variant_as_common_type: 1,
  max_bytes_before_external_sort: 1_000_000_000,
};
const readSettings: Settings = {
  date_time_input_format: 'best_effort',
  session_timezone: 'UTC',
  precise_float_parsing: 1,
  format_csv_null_representation: '',
  input_format_csv_empty_as_default: 0,
  input_format_null_as_default: 0,
};

function contentSql(columns: string[]): string {
  // Distinguishes null from every text.
  const values = columns.map((column) => `ifNull(concat('=', toString(${column})), '')`);
  return `count() AS rows, leftPad(lower(hex(sum(sipHash64([${values.join(', ')}])))), 16, '0') AS checksum`;
}

/**
 * A field in an object: its name, its type and value there, the type for reading it back, and the SQL that converts that
 * value to the table's type.
 */
type ObjectColumn = { name: string; type: string; value: string; readAs: string; back: string };

/**
 * CSV has lists and maps as JSON text, as in CSV rows that clients send. Text formats have times without trailing zeros, as
 * answers do.
 */
function objectColumn(field: Field, { schema }: Table, format: ExportFormat): ObjectColumn {
  const name = quoteName(field.name);
  const type = clickhouseType(field, schema);
  const precision = precisionOf(schema);
  if (field.type === 'timestamp' && format !== 'parquet' && precision > oldPrecision) {
    const text = type.replace(timeType(precision), 'String');
    const back = `parseDateTime64BestEffort(${name}, ${precision}, 'UTC')`;
    return { name, type: text, value: timeTextSql(name, precision), readAs: text, back };
  }
  if (format === 'ndjson' && field.type === 'double') {
    const named = `isNaN(${name}), 'NaN', isInfinite(${name}), if(${name} > 0, 'Infinity', '-Infinity')`;
    const value = `multiIf(isNull(${name}), NULL, ${named}, assumeNotNull(${name}))`;
    return { name, type: 'Variant(Float64, String)', value, readAs: type, back: name };
  }
  if (format !== 'csv' || !isNeverNull(field.type)) return { name, type, value: name, readAs: type, back: name };
  // Numbers are cast from their digits: doubles would round some numbers twice and lose integers beyond 64 bits.
  const back =
    field.type === 'string[]' || field.type === 'map' ? `JSONExtract(${name}, '${type}')` : `CAST(${name}, '${type}')`;
  return { name, type: 'String', value: `toJSONString(${name})`, readAs: 'String', back };
}

function daySql({ schema }: Table): string {
  return `toDate(${quoteName(schema.timestampColumn)}, 'UTC')`;
}

function rowsSql({ table, until, range }: Exported, name: string, params: Settings): string {
  const conditions = [lanePositionsSql(until), ...rangeConditions(table.schema, range, params)];
  return `${name} WHERE ${conditions.join(' AND ')}`;
}

/** Content of each day in ClickHouse at one moment. Throws StoreError, ClickHouseError. */
export async function contentByDay(ctx: OperationDeps, exported: Exported): Promise<Map<string, Content>> {
  const params: Settings = {};
  const { node, nameOf } = atAllRows(ctx, [exported.table]);
  const from = rowsSql(exported, nameOf(exported.table), params);
  const day = daySql(exported.table);
  const columns = exported.fields.map(({ name }) => quoteName(name));
  const text = await askLong(
    node,
    `SELECT toString(${day}) AS day, ${contentSql(columns)} FROM ${from} GROUP BY day ORDER BY day FORMAT JSONEachRow`,
    params,
  );
  const lines = text.split('\n').filter((line) => line !== '');
  const found = lines.map((line) => JSON.parse(line) as { day: string; rows: string; checksum: string });
  return new Map(found.map(({ day: name, rows, checksum }) => [name, { rows: Number(rows), checksum }]));
}

/**
 * Writes a day's rows as an object, in order of time, and reads it back.
 *
 * @returns the content of the object
 */
export async function writeDay(
  ctx: OperationDeps,
  exported: Exported,
  day: string,
  key: string,
  format: ExportFormat,
): Promise<Content> {
  const { table, fields } = exported;
  const object = objectFunction(ctx, key, exportFormats[format].clickhouse);
  const columns = fields.map((field) => objectColumn(field, table, format));
  const values = columns.map(({ value }) => value).join(', ');
  const params: Settings = { param__day: day };
  const { node, nameOf } = atAllRows(ctx, [table]);
  const rows = rowsSql(exported, nameOf(table), params);
  const order = [quoteName(table.schema.timestampColumn), '_lane', '_seq', '_row'].join(', ');
  await writeObject(
    node,
    object,
    `SELECT ${values} FROM ${rows} AND ${daySql(table)} = {_day:Date} ORDER BY ${order}`,
    {
      ...params,
      ...writeSettings,
      param__columns: columns.map(({ name, type }) => `${name} ${type}`).join(', '),
    },
  );
  const content = contentSql(columns.map(({ back }) => back));
  const text = await askLong(node, `SELECT ${content} FROM ${object} FORMAT JSONEachRow`, {
    ...readSettings,
    param__columns: columns.map(({ name, readAs }) => `${name} ${readAs}`).join(', '),
  });
  const found = JSON.parse(text) as { rows: string; checksum: string };
  return { rows: Number(found.rows), checksum: found.checksum };
}
