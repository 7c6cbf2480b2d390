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
 * Distinguishes batches acknowledged after a cut from earlier ones. After a failover of the hot buffer to a server whose
 * clock is behind, later batches may have earlier sequences and times.
 */
export const guardSchema = z.object({
  /** Id of the failover watch: shows whether a failover may have lost a batch of the cut. */
  id: z.string(),
  /** Batches of the cut that were not in ClickHouse yet. */
  pending: z.array(batch),
  /** Time of each shard's clock at the cut. */
  clocks: z.array(z.object({ shard: z.int(), now_ms: z.int() })),
});

export type Guard = z.output<typeof guardSchema>;

/**
 * Guards a cut that was just taken. Undefined when more batches are pending than a query can carry: then only sequences and
 * times distinguish the batches.
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
  for (const { node } of shardsOf(ctx, table)) clocks.push({ shard: node.shard, now_ms: await readClock(node) });
  return { id, pending, clocks };
}

const clockOfRow = z.object({ now_ms: z.string() });

async function readClock(node: OperationNode): Promise<number> {
  const found = checkRows(clockOfRow, await node.clickhouse.rows('SELECT toUnixTimestamp64Milli(now64(3)) AS now_ms'));
  return Number(requireFirstRow('clickhouse', found).now_ms);
}

const laterBatchesRow = z.object({ lane: z.number(), seq: z.string(), at_ms: z.string() });

/**
 * Batches in ClickHouse that were acknowledged after a cut although their sequences and times belong to it.
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
  const known = new Set(guard.pending.map(batchKey));
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
    later.push(...batches.filter((each) => !known.has(batchKey(each))));
  }
  return later;
}

const batchKey = ({ lane, seq, at_ms }: Batch) => `${lane} ${seq} ${at_ms}`;

/** The SQL condition that excludes the rows of these batches. */
export function excludeBatchesSql(batches: Batch[]): string {
  if (batches.length === 0) return '1';
  const values = batches.map(({ lane, seq, at_ms }) => `(${Number(lane)}, ${Number(seq)}, ${Number(at_ms)})`);
  return `(_lane, _seq, toUnixTimestamp64Milli(_received_at)) NOT IN (${values.join(', ')})`;
}
