import tableSql from '../../sql/clickhouse/table.sql';
import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { databaseName, qualifiedName, quoteName, quoteString } from '../names.ts';
import { clickhouseType } from '../schema/types.ts';

/** The columns that every table has before its fields, with their types. */
export const systemColumns = [
  ['_lane', 'UInt16'],
  ['_seq', 'UInt64'],
  ['_row', 'UInt32'],
  ['_received_at', "DateTime64(3, 'UTC')"],
  ['_partition', 'Map(LowCardinality(String), String)'],
] as const;

/** Fields and their ClickHouse types, quoted, as they stand in a column list or a structure. */
export function fieldColumns({ schema }: Table): string[] {
  return schema.fields.map((field) => `${quoteName(field.name)} ${clickhouseType(field, schema)}`);
}

/** Makes the table with all fields of its schema, or brings the one that is there to it. Additive, and safe to repeat. */
export async function ensureTable(ctx: Context, table: Table): Promise<void> {
  await ctx.clickhouse.command(`CREATE DATABASE IF NOT EXISTS ${databaseName(table.dataset)}`);
  await ctx.clickhouse.command(createTable(table, ctx.config.CLICKHOUSE_STORAGE_POLICY));
  await ctx.clickhouse.command(addColumns(table));
}

/** Brings a table that is there to its schema. */
export async function addMissingColumns(ctx: Context, table: Table): Promise<void> {
  await ctx.clickhouse.command(addColumns(table));
}

function createTable(table: Table, storagePolicy: string | undefined): string {
  const { schema, window } = table;
  const time = quoteName(schema.timestampColumn);
  const partition = { hour: `toStartOfHour(${time})`, day: `toDate(${time})`, month: `toYYYYMM(${time})` }[window];
  return fill(tableSql, {
    table: qualifiedName(table),
    fields: fieldColumns(table)
      .map((column) => `    ${column}`)
      .join(',\n'),
    partition,
    order: [...schema.keyFields.map(quoteName), time].join(', '),
    settings: storagePolicy === undefined ? '' : `,\n    storage_policy = ${quoteString(storagePolicy)}`,
  });
}

function addColumns(table: Table): string {
  const columns = fieldColumns(table).map((column) => `ADD COLUMN IF NOT EXISTS ${column}`);
  return `ALTER TABLE ${qualifiedName(table)} ${columns.join(', ')}`;
}

function fill(template: string, values: Record<string, string>): string {
  return template.replace(/<([a-z]+)>/g, (whole, name: string) => values[name] ?? whole);
}
