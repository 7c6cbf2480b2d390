import * as z from 'zod';
import { readTable } from '../../catalog/find-table.ts';
import { isSameType } from '../../catalog/table-ddl.ts';
import { qualifiedName } from '../../core/identifiers.ts';
import { columnType } from '../../query/sql/sent-rows.ts';
import type { Table } from '../../schema/table.ts';
import { clickhouseType, type Field, requiredFields } from '../../schema/types.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { ClickHouseError, clickhouseCodes } from '../../stores/clickhouse/client.ts';
import { everyNode, type NodeContext } from '../../stores/clickhouse/servers.ts';
import type { MonitoringDeps } from '../deps.ts';
import { type Difference, differencesOf } from './differences.ts';
import { monitorTables, ownNames } from './sql-tables.ts';
import { type RowTable, retention, rowTables, schemaOf, window } from './tables.ts';

type Column = {
  name: string;
  type: Field['type'];
  clickhouseType: string;
  isKey: boolean;
  isRequired: boolean;
  values: (string | number)[] | null;
};

export type ExpectedTable = {
  name: string;
  /** `rows`: a table; `configuration`: the resources of the dataset; `view`: computed when it is read. */
  kind: 'rows' | 'configuration' | 'view';
  columns: Column[];
  partition: string | null;
  retentionDays: number | null;
  /** Whether the user of queries may read it in ClickHouse; null for tables that are not there. */
  isReadable: boolean | null;
};

export type Validation = { dataset: string; isSetUp: boolean; tables: ExpectedTable[]; differences: Difference[] };

/**
 * Compares the tables of a monitored dataset with those that the set-up makes, in the catalogue and on every server of
 * ClickHouse. Changes nothing.
 *
 * @throws StoreError
 */
export async function validateMonitoring(ctx: MonitoringDeps, dataset: string): Promise<Validation> {
  const isSetUp = (await monitorTables.list(ctx, { dataset, of: undefined })).length > 0;
  const checked = await Promise.all(rowTables.map((name) => validateTable(ctx, dataset, name)));
  const own = await Promise.all(
    ownNames.map(async ({ name }) => ((await readTable(ctx, dataset, name)) === undefined ? [] : [hidden(name)])),
  );
  return {
    dataset,
    isSetUp,
    tables: [...checked.map(({ table }) => table), ...ownNames.map(describeOwn)],
    differences: [...checked.flatMap(({ differences }) => differences), ...own.flat()],
  };
}

async function validateTable(
  ctx: MonitoringDeps,
  dataset: string,
  name: RowTable,
): Promise<{ table: ExpectedTable; differences: Difference[] }> {
  const { limits } = ctx.config;
  const schema = schemaOf(name, limits);
  const expected: ExpectedTable = {
    name,
    kind: 'rows',
    columns: schema.fields.map((field) => ({
      name: field.name,
      type: field.type,
      clickhouseType: clickhouseType(field, schema),
      isKey: schema.keyFields.includes(field.name),
      isRequired: requiredFields(schema).includes(field.name),
      values: field.values?.map((value) => JSON.parse(value) as string | number) ?? null,
    })),
    partition: window,
    retentionDays: retention.totalDays,
    isReadable: null,
  };
  const table = await readTable(ctx, dataset, name);
  if (table === undefined || table.state === 'deleting') return { table: expected, differences: [missing(name)] };
  const nodes = await Promise.all(everyNode(ctx).map((node) => validateNode(node, table, name)));
  const differences = [...differencesOf(table, name, limits), ...nodes.flat()];
  const isReadable = !differences.some(({ what }) => what === 'right');
  return { table: { ...expected, isReadable }, differences };
}

const storedRow = z.object({ partition: z.string(), sorting: z.string(), engine: z.string() });
const columnRow = z.object({ name: z.string(), type: z.string() });

const partitions = { hour: 'toStartOfHour(timestamp)', day: 'toDate(timestamp)', month: 'toYYYYMM(timestamp)' };

/** The differences of one server from the definition in the catalogue. */
async function validateNode(node: NodeContext<MonitoringDeps>, table: Table, name: RowTable): Promise<Difference[]> {
  const where = { database: `ts_${table.dataset}`, table: table.physical };
  const [stored] = checkRows(
    storedRow,
    await node.clickhouse.rows(
      `SELECT partition_key AS partition, sorting_key AS sorting, engine_full AS engine FROM system.tables
        WHERE database = {database:String} AND name = {table:String}`,
      where,
    ),
  );
  const place = node.cluster === undefined ? 'ClickHouse' : `ClickHouse, shard ${node.shard}`;
  const differ = (what: Difference['what'], expected: string, actual: string, column: string | null = null) => {
    return expected === actual
      ? []
      : [{ table: name, column, what, expected, actual: `${actual} (${place})`, isLasting: true } satisfies Difference];
  };
  if (stored === undefined) return differ('table', 'in ClickHouse', 'missing');
  const columns = checkRows(
    columnRow,
    await node.clickhouse.rows(
      'SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}',
      where,
    ),
  );
  const types = new Map(columns.map((column) => [column.name, column.type]));
  const { schema } = table;
  const kept = /toIntervalDay\(([0-9]+)\)(?! TO VOLUME)/.exec(stored.engine)?.[1];
  const days = (value: number | string | undefined) => (value === undefined ? 'none' : `${value} days`);
  return [
    ...differ('partition', partitions[table.window], stored.partition),
    ...differ('key', [...schema.keyFields, schema.timestampColumn].join(', '), stored.sorting),
    ...differ('retention', days(table.retention?.totalDays), days(kept)),
    ...schema.fields.flatMap((field) => {
      const expected = clickhouseType(field, schema);
      const actual = types.get(field.name);
      if (actual !== undefined && isSameType(actual, expected)) return [];
      return differ(actual === undefined ? 'column' : 'type', expected, actual ?? 'missing', field.name);
    }),
    ...((await isReadable(node, table)) ? [] : differ('right', 'SELECT', 'denied to the reader')),
  ];
}

async function isReadable(node: NodeContext<MonitoringDeps>, table: Table): Promise<boolean> {
  try {
    await node.reader.rows(`SELECT * FROM ${qualifiedName(table)} LIMIT 0`);
    return true;
  } catch (error) {
    if (error instanceof ClickHouseError && error.code === clickhouseCodes.accessDenied) return false;
    throw error;
  }
}

function describeOwn({ name, fields }: { name: string; fields: Field[] }): ExpectedTable {
  return {
    name,
    kind: name === 'service_status_summary' ? 'view' : 'configuration',
    columns: fields.map((field) => ({
      name: field.name,
      type: field.type,
      clickhouseType: columnType(field),
      isKey: false,
      isRequired: field.required === true,
      values: null,
    })),
    partition: null,
    retentionDays: null,
    isReadable: null,
  };
}

function missing(name: string): Difference {
  const one = { table: name, column: null, what: 'table' as const, isLasting: false };
  return { ...one, expected: 'set up', actual: 'missing' };
}

/** A table of the dataset hides the one that monitoring adds. */
function hidden(name: string): Difference {
  const one = { table: name, column: null, what: 'table' as const, isLasting: true };
  return { ...one, expected: 'the configuration of the dataset', actual: 'a table of the dataset' };
}
