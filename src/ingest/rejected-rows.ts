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

/** What a row is known by in ClickHouse, beside when its batch was acknowledged. */
export type Identity = { lane: number; seq: number; row: number };

/**
 * Puts the rows of a seal that ClickHouse refuses into quarantine, as they were buffered. First ClickHouse itself is told,
 * so that no insert which begins from then on has them. Done again it changes nothing.
 *
 * @throws StoreError when a store that this needs is away
 */
export async function quarantineSkipped(node: IngestNode, table: Table, lane: number, seal: Seal): Promise<void> {
  const records = seal.batches.flatMap((batch) => {
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
      detail: 'ClickHouse refuses this row; look at the constraints of its table',
      schema_version: batch.schemaVersion,
      meta: batch.meta,
      payload: assertDefined(lines[row], `batch ${batch.seq} has row ${row}`),
    }));
  });
  await markSkipped(node, table, lane, seal);
  const idempotencyKey = `skipped:${table.physical}:${seal.incarnation}:${seal.token}:${digest(encodeSkip(seal.skip))}`;
  const told: QuarantineRecord[] = records;
  await recordInQuarantine(node, table.dataset, told, { idempotencyKey, requestHash: seal.token, isOwn: true });
}

async function markSkipped(node: IngestNode, { dataset, physical }: TableRef, lane: number, seal: Seal): Promise<void> {
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
 * How many rows of batches were refused by ClickHouse and set aside. Where it is not known when a batch was acknowledged,
 * of any that had its sequence. Throws StoreError, ClickHouseError.
 */
export async function countSkipped(
  ctx: IngestDeps,
  table: Table,
  batches: { lane: number; seq: number; receivedAt_ms?: number | undefined }[],
): Promise<number> {
  const { dataset, physical } = table;
  let rows = 0;
  for (const [lane, of] of Map.groupBy(batches, (batch) => batch.lane)) {
    const node = await atLane(ctx, table, lane);
    const found = checkRows(
      countSkippedRow,
      await node.clickhouse.rows(
        `SELECT uniqExact(seq, row) AS rows FROM timestore.skipped_rows
        WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND lane = {lane:UInt16}
          AND (${of.map(skippedOf).join(' OR ')})`,
        { dataset, table: physical, lane },
      ),
    );
    rows += Number(requireFirstRow('clickhouse', found).rows);
  }
  return rows;
}

function skippedOf({ seq, receivedAt_ms }: { seq: number; receivedAt_ms?: number | undefined }): string {
  if (receivedAt_ms === undefined) return `seq = ${Number(seq)}`;
  return `(seq = ${Number(seq)} AND toUnixTimestamp64Milli(received_at) IN (0, ${Number(receivedAt_ms)}))`;
}

const countInFlightRow = z.object({ seq: z.string(), row: z.number() });

/**
 * Of rows that were set aside, those that an insert which began before may still bring.
 *
 * @throws StoreError, ClickHouseError
 */
export async function countInFlight<Row extends Identity>(ctx: IngestDeps, table: Table, rows: Row[]): Promise<Row[]> {
  const late: Row[] = [];
  for (const [lane, of] of Map.groupBy(rows, (row) => row.lane)) {
    const node = await atLane(ctx, table, lane);
    const places = of.map(({ seq, row }) => `(${Number(seq)},${Number(row)})`);
    const young = checkRows(
      countInFlightRow,
      await node.clickhouse.rows(
        `SELECT seq, row FROM timestore.skipped_rows
        WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND lane = {lane:UInt16} AND (seq, row) IN (${places.join(',')})
        GROUP BY seq, row, received_at HAVING min(skipped_at) > now64(3) - toIntervalMillisecond({life_ms:UInt64})`,
        // An insert is given up by the server after its timeout; the same again for what goes on meanwhile.
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
    late.push(...of.filter(({ seq, row }) => keys.has(`${seq} ${row}`)));
  }
  return late;
}
