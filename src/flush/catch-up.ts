import * as z from 'zod';
import { advanceLane } from '../buffer/advance.ts';
import type { LaneSnapshot } from '../buffer/snapshot.ts';
import { atLane } from '../catalog/lane-location.ts';
import { requireFirstRow } from '../core/errors.ts';
import { qualifiedName, quoteName } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { FlushDeps } from './deps.ts';
import { readHeartbeat } from './heartbeat.ts';

/** A lane whose watermark was advanced over rows that a failover of the hot buffer had hidden, and their sequences. */
export type CaughtUp = { lane: number; from: number; to: number };

const catchUpLanesRow = z.object({ latest_ms: z.string() });

/**
 * Makes published rows visible again that a failover of the hot buffer has hidden. The heartbeats in ClickHouse record up to
 * which sequence it has all rows of a lane. A lane with pending batches must be flushed first, because their sequences may
 * overlap.
 *
 * @throws StoreError, ClickHouseError if a store is unavailable
 */
export async function catchUpLanes(ctx: FlushDeps, table: Table, lanes: LaneSnapshot[]): Promise<CaughtUp[]> {
  const shown: CaughtUp[] = [];
  for (const lane of lanes) {
    if (lane.seq !== lane.watermark || lane.sealedTo !== undefined) continue;
    const node = await atLane(ctx, table, lane.lane);
    const heartbeat = await readHeartbeat(node, table, lane.lane);
    if (heartbeat === undefined || heartbeat.watermark <= lane.watermark) continue;
    const found = checkRows(
      catchUpLanesRow,
      await node.clickhouse.rows(
        `SELECT toUnixTimestamp64Milli(max(${quoteName(table.schema.timestampColumn)})) AS latest_ms
         FROM ${qualifiedName(table)}
        WHERE _lane = {lane:UInt16} AND _seq > {from:UInt64} AND _seq <= {to:UInt64}`,
        { lane: lane.lane, from: lane.watermark, to: heartbeat.watermark },
      ),
    );
    const end = { ...heartbeat, latest_ms: Number(requireFirstRow('clickhouse', found).latest_ms) };
    if (!(await advanceLane(ctx, table, lane, end))) continue;
    const caughtUp = { lane: lane.lane, from: lane.watermark + 1, to: heartbeat.watermark };
    ctx.log({ event: 'buffer-rolled-back', alarm: true, dataset: table.dataset, table: table.name, ...caughtUp });
    shown.push(caughtUp);
  }
  return shown;
}
