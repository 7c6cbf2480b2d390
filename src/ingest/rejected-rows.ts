import * as z from 'zod';
import type { Seal } from '../buffer/seal.ts';
import { encodeSkip } from '../buffer/skip.ts';
import { atLane } from '../catalog/lane-location.ts';
import type { QuarantineRecord } from '../catalog/quarantine-table.ts';
import { assertDefined } from '../core/assert.ts';
import { requireFirstRow } from '../core/errors.ts';
import type { TableRef } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { storedTimestamp } from '../schema/timestamp.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { IngestDeps, IngestNode } from './deps.ts';
import { digest, recordInQuarantine } from './quarantine.ts';

/** The identity of a row in ClickHouse, together with the time of acknowledgement of its batch. */
export type Identity = { lane: number; seq: number; row: number };

/**
 * Puts the rows of a seal that ClickHouse rejects into quarantine, as they were buffered. Records them in ClickHouse first, so
 * that no later insert includes them. Idempotent.
 *
 * @throws StoreError if a required store is unavailable
 */
export async function quarantineRejectedRows(node: IngestNode, table: Table, lane: number, seal: Seal): Promise<void> {
  const records: QuarantineRecord[] = seal.batches.flatMap((batch) => {
    const lines = batch.payload.split('\n');
    return [...(seal.skip.get(batch.seq) ?? [])].map((row) => ({
      id: digest(`${table.dataset}/${table.physical}/${seal.incarnation}/${lane}/${batch.seq}/${row}/${batch.id}`),
      event: 'quarantined' as const,
      table: table.name,
      origin: 'flush' as const,
      physical: table.physical,
      lane,
      seq: batch.seq,
      row,
      reason: 'refused-by-clickhouse',
      detail: 'ClickHouse rejects this row; check the constraints of its table',
      schema_version: batch.schemaVersion,
      meta: batch.meta,
      payload: assertDefined(lines[row], `batch ${batch.seq} has row ${row}`),
    }));
  });
  await recordRejectedRows(node, table, lane, seal);
  const idempotencyKey = `skipped:${table.physical}:${seal.incarnation}:${seal.token}:${digest(encodeSkip(seal.skip))}`;
  await recordInQuarantine(node, table.dataset, records, { idempotencyKey, requestHash: seal.token, isOwn: true });
}

async function recordRejectedRows(
  node: IngestNode,
  { dataset, physical }: TableRef,
  lane: number,
  seal: Seal,
): Promise<void> {
  const lines = seal.batches.flatMap(({ seq, receivedAt_ms }) => {
    const received_at = storedTimestamp(receivedAt_ms);
    const rows = [...(seal.skip.get(seq) ?? [])];
    return rows.map((row) => JSON.stringify({ dataset, table: physical, lane, seq, row, received_at }));
  });
  const statement = `INSERT INTO timestore.skipped_rows (dataset, \`table\`, lane, seq, row, received_at) FORMAT JSONEachRow\n`;
  await node.clickhouse.send({
    settings: { async_insert: 0 },
    body: new TextEncoder().encode(statement + lines.join('\n')),
    timeout_ms: node.config.limits.insert_timeout_ms,
  });
}

const countSkippedRow = z.object({ rows: z.string() });

/**
 * Counts the rows of batches that ClickHouse rejected. Without `receivedAt_ms` it counts rows of all batches that had the
 * sequence. Throws StoreError, ClickHouseError.
 */
export async function countRejectedRows(
  ctx: IngestDeps,
  table: Table,
  batches: { lane: number; seq: number; receivedAt_ms?: number | undefined }[],
): Promise<number> {
  const { dataset, physical } = table;
  let rows = 0;
  for (const [lane, laneBatches] of Map.groupBy(batches, (batch) => batch.lane)) {
    const node = await atLane(ctx, table, lane);
    const found = checkRows(
      countSkippedRow,
      await node.clickhouse.rows(
        `SELECT uniqExact(seq, row) AS rows FROM timestore.skipped_rows
        WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND lane = {lane:UInt16}
          AND (${laneBatches.map(matchSkipped).join(' OR ')})`,
        { dataset, table: physical, lane },
      ),
    );
    rows += Number(requireFirstRow('clickhouse', found).rows);
  }
  return rows;
}

function matchSkipped({ seq, receivedAt_ms }: { seq: number; receivedAt_ms?: number | undefined }): string {
  if (receivedAt_ms === undefined) return `seq = ${Number(seq)}`;
  return `(seq = ${Number(seq)} AND toUnixTimestamp64Milli(received_at) IN (0, ${Number(receivedAt_ms)}))`;
}

const countInFlightRow = z.object({ seq: z.string(), row: z.number() });

/**
 * Finds quarantined rows that an insert from before the quarantine may still write.
 *
 * @throws StoreError, ClickHouseError
 */
export async function findInFlight<Row extends Identity>(ctx: IngestDeps, table: Table, rows: Row[]): Promise<Row[]> {
  const late: Row[] = [];
  for (const [lane, laneRows] of Map.groupBy(rows, (row) => row.lane)) {
    const node = await atLane(ctx, table, lane);
    const places = laneRows.map(({ seq, row }) => `(${Number(seq)},${Number(row)})`);
    const young = checkRows(
      countInFlightRow,
      await node.clickhouse.rows(
        `SELECT seq, row FROM timestore.skipped_rows
        WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND lane = {lane:UInt16} AND (seq, row) IN (${places.join(',')})
        GROUP BY seq, row, received_at HAVING min(skipped_at) > now64(3) - toIntervalMillisecond({life_ms:UInt64})`,
        // The server stops an insert after its timeout. The factor 2 is a safety margin.
        {
          dataset: table.dataset,
          table: table.physical,
          lane,
          life_ms: 2 * ctx.config.limits.insert_timeout_ms,
        },
        { max_query_size: 4_194_304, max_ast_elements: 1_000_000 },
      ),
    );
    const keys = new Set(young.map(({ seq, row }) => `${seq} ${row}`));
    late.push(...laneRows.filter(({ seq, row }) => keys.has(`${seq} ${row}`)));
  }
  return late;
}
