import type { Seal } from '../buffer/seal.ts';
import type { Table } from '../catalog/table.ts';
import type { At } from '../clickhouse/cluster.ts';
import { required } from '../errors.ts';

/** How far a lane is visible in ClickHouse, and when the batch at its end was acknowledged (0 where that is not known). */
export type Heartbeat = { watermark: number; receivedAt_ms: number };

/**
 * Writes down in ClickHouse itself how far a lane is visible there, once all rows were counted. Repeating it changes
 * nothing.
 */
export async function writeHeartbeat(
  at: At,
  table: Table,
  lane: number,
  { watermark, receivedAt_ms }: Heartbeat,
): Promise<void> {
  await at.clickhouse.command(
    `INSERT INTO timestore.ingest_watermarks (dataset, \`table\`, lane, watermark, clickhouse_revision, flushed_at, received_at)
     SETTINGS async_insert = 0
     SELECT {dataset:String}, {table:String}, {lane:UInt16}, {watermark:UInt64}, revision(), now64(3, 'UTC'),
            fromUnixTimestamp64Milli({received:Int64}, 'UTC')`,
    { dataset: table.dataset, table: table.physical, lane, watermark, received: receivedAt_ms },
  );
}

/**
 * The condition that no heartbeat speaks of a range's end: one that is as far or further, and of a batch that was not
 * acknowledged earlier, says that all rows of the range were there. Whatever is missing then has been deleted since.
 *
 * With parameters `lane`, `dataset`, `table`, `to` and `received`, which are the end's sequence and time (ms).
 */
export const isUnfinished = `(SELECT count() FROM timestore.ingest_watermarks
          WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND lane = {lane:UInt16} AND watermark >= {to:UInt64}
            AND received_at >= fromUnixTimestamp64Milli({received:Int64}, 'UTC')) = 0`;

/** The heartbeat of a lane that is furthest. Throws StoreError, ClickHouseError. */
export async function readHeartbeat(at: At, table: Table, lane: number): Promise<Heartbeat | undefined> {
  const [found] = await at.clickhouse.rows<{ watermark: string; received_ms: string }>(
    `SELECT watermark, toUnixTimestamp64Milli(received_at) AS received_ms FROM timestore.ingest_watermarks
      WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND lane = {lane:UInt16}
      ORDER BY watermark DESC, received_at DESC LIMIT 1`,
    { dataset: table.dataset, table: table.physical, lane },
  );
  return found && { watermark: Number(found.watermark), receivedAt_ms: Number(found.received_ms) };
}

/** The end of a seal, as a heartbeat says it. */
export function endOf({ to, batches }: Pick<Seal, 'to' | 'batches'>): Heartbeat {
  return { watermark: to, receivedAt_ms: required(batches.at(-1), 'the batches of a seal').receivedAt_ms };
}
