import type { Seal } from '../buffer/seal.ts';
import { encodeSkip } from '../buffer/skip.ts';
import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import type { TableRef } from '../names.ts';
import { digest, recordInQuarantine } from './quarantine.ts';
import type { QuarantineRecord } from './table.ts';

/** What a row is known by in ClickHouse. */
export type Identity = { lane: number; seq: number; row: number };

/**
 * Puts the rows of a seal that ClickHouse refuses into quarantine, as they were buffered. First ClickHouse itself is told,
 * so that no insert which begins from then on has them. Done again it changes nothing.
 *
 * @throws StoreError when a store that this needs is away
 */
export async function quarantineSkipped(ctx: Context, table: Table, lane: number, seal: Seal): Promise<void> {
  const records = seal.batches.flatMap((batch) => {
    const lines = batch.payload.split('\n');
    return [...(seal.skip.get(batch.seq) ?? [])].map((row) => ({
      id: digest(`${table.dataset}/${table.physical}/${seal.incarnation}/${lane}/${batch.seq}/${row}`),
      ...{ event: 'quarantined' as const, table: table.name, origin: 'flush' as const },
      ...{ physical: table.physical, lane, seq: batch.seq, row },
      ...{
        reason: 'refused-by-clickhouse',
        detail: 'ClickHouse refuses this row; look at the constraints of its table',
      },
      ...{ schema_version: batch.schemaVersion, meta: batch.meta, payload: lines[row] ?? '' },
    }));
  });
  await markSkipped(ctx, table, records);
  const idempotencyKey = `skipped:${table.physical}:${seal.incarnation}:${seal.token}:${digest(encodeSkip(seal.skip))}`;
  const told: QuarantineRecord[] = records;
  await recordInQuarantine(ctx, table.dataset, told, { idempotencyKey, requestHash: seal.token });
}

async function markSkipped(ctx: Context, { dataset, physical }: TableRef, rows: Identity[]): Promise<void> {
  const lines = rows.map(({ lane, seq, row }) => JSON.stringify({ dataset, table: physical, lane, seq, row }));
  const statement = `INSERT INTO timestore.skipped_rows (dataset, \`table\`, lane, seq, row) FORMAT JSONEachRow\n`;
  await ctx.clickhouse.send({
    settings: { async_insert: 0 },
    body: new TextEncoder().encode(statement + lines.join('\n')),
    timeout_ms: ctx.config.limits.insert_timeout_ms,
  });
}

/** How many rows of batches were refused by ClickHouse and set aside. Throws StoreError, ClickHouseError. */
export async function countSkipped(
  ctx: Context,
  { dataset, physical }: TableRef,
  batches: { lane: number; seq: number }[],
): Promise<number> {
  if (batches.length === 0) return 0;
  const places = batches.map(({ lane, seq }) => `(${Number(lane)},${Number(seq)})`);
  const [found] = await ctx.clickhouse.rows<{ rows: string }>(
    `SELECT uniqExact(lane, seq, row) AS rows FROM timestore.skipped_rows
      WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND (lane, seq) IN (${places.join(',')})`,
    { dataset, table: physical },
  );
  return Number(found?.rows ?? 0);
}

/**
 * Of rows that were set aside, those that an insert which began before may still bring.
 *
 * @throws StoreError, ClickHouseError
 */
export async function stillOnTheirWay<Row extends Identity>(
  ctx: Context,
  table: TableRef,
  rows: Row[],
): Promise<Row[]> {
  if (rows.length === 0) return [];
  const places = rows.map(({ lane, seq, row }) => `(${Number(lane)},${Number(seq)},${Number(row)})`);
  const young = await ctx.clickhouse.rows<{ lane: number; seq: string; row: number }>(
    `SELECT lane, seq, row FROM timestore.skipped_rows
      WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND (lane, seq, row) IN (${places.join(',')})
      GROUP BY lane, seq, row HAVING min(skipped_at) > now64(3) - toIntervalMillisecond({life_ms:UInt64})`,
    // An insert is given up by the server after its timeout; the same again for what goes on meanwhile.
    { dataset: table.dataset, table: table.physical, life_ms: 2 * ctx.config.limits.insert_timeout_ms },
    { max_query_size: 4_194_304, max_ast_elements: 1_000_000 },
  );
  const keys = new Set(young.map(({ lane, seq, row }) => `${lane} ${seq} ${row}`));
  return rows.filter(({ lane, seq, row }) => keys.has(`${lane} ${seq} ${row}`));
}
