import * as z from 'zod';
import tableSql from '../../sql/clickhouse/table.sql';
import { StoreError } from '../core/errors.ts';
import { databaseName, everywhereName, qualifiedName, quoteName, quoteString } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { clickhouseType } from '../schema/types.ts';
import { checkRows } from '../stores/check-rows.ts';
import { engineSql } from '../stores/clickhouse/engine.ts';
import type { Kind } from '../stores/clickhouse/kind.ts';
import { enginePlace, everyNode, onEach } from '../stores/clickhouse/servers.ts';
import type { CatalogDeps, CatalogNode } from './deps.ts';

/** The columns that every table has before its fields, with their types. */
export const systemColumns = [
  ['_lane', 'UInt16'],
  ['_seq', 'UInt64'],
  ['_row', 'UInt32'],
  ['_received_at', "DateTime64(3, 'UTC')"],
  ['_partition', 'Map(LowCardinality(String), String)'],
] as const;

/** Fields and their ClickHouse types, quoted, as they stand in a column list or a structure. */
export function fieldColumns({ schema }: Pick<Table, 'schema'>): string[] {
  return schema.fields.map((field) => `${quoteName(field.name)} ${clickhouseType(field, schema)}`);
}

/** Column declarations of a table. Rows stored before a field was added have its default. */
export function declaredColumns({ schema }: Pick<Table, 'schema'>): string[] {
  return schema.fields.map((field) => {
    const type = clickhouseType(field, schema);
    const column = `${quoteName(field.name)} ${type}`;
    if (field.default === undefined) return column;
    return `${column} DEFAULT ${defaultSql(field.default, type)}`;
  });
}

/** SQL of a default that is stored as JSON text. */
export function defaultSql(text: string, type: string): string {
  return `JSONExtract(${quoteString(`{"v":${text}}`)}, 'v', ${quoteString(type)})`;
}

/**
 * Creates the table or adds missing columns. Additive and idempotent. Does not check the life of the table: use `ensureTable`.
 *
 * @param needs shards that must have the table: those with its lanes; others get it when they are available
 */
export async function makeTable(ctx: CatalogDeps, table: Table, needs: number[]): Promise<void> {
  await onEach(ctx, everyNode(ctx), needs, async (node) => {
    await node.clickhouse.command(`CREATE DATABASE IF NOT EXISTS ${databaseName(table.dataset)}`);
    await node.clickhouse.command(createTable(node, table, await node.clickhouseKind()));
    await node.clickhouse.command(addColumns(table, qualifiedName(table)));
    if (!isSpread(node)) return;
    await node.clickhouse.command(createDistributed(node, table));
    await node.clickhouse.command(addColumns(table, everywhereName(table)));
  });
}

/** Adds missing columns of an existing table on all servers. */
export async function addMissingColumns(ctx: CatalogDeps, table: Table): Promise<void> {
  await onEach(ctx, everyNode(ctx), table.shards, async (node) => {
    await addColumnsAt(node, table);
    if (isSpread(node)) await node.clickhouse.command(addColumns(table, everywhereName(table)));
  });
}

/** Adds missing columns on one shard. */
export async function addColumnsAt(node: CatalogNode, table: Table): Promise<void> {
  await node.clickhouse.command(addColumns(table, qualifiedName(table)));
}

function isSpread({ cluster }: CatalogDeps): boolean {
  return cluster !== undefined && cluster.shards.length > 1;
}

const requireTypesRow = z.object({ name: z.string(), type: z.string() });

/**
 * Checks the column types in ClickHouse against the schema. With other types it would accept values and change them: for
 * example, text that is not a number would become null.
 *
 * @throws StoreError with the columns
 */
export async function requireTypes(node: CatalogNode, table: Table): Promise<void> {
  const columns = checkRows(
    requireTypesRow,
    await node.clickhouse.rows(
      'SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}',
      { database: `ts_${table.dataset}`, table: table.physical },
    ),
  );
  const types = new Map(columns.map(({ name, type }) => [name, type]));
  const others = table.schema.fields.filter((field) => {
    return !isSameType(types.get(field.name) ?? '', clickhouseType(field, table.schema));
  });
  if (others.length === 0) return;
  const different = others.slice(0, 5).map((field) => {
    return `${field.name} (${types.get(field.name) ?? 'absent'}, not ${clickhouseType(field, table.schema)})`;
  });
  throw new StoreError(
    'clickhouse',
    `has columns of table ${table.name} with other types than the schema: ${different.join(', ')}. The rows wait until the types are correct`,
    undefined,
  );
}

/** Whether two types have the same values. LowCardinality changes only the storage. */
export function isSameType(a: string, b: string): boolean {
  const plain = (type: string) => type.replace(/LowCardinality\((.*)\)/, '$1');
  return plain(a) === plain(b);
}

function createTable(node: CatalogNode, table: Table, kind: Kind): string {
  const { schema, window } = table;
  const { CLICKHOUSE_STORAGE_POLICY: storagePolicy } = node.config;
  const time = quoteName(schema.timestampColumn);
  const partition = { hour: `toStartOfHour(${time})`, day: `toDate(${time})`, month: `toYYYYMM(${time})` }[window];
  return fill(tableSql, {
    table: qualifiedName(table),
    fields: declaredColumns(table)
      .map((column) => `    ${column}`)
      .join(',\n'),
    engine: engineSql(enginePlace(node), `ts_${table.dataset}.${table.physical}`, 'MergeTree'),
    deduplication: rememberedTokens(node, kind).join(',\n    '),
    partition,
    order: [...schema.keyFields.map(quoteName), time].join(', '),
    ttl: ttlClause(table),
    settings: storagePolicy === undefined ? '' : `,\n    storage_policy = ${quoteString(storagePolicy)}`,
  });
}

/**
 * Table settings for the lifetime of insert deduplication tokens. Replicated tables, also on Cloud, expire tokens by age too; the
 * age exceeds any pause of a flush that holds a seal.
 */
export function rememberedTokens({ cluster }: CatalogNode, kind: Kind): string[] {
  if (kind === 'server' && !cluster?.isReplicated) return ['non_replicated_deduplication_window = 10000'];
  return ['replicated_deduplication_window = 10000', 'replicated_deduplication_window_seconds = 7776000'];
}

/** The Distributed table over all shards, for reads only: it does not know the shard of a row. */
function createDistributed({ cluster }: CatalogNode, table: Table): string {
  const columns = [...systemColumns.map(([name, type]) => `${name} ${type}`), ...declaredColumns(table)];
  const target = [cluster?.name ?? '', `ts_${table.dataset}`, table.physical].map(quoteString);
  return `CREATE TABLE IF NOT EXISTS ${everywhereName(table)} (${columns.join(', ')}) ENGINE = Distributed(${target.join(', ')})`;
}

function addColumns(table: Table, name: string): string {
  const columns = declaredColumns(table).map((column) => `ADD COLUMN IF NOT EXISTS ${column}`);
  return `ALTER TABLE ${name} ${columns.join(', ')}`;
}

/** TTL expressions of the retention; empty without a retention. */
export function ttlExpressions({ schema, retention }: Table): string[] {
  if (retention === undefined) return [];
  const time = quoteName(schema.timestampColumn);
  const move =
    retention.hotDays === undefined ? [] : [`${time} + toIntervalDay(${retention.hotDays}) TO VOLUME 'cold'`];
  return [...move, `${time} + toIntervalDay(${retention.totalDays}) DELETE`];
}

const applyRetentionAtRow = z.object({ n: z.string() });

/** Applies the retention on one shard. */
export async function applyRetentionAt(node: CatalogNode, table: Table): Promise<void> {
  const expressions = ttlExpressions(table);
  const [found] = checkRows(
    applyRetentionAtRow,
    await node.clickhouse.rows(
      `SELECT count() AS n FROM system.tables WHERE database = {database:String} AND name = {table:String}
        AND engine_full LIKE '% TTL %'`,
      { database: `ts_${table.dataset}`, table: table.physical },
    ),
  );
  if (expressions.length === 0 && found?.n === '0') return;
  await node.clickhouse.command(
    `ALTER TABLE ${qualifiedName(table)} ${expressions.length === 0 ? 'REMOVE TTL' : `MODIFY TTL ${expressions.join(', ')}`}`,
  );
}

function ttlClause(table: Table): string {
  const expressions = ttlExpressions(table);
  return expressions.length === 0 ? '' : `\nTTL ${expressions.join(', ')}`;
}

function fill(template: string, values: Record<string, string>): string {
  return template.replace(/<([a-z]+)>/g, (whole, name: string) => values[name] ?? whole);
}
