import type { Table } from '../catalog/table.ts';
import type { At } from '../clickhouse/cluster.ts';

/** Writes down in ClickHouse itself how far a lane is visible there. Repeating it changes nothing. */
export async function writeHeartbeat(at: At, table: Table, lane: number, watermark: number): Promise<void> {
  await at.clickhouse.command(
    `INSERT INTO timestore.ingest_watermarks (dataset, \`table\`, lane, watermark, clickhouse_revision, flushed_at)
     SETTINGS async_insert = 0
     SELECT {dataset:String}, {table:String}, {lane:UInt16}, {watermark:UInt64}, revision(), now64(3, 'UTC')`,
    { dataset: table.dataset, table: table.physical, lane, watermark },
  );
}
