import * as z from 'zod';
import type { LanePositions } from '../../buffer/lane-positions.ts';
import { snapshotTable } from '../../buffer/snapshot.ts';
import { hasFailedOver, watchFailover } from '../../buffer/watch-failover.ts';
import { shardsOf } from '../../catalog/lane-location.ts';
import { requireFirstRow } from '../../core/errors.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationDeps, OperationNode } from '../deps.ts';

const batch = z.object({ lane: z.int(), seq: z.int(), at_ms: z.int() });
type Batch = z.output<typeof batch>;

/**
 * What tells batches that are acknowledged after a cut from those before, where the hot buffer fails over to a server
 * whose clock is behind: they may have earlier sequences and times.
 */
export const guardSchema = z.object({
  /** By which the hot buffer tells whether a failover may have taken back a batch of the cut. */
  id: z.string(),
  /** Batches of the cut that ClickHouse may get later. */
  pending: z.array(batch),
  /** The clock of each shard when the cut was taken. */
  clocks: z.array(z.object({ shard: z.int(), now_ms: z.int() })),
});

export type Guard = z.output<typeof guardSchema>;

/**
 * Guards a cut that was taken just now. Undefined when more batches wait than a query can carry: then sequences and times
 * alone tell.
 *
 * @throws StoreError, ClickHouseError
 */
export async function guardSnapshot(ctx: OperationDeps, table: Table): Promise<Guard | undefined> {
  const snapshot = await snapshotTable(ctx, table, 'entries');
  if (snapshot === 'unknown' || snapshot.tail !== 'ready') return undefined;
  const id = crypto.randomUUID();
  await watchFailover(ctx, table, id);
  const pending = snapshot.lanes.flatMap(({ lane, tail }) => {
    return tail.map(({ seq, receivedAt_ms }) => ({ lane, seq, at_ms: receivedAt_ms }));
  });
  const clocks = [];
  for (const { node } of shardsOf(ctx, table)) clocks.push({ shard: node.shard, now_ms: await clockOf(node) });
  return { id, pending, clocks };
}

const clockOfRow = z.object({ now_ms: z.string() });

async function clockOf(node: OperationNode): Promise<number> {
  const found = checkRows(clockOfRow, await node.clickhouse.rows('SELECT toUnixTimestamp64Milli(now64(3)) AS now_ms'));
  return Number(requireFirstRow('clickhouse', found).now_ms);
}

const laterBatchesRow = z.object({ lane: z.number(), seq: z.string(), at_ms: z.string() });

/**
 * Batches in ClickHouse that were acknowledged after a cut, and are among its sequences and times all the same.
 *
 * @throws StoreError, ClickHouseError
 */
export async function laterBatches(
  ctx: OperationDeps,
  table: Table,
  until: LanePositions,
  guard: Guard | undefined,
): Promise<Batch[]> {
  if (guard === undefined) return [];
  if (!(await hasFailedOver(ctx, table, guard.id))) return [];
  const known = new Set(guard.pending.map(keyOf));
  const later: Batch[] = [];
  for (const { node, lanes } of shardsOf(ctx, table)) {
    const taken_ms = guard.clocks.find(({ shard }) => shard === node.shard)?.now_ms;
    const ends = until.filter(({ lane }) => lanes.includes(lane));
    if (taken_ms === undefined || ends.length === 0) continue;
    const stored = checkRows(
      laterBatchesRow,
      await node.clickhouse.rows(
        `SELECT lane, seq, toUnixTimestamp64Milli(received_at) AS at_ms FROM timestore.stored_batches
        WHERE dataset = {dataset:String} AND \`table\` = {table:String}
          AND (${ends.map(({ lane, seq }) => `(lane = ${Number(lane)} AND seq <= ${Number(seq)})`).join(' OR ')})
        GROUP BY lane, seq, received_at HAVING toUnixTimestamp64Milli(min(stored_at)) > {taken:Int64}`,
        { dataset: table.dataset, table: table.physical, taken: taken_ms },
      ),
    );
    const batches = stored.map(({ lane, seq, at_ms }) => ({ lane, seq: Number(seq), at_ms: Number(at_ms) }));
    later.push(...batches.filter((each) => !known.has(keyOf(each))));
  }
  return later;
}

const keyOf = ({ lane, seq, at_ms }: Batch) => `${lane} ${seq} ${at_ms}`;

/** The condition that rows are of none of these batches. */
export function notOfSql(batches: Batch[]): string {
  if (batches.length === 0) return '1';
  const values = batches.map(({ lane, seq, at_ms }) => `(${Number(lane)}, ${Number(seq)}, ${Number(at_ms)})`);
  return `(_lane, _seq, toUnixTimestamp64Milli(_received_at)) NOT IN (${values.join(', ')})`;
}
