import type { LaneSnapshot } from '../buffer/snapshot.ts';
import type { LaneMark } from '../buffer/watermark-token.ts';
import { qualifiedName, quoteString } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import type { CatalogDeps } from './deps.ts';
import { atLane } from './lane-location.ts';

/**
 * Whether ClickHouse has rows of lanes beyond their watermarks. Without a seal it has such rows only after a failover of the hot
 * buffer that has lost published seals, or from a late insert of a lost seal.
 *
 * @throws StoreError, ClickHouseError
 */
export async function hasRowsBeyondWatermarks(ctx: CatalogDeps, table: Table, lanes: LaneSnapshot[]): Promise<boolean> {
  return await hasRows(ctx, table, lanes, ({ lane, watermark }) => {
    return `(_lane = ${Number(lane)} AND _seq > ${Number(watermark)})`;
  });
}

/**
 * Whether a failover of the hot buffer has lost the rows of a watermark token: its batch is not stored, and another batch has its
 * sequence, or an earlier sequence was acknowledged later. Times of a lane ascend with its sequences, unless a new primary has
 * a clock behind the previous one.
 *
 * @throws StoreError, ClickHouseError
 */
export async function haveOvertakenMarks(ctx: CatalogDeps, table: Table, marks: LaneMark[]): Promise<boolean> {
  const all = marks.map(([lane, , seq, at_ms = 0]) => ({ lane, seq, at_ms }));
  return await hasRows(ctx, table, all, ({ lane, seq, at_ms }) => {
    const received = `fromUnixTimestamp64Milli(${Number(at_ms)}, 'UTC')`;
    const isKnown = `(SELECT count() FROM timestore.stored_batches
      WHERE dataset = ${quoteString(table.dataset)} AND \`table\` = ${quoteString(table.physical)}
        AND lane = ${Number(lane)} AND seq = ${Number(seq)} AND received_at = ${received}) > 0`;
    const isOther = `_received_at > ${received} OR (_seq = ${Number(seq)} AND _received_at != ${received})`;
    return `(_lane = ${Number(lane)} AND _seq <= ${Number(seq)} AND (${isOther}) AND NOT ${isKnown})`;
  });
}

/** Indexes over both columns make this cheap if no such row exists. */
async function hasRows<Of extends { lane: number }>(
  ctx: CatalogDeps,
  table: Table,
  of: Of[],
  condition: (each: Of) => string,
): Promise<boolean> {
  const placed = await Promise.all(of.map(async (each) => ({ each, node: await atLane(ctx, table, each.lane) })));
  const shards = [...Map.groupBy(placed, ({ node }) => node.shard).values()];
  const found = await Promise.all(
    shards.map(async (lanes) => {
      const conditions = new Set(lanes.map(({ each }) => condition(each)));
      return await lanes[0]?.node.clickhouse.rows(
        `SELECT 1 FROM ${qualifiedName(table)} WHERE ${[...conditions].join(' OR ')} LIMIT 1`,
      );
    }),
  );
  return found.some((rows = []) => rows.length > 0);
}
