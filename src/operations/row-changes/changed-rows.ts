import * as z from 'zod';
import { quoteName } from '../../core/identifiers.ts';
import { invalidRequest } from '../../core/invalid-request.ts';
import { filterSql } from '../../query/request/filters.ts';
import { queryBody, readTimeRange } from '../../query/request/parse.ts';
import { partitionKeySql } from '../../query/request/partition-key.ts';
import { rangeConditions } from '../../query/request/time-range.ts';
import { coerce, notAllowed } from '../../schema/coerce.ts';
import { JsonReader } from '../../schema/json-reader.ts';
import type { Table } from '../../schema/table.ts';
import { clickhouseType, type Field, precisionOf } from '../../schema/types.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import { parameterText } from '../../stores/clickhouse/parameter.ts';
import type { OperationDeps } from '../deps.ts';

/** Selects the rows that a query with the same filters and time range returns. At least one of both is required. */
export const rowsSchema = z
  .strictObject({ timeRange: queryBody.shape.timeRange, filters: queryBody.shape.filters })
  .refine(({ timeRange, filters }) => {
    const { partitionKey = {}, columns = [] } = filters ?? {};
    const isRange = timeRange?.start !== undefined || timeRange?.end !== undefined;
    return isRange || columns.length > 0 || Object.keys(partitionKey).length > 0;
  }, 'give a time range or a filter; to delete all rows, delete the table');

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);

/** New values of fields. */
export const valuesSchema = z
  .record(z.string(), z.union([scalar, z.array(z.union([z.string(), z.number()])), z.record(z.string(), z.string())]))
  .refine((values) => Object.keys(values).length > 0, 'give at least one field')
  .meta({ minProperties: 1 });

export const changeRequest = z.object({ rows: rowsSchema, set: valuesSchema.optional() });
export type RowsChange = z.output<typeof changeRequest>;

/** The SQL condition of a selection of rows, with bound values. */
export function rowsSql(ctx: OperationDeps, table: Table, { rows }: RowsChange, params: Settings): string {
  const { limits } = ctx.config;
  return [
    ...rangeConditions(table.schema, readTimeRange(rows), params),
    ...partitionKeySql(rows.filters?.partitionKey ?? {}, limits, params),
    ...filterSql(rows.filters?.columns ?? [], table, limits, params),
  ].join(' AND ');
}

/** SQL assignments of new values, with bound values. Throws TimestoreError `invalid-request`. */
export function assignmentsSql(table: Table, { set = {} }: RowsChange, params: Settings): string {
  const assignments = Object.entries(set).map(([name, value], i) => {
    const field = requireCorrectable(table, name);
    return `${quoteName(name)} = ${valueSql(field, value, table, params, `_v${i}`)}`;
  });
  return assignments.join(', ');
}

/** A field that can be corrected in place: not part of the sort key. Throws TimestoreError `invalid-request`. */
function requireCorrectable({ name: table, schema }: Table, name: string): Field {
  const field = schema.fields.find((each) => each.name === name);
  if (field === undefined) throw invalidRequest(`set: table ${table} has no field ${name}`);
  if (name === schema.timestampColumn || schema.keyFields.includes(name)) {
    throw invalidRequest(`set: ${name} is part of the sort key of table ${table}; delete the rows and send them again`);
  }
  return field;
}

function valueSql(field: Field, value: unknown, table: Table, params: Settings, name: string): string {
  const wrong = (why: string) => invalidRequest(`set: ${field.name}: ${why}: ${JSON.stringify(value).slice(0, 100)}`);
  const type = clickhouseType(field, table.schema);
  if (value === null && type.startsWith('Nullable(')) return 'NULL';
  // A string is a JSON value too; its content is not parsed.
  const isText = field.type === 'json' && typeof value === 'string';
  const stored = isText
    ? JSON.stringify(value)
    : coerce(field.type, new JsonReader(JSON.stringify(value)).value(), precisionOf(table.schema));
  if (typeof stored !== 'string') throw wrong(stored.detail);
  const problem = notAllowed(field.values, stored);
  if (problem !== undefined) throw wrong(problem.detail);
  // ClickHouse parses the value from JSON into the column's type, as for inserted rows.
  params[`param_${name}`] = parameterText(`{"v":${stored}}`);
  return `JSONExtract({${name}:String}, 'v', '${type.replaceAll("'", "\\'")}')`;
}

/** Throws the error that the job would fail with, for names, types and limits. */
export function requireChangeable(ctx: OperationDeps, table: Table, request: RowsChange): void {
  rowsSql(ctx, table, request, {});
  assignmentsSql(table, request, {});
}
