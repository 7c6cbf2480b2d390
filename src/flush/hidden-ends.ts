import * as z from 'zod';
import type { LanePositions } from '../buffer/lane-positions.ts';
import type { LaneSnapshot } from '../buffer/snapshot.ts';
import { atLane } from '../catalog/lane-location.ts';
import { qualifiedName } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { FlushDeps, FlushNode } from './deps.ts';

/**
 * The newest positions in ClickHouse beyond the last batches of lanes: a failover of the hot buffer has hidden these rows, or
 * they were acknowledged after the lanes were read.
 *
 * @throws StoreError, ClickHouseError
 */
export async function findHiddenPositions(ctx: FlushDeps, table: Table, lanes: LaneSnapshot[]): Promise<LanePositions> {
  const placed = await Promise.all(lanes.map(async (lane) => ({ lane, at: await atLane(ctx, table, lane.lane) })));
  const shards = [...Map.groupBy(placed, ({ at }) => at.shard).values()];
  const found = await Promise.all(
    shards.map(async (of) => {
      const [first] = of;
      const own = of.map(({ lane }) => lane);
      return first === undefined ? [] : await hiddenAt(first.at, table, own);
    }),
  );
  return found.flat();
}

const hiddenAtRow = z.object({ lane: z.number(), newest: z.string(), newest_ms: z.string() });

async function hiddenAt(node: FlushNode, table: Table, lanes: LaneSnapshot[]): Promise<LanePositions> {
  // Lanes for readers only can have rows of an import, which count only when they are recorded.
  const ofWriters = lanes.filter(({ lane }) => lane < table.lanes);
  const others = lanes.filter(({ lane }) => lane >= table.lanes);
  const found = checkRows(
    hiddenAtRow,
    await node.clickhouse.rows(
      `SELECT _lane AS lane, max(_seq) AS newest, toUnixTimestamp64Milli(max(_received_at)) AS newest_ms
       FROM ${qualifiedName(table)} WHERE ${beyond(ofWriters, ['_lane', '_seq', '_received_at'])} GROUP BY lane
     UNION ALL
     SELECT lane, max(seq) AS newest, toUnixTimestamp64Milli(max(received_at)) AS newest_ms
       FROM timestore.stored_batches
      WHERE dataset = {dataset:String} AND \`table\` = {table:String}
        AND (${beyond(others, ['lane', 'seq', 'received_at'])}) GROUP BY lane`,
      { dataset: table.dataset, table: table.physical },
    ),
  );
  return found.map(({ lane, newest, newest_ms }) => ({ lane, seq: Number(newest), at_ms: Number(newest_ms) }));
}

/** Indexes over sequences and times make this cheap if no such row exists. */
function beyond(lanes: LaneSnapshot[], [lane, seq, at]: [lane: string, seq: string, at: string]): string {
  const conditions = lanes.map((each) => {
    const later = `${seq} > ${Number(each.seq)}`;
    const isLater = `${at} > fromUnixTimestamp64Milli(${Number(each.seqAt_ms)}, 'UTC')`;
    return `(${lane} = ${Number(each.lane)} AND ${each.seqAt_ms === undefined ? later : `(${later} OR ${isLater})`})`;
  });
  return ['0', ...conditions].join(' OR ');
}
