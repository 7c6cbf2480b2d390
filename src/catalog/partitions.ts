import * as z from 'zod';
import { qualifiedName } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { CatalogDeps } from './deps.ts';
import { shardsOf } from './lane-location.ts';

const partitionsThereRow = z.object({ partition: z.string() });

/**
 * The partitions with rows of a table, in order. On Cloud this reads the table: `system.parts` of a replica may lack the newest
 * parts, and only reads of a table wait for them.
 *
 * @throws StoreError, ClickHouseError
 */
export async function partitionsThere(ctx: CatalogDeps, table: Table): Promise<string[]> {
  const found = new Set<string>();
  for (const { node } of shardsOf(ctx, table)) {
    const isCloud = (await node.clickhouseKind()) === 'cloud';
    const parts = checkRows(
      partitionsThereRow,
      await node.clickhouse.rows(
        isCloud
          ? `SELECT DISTINCT _partition_id AS partition FROM ${qualifiedName(table)}`
          : `SELECT DISTINCT partition_id AS partition FROM system.parts
            WHERE active AND rows > 0 AND database = {database:String} AND table = {table:String}`,
        { database: `ts_${table.dataset}`, table: table.physical },
      ),
    );
    for (const { partition } of parts) found.add(partition);
  }
  return [...found].sort();
}
