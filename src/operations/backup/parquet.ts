import { type LanePositions, lanePositionsSql } from '../../buffer/lane-positions.ts';
import { atAllRows, shardsOf } from '../../catalog/lane-location.ts';
import { askLong, objectFunction, writeObject } from '../../catalog/object-table.ts';
import { fieldColumns, systemColumns } from '../../catalog/table-ddl.ts';
import { qualifiedName, quoteName } from '../../core/identifiers.ts';
import type { Table } from '../../schema/table.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import type { OperationDeps, OperationNode } from '../deps.ts';

/** Row count of a partition, and a checksum over all values of its rows. */
export type Content = { rows: number; checksum: string };

function listColumns(table: Table): string[] {
  return [...systemColumns.map(([name]) => name), ...table.schema.fields.map(({ name }) => quoteName(name))];
}

/** Exclusive or of the hashes of whole rows: detects any different value and does not depend on the order of rows. */
function contentSql(table: Table): string {
  // Values are hashed as text, because the hash function does not support all types.
  const values = listColumns(table).map((column) => `toString(${column})`);
  return `count() AS rows, leftPad(lower(hex(groupBitXor(sipHash64([${values.map((value) => `ifNull(${value}, '\\\\N')`).join(', ')}])))), 16, '0') AS checksum`;
}

function structureSql(table: Table): string {
  return [...systemColumns.map(([name, type]) => `${name} ${type}`), ...fieldColumns(table)].join(', ');
}

async function queryContent(node: OperationNode, table: Table, from: string, settings: Settings): Promise<Content> {
  const text = await askLong(node, `SELECT ${contentSql(table)} FROM ${from} FORMAT JSONEachRow`, settings);
  const { rows, checksum } = JSON.parse(text) as Content;
  return { rows: Number(rows), checksum };
}

/** Content of a partition in ClickHouse. Throws StoreError, ClickHouseError. */
export async function readContent(
  ctx: OperationDeps,
  table: Table,
  until: LanePositions,
  partition: string,
): Promise<Content> {
  const { node, nameOf } = atAllRows(ctx, [table]);
  const from = `${nameOf(table)} WHERE _partition_id = {_partition:String} AND ${lanePositionsSql(until)}`;
  return await queryContent(node, table, from, { param__partition: partition });
}

/**
 * Writes a partition as Parquet and reads it back.
 *
 * @returns the content of the file
 */
export async function writePartition(
  ctx: OperationDeps,
  table: Table,
  until: LanePositions,
  partition: string,
  key: string,
): Promise<Content> {
  const object = objectFunction(ctx, key, 'Parquet');
  const { node, nameOf } = atAllRows(ctx, [table]);
  await writeObject(
    node,
    object,
    `SELECT ${listColumns(table).join(', ')} FROM ${nameOf(table)}
      WHERE _partition_id = {_partition:String} AND ${lanePositionsSql(until)}`,
    { param__columns: structureSql(table), param__partition: partition },
  );
  return await queryContent(node, table, object, { param__columns: structureSql(table) });
}

/** Inserts the rows of a file into a table. Repeated calls insert no row twice. */
export async function readPartition(ctx: OperationDeps, table: Table, partition: string, key: string): Promise<void> {
  const object = objectFunction(ctx, key, 'Parquet');
  const columns = listColumns(table).join(', ');
  for (const { node, lanes } of shardsOf(ctx, table)) {
    await askLong(
      node,
      `INSERT INTO ${qualifiedName(table)} (${columns}) SELECT ${columns} FROM ${object} WHERE _lane IN (${lanes.join(', ')})
        AND (_lane, _seq, _row, _received_at) NOT IN (
              SELECT _lane, _seq, _row, _received_at FROM ${qualifiedName(table)} WHERE _partition_id = {_partition:String})`,
      {
        param__columns: structureSql(table),
        param__partition: partition,
        async_insert: 0,
        deduplicate_insert_select: 'force_enable',
        max_insert_threads: 1,
        max_threads: 1,
        insert_deduplication_token: `restore:${key}`,
      },
    );
  }
}
