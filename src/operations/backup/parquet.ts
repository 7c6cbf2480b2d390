import { type LanePositions, lanePositionsSql } from '../../buffer/lane-positions.ts';
import { atAllRows, shardsOf } from '../../catalog/lane-location.ts';
import { askLong, objectFunction, writeObject } from '../../catalog/object-table.ts';
import { fieldColumns, systemColumns } from '../../catalog/table-ddl.ts';
import { qualifiedName, quoteName } from '../../core/identifiers.ts';
import type { Table } from '../../schema/table.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import type { OperationDeps, OperationNode } from '../deps.ts';

/** What a partition holds: how many rows, and a hash of all there is in them. */
export type Content = { rows: number; checksum: string };

function columnsOf(table: Table): string[] {
  return [...systemColumns.map(([name]) => name), ...table.schema.fields.map(({ name }) => quoteName(name))];
}

/** Exclusive or of the hashes of whole rows: any value that differs shows, in whatever order they are. */
function contentSql(table: Table): string {
  // What the hash cannot take, as the text that it is answered as.
  const values = columnsOf(table).map((column) => `toString(${column})`);
  return `count() AS rows, leftPad(lower(hex(groupBitXor(sipHash64([${values.map((value) => `ifNull(${value}, '\\\\N')`).join(', ')}])))), 16, '0') AS checksum`;
}

function structureOf(table: Table): string {
  return [...systemColumns.map(([name, type]) => `${name} ${type}`), ...fieldColumns(table)].join(', ');
}

async function contentFrom(node: OperationNode, table: Table, from: string, settings: Settings): Promise<Content> {
  const text = await askLong(node, `SELECT ${contentSql(table)} FROM ${from} FORMAT JSONEachRow`, settings);
  const { rows, checksum } = JSON.parse(text) as Content;
  return { rows: Number(rows), checksum };
}

/** What ClickHouse has of a partition. Throws StoreError, ClickHouseError. */
export async function contentOf(
  ctx: OperationDeps,
  table: Table,
  until: LanePositions,
  partition: string,
): Promise<Content> {
  const { node, nameOf } = atAllRows(ctx, [table]);
  const from = `${nameOf(table)} WHERE _partition_id = {_partition:String} AND ${lanePositionsSql(until)}`;
  return await contentFrom(node, table, from, { param__partition: partition });
}

/**
 * Writes a partition as Parquet and reads it back.
 *
 * @returns what the file holds, which is what it was written from at the moment that it was
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
    `SELECT ${columnsOf(table).join(', ')} FROM ${nameOf(table)}
      WHERE _partition_id = {_partition:String} AND ${lanePositionsSql(until)}`,
    { param__columns: structureOf(table), param__partition: partition },
  );
  return await contentFrom(node, table, object, { param__columns: structureOf(table) });
}

/** Brings the rows of a file into a table, each once, however often this is called. */
export async function readPartition(ctx: OperationDeps, table: Table, partition: string, key: string): Promise<void> {
  const object = objectFunction(ctx, key, 'Parquet');
  const columns = columnsOf(table).join(', ');
  for (const { node, lanes } of shardsOf(ctx, table)) {
    await askLong(
      node,
      `INSERT INTO ${qualifiedName(table)} (${columns}) SELECT ${columns} FROM ${object} WHERE _lane IN (${lanes.join(', ')})
        AND (_lane, _seq, _row, _received_at) NOT IN (
              SELECT _lane, _seq, _row, _received_at FROM ${qualifiedName(table)} WHERE _partition_id = {_partition:String})`,
      {
        param__columns: structureOf(table),
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
