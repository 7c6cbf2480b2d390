import type { LaneSnapshot } from '../buffer/snapshot.ts';
import type { Table } from '../catalog/table.ts';
import { type At, atLane } from '../clickhouse/cluster.ts';
import type { Until } from '../clickhouse/until.ts';
import type { Context } from '../context.ts';
import { qualifiedName } from '../names.ts';

/**
 * The newest batches that ClickHouse has of lanes beyond their last ones: the hot buffer has forgotten them in a failover,
 * or acknowledged them after the lanes were read.
 *
 * @throws StoreError, ClickHouseError
 */
export async function hiddenEnds(ctx: Context, table: Table, lanes: LaneSnapshot[]): Promise<Until> {
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

async function hiddenAt(at: At, table: Table, lanes: LaneSnapshot[]): Promise<Until> {
  // A lane that writers do not use may have rows of an import, which are not acknowledged before its heartbeat.
  const conditions = lanes.filter(({ lane }) => lane < table.lanes).map(isBeyond);
  const found = await at.clickhouse.rows<{ lane: number; at_ms: string; seq: string }>(
    `SELECT lane, newest.1 AS at_ms, newest.2 AS seq FROM (
       SELECT lane, max((toUnixTimestamp64Milli(received_at), watermark)) AS newest FROM timestore.ingest_watermarks
        WHERE dataset = {dataset:String} AND \`table\` = {table:String} AND lane IN {lanes:Array(UInt16)}
          AND toUnixTimestamp64Milli(received_at) > 0 GROUP BY lane
       UNION ALL
       SELECT _lane AS lane, max((toUnixTimestamp64Milli(_received_at), _seq)) AS newest FROM ${qualifiedName(table)}
        WHERE ${['0', ...conditions].join(' OR ')} GROUP BY lane)`,
    { dataset: table.dataset, table: table.physical, lanes: lanes.map(({ lane }) => lane) },
  );
  return found.map(({ lane, seq, at_ms }) => ({ lane, seq: Number(seq), at_ms: Number(at_ms) }));
}

/** The indexes over both columns leave next to nothing to be read where no row is. */
function isBeyond({ lane, seq, seqAt_ms }: LaneSnapshot): string {
  const later = `_seq > ${Number(seq)}`;
  if (seqAt_ms === undefined) return `(_lane = ${Number(lane)} AND ${later})`;
  const time = `fromUnixTimestamp64Milli(${Number(seqAt_ms)}, 'UTC')`;
  return `(_lane = ${Number(lane)} AND (_received_at > ${time} OR (_received_at = ${time} AND ${later})))`;
}
