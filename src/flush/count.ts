import type { Seal } from '../buffer/seal.ts';
import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { qualifiedName, quoteName } from '../names.ts';

/** What ClickHouse holds of a seal in one partition. */
export type PartitionCount = {
  partition: string;
  rows: number;
  seqFrom: number;
  seqTo: number;
  timeFrom_ms: number;
  timeTo_ms: number;
  /** Exclusive or of the hashes of the rows' identities and times, 16 hexadecimal digits. */
  checksum: string;
};

/** Counts what ClickHouse holds of a seal: the only proof that an insert is there. One entry a partition. */
export async function countSeal(ctx: Context, table: Table, lane: number, seal: Seal): Promise<PartitionCount[]> {
  const time = quoteName(table.schema.timestampColumn);
  const counts = await ctx.clickhouse.rows<Record<keyof PartitionCount, string>>(
    `SELECT _partition_id AS partition, count() AS rows, min(_seq) AS seqFrom, max(_seq) AS seqTo,
            toUnixTimestamp64Milli(min(${time})) AS timeFrom_ms, toUnixTimestamp64Milli(max(${time})) AS timeTo_ms,
            lower(hex(groupBitXor(sipHash64(_seq, _row, ${time})))) AS checksum
       FROM ${qualifiedName(table)}
      WHERE _lane = {lane:UInt16} AND _seq BETWEEN {from:UInt64} AND {to:UInt64}
      GROUP BY partition ORDER BY partition`,
    { lane, from: seal.from, to: seal.to },
  );
  return counts.map((count) => ({
    partition: count.partition,
    rows: Number(count.rows),
    seqFrom: Number(count.seqFrom),
    seqTo: Number(count.seqTo),
    timeFrom_ms: Number(count.timeFrom_ms),
    timeTo_ms: Number(count.timeTo_ms),
    checksum: count.checksum,
  }));
}

export function rowsCounted(partitions: PartitionCount[]): number {
  return partitions.reduce((sum, { rows }) => sum + rows, 0);
}
