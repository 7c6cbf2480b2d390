import * as z from 'zod';
import type { Seal } from '../buffer/seal.ts';
import { assertDefined } from '../core/assert.ts';
import type { Table } from '../schema/table.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { FlushNode } from './deps.ts';

/** The watermark of a lane as recorded in ClickHouse, and the time of acknowledgement of its batch (0 if unknown). */
export type Heartbeat = { watermark: number; receivedAt_ms: number };

/** Consecutive batches of a lane: the first sequence, and the times of acknowledgement. */
export type Batches = { from: number; received_ms: number[] };

/**
 * Records in ClickHouse which batches it has, and the watermark of the lane. All their rows must have been counted. Idempotent.
 */
export async function writeHeartbeat(
  node: FlushNode,
  table: Table,
  lane: number,
  { from, received_ms }: Batches,
): Promise<void> {
  const of = { dataset: table.dataset, table: table.physical, lane };
  const watermark = from + received_ms.length - 1;
  await Promise.all([
    node.clickhouse.command(
      `INSERT INTO timestore.stored_batches (dataset, \`table\`, lane, seq, received_at) SETTINGS async_insert = 0
       SELECT {dataset:String}, {table:String}, {lane:UInt16}, {from:UInt64} + n - 1, fromUnixTimestamp64Milli(toInt64(ms), 'UTC')
         FROM (SELECT [${received_ms.map(Number).join(',')}] AS all) ARRAY JOIN all AS ms, arrayEnumerate(all) AS n`,
      { ...of, from },
    ),
    node.clickhouse.command(
      `INSERT INTO timestore.ingest_watermarks (dataset, \`table\`, lane, watermark, clickhouse_revision, flushed_at, received_at)
       SETTINGS async_insert = 0
       SELECT {dataset:String}, {table:String}, {lane:UInt16}, {watermark:UInt64}, revision(), now64(3, 'UTC'),
              fromUnixTimestamp64Milli({received:Int64}, 'UTC')`,
      { ...of, watermark, received: assertDefined(received_ms.at(-1), 'a heartbeat has a batch') },
    ),
  ]);
}

/**
 * A subquery of the recorded batches of a range: sequences and times. Missing rows of these batches were deleted later.
 * Parameters: `dataset`, `table`, `lane`, `from` and `to`.
 */
export const storedBatches = `(SELECT seq, received_at FROM timestore.stored_batches
                              WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND lane = {lane:UInt16}
                                AND seq BETWEEN {from:UInt64} AND {to:UInt64})`;

const unstoredOfRow = z.object({ seq: z.string(), received_ms: z.string() });

/**
 * The rest of a seal after its last recorded batch: earlier batches were counted with that one or before. Undefined if all are
 * recorded.
 */
export async function withoutRecordedBatches(
  node: FlushNode,
  table: Table,
  lane: number,
  seal: Seal,
): Promise<Seal | undefined> {
  const { from, to, batches } = seal;
  const found = checkRows(
    unstoredOfRow,
    await node.clickhouse.rows(`SELECT seq, toUnixTimestamp64Milli(received_at) AS received_ms FROM ${storedBatches}`, {
      dataset: table.dataset,
      table: table.physical,
      lane,
      from,
      to,
    }),
  );
  const stored = new Set(found.map(({ seq, received_ms }) => `${seq} ${received_ms}`));
  const last = batches.findLastIndex(({ seq, receivedAt_ms }) => stored.has(`${seq} ${receivedAt_ms}`));
  const rest = batches.slice(last + 1);
  const first = rest[0];
  if (first === undefined) return undefined;
  const skip = new Map([...seal.skip].filter(([seq]) => seq >= first.seq));
  return { ...seal, from: first.seq, batches: rest, skip, rows: rest.reduce((sum, { rows }) => sum + rows, 0) };
}

const readHeartbeatRow = z.object({ watermark: z.string(), received_ms: z.string() });

/** The newest heartbeat of a lane. Throws StoreError, ClickHouseError. */
export async function readHeartbeat(node: FlushNode, table: Table, lane: number): Promise<Heartbeat | undefined> {
  const [found] = checkRows(
    readHeartbeatRow,
    await node.clickhouse.rows(
      `SELECT watermark, toUnixTimestamp64Milli(received_at) AS received_ms FROM timestore.ingest_watermarks
      WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND lane = {lane:UInt16}
      ORDER BY watermark DESC, received_at DESC LIMIT 1`,
      { dataset: table.dataset, table: table.physical, lane },
    ),
  );
  return found && { watermark: Number(found.watermark), receivedAt_ms: Number(found.received_ms) };
}
