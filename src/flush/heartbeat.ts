import * as z from 'zod';
import type { Seal } from '../buffer/seal.ts';
import { assertDefined } from '../core/assert.ts';

import type { Table } from '../schema/table.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { FlushNode } from './deps.ts';

/** How far a lane is visible in ClickHouse, and when the batch at its end was acknowledged (0 where that is not known). */
export type Heartbeat = { watermark: number; receivedAt_ms: number };

/** Batches of a lane without a gap: the sequence of the first, and when each was acknowledged (ms). */
export type Batches = { from: number; received_ms: number[] };

/**
 * Writes down in ClickHouse itself, once all their rows were counted, which batches it has and how far the lane is visible.
 * Repeating it changes nothing.
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
 * Which batches of a range ClickHouse was found to have whole, in SQL: their sequences and times. Rows of theirs that are
 * missing have been deleted since. With parameters `dataset`, `table`, `lane`, `from` and `to`.
 */
export const storedBatches = `(SELECT seq, received_at FROM timestore.stored_batches
                              WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND lane = {lane:UInt16}
                                AND seq BETWEEN {from:UInt64} AND {to:UInt64})`;

const unstoredOfRow = z.object({ seq: z.string(), received_ms: z.string() });

/**
 * The batches of a seal that were not found stored before: those after the last that was, since the ones ahead of it were
 * counted with it or earlier.
 */
export async function unstoredOf(node: FlushNode, table: Table, lane: number, seal: Seal): Promise<Seal | undefined> {
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

/** The heartbeat of a lane that is furthest. Throws StoreError, ClickHouseError. */
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
