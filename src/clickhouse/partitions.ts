import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { shardsOf } from './cluster.ts';

/** The partitions in which a table has rows, in order. Throws StoreError, ClickHouseError. */
export async function partitionsThere(ctx: Context, table: Table): Promise<string[]> {
  const found = new Set<string>();
  for (const { at } of shardsOf(ctx, table)) {
    const parts = await at.clickhouse.rows<{ partition: string }>(
      `SELECT DISTINCT partition_id AS partition FROM system.parts
        WHERE active AND rows > 0 AND database = {database:String} AND table = {table:String}`,
      { database: `ts_${table.dataset}`, table: table.physical },
    );
    for (const { partition } of parts) found.add(partition);
  }
  return [...found].sort();
}
