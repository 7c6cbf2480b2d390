import * as z from 'zod';
import type { BufferedBatch } from '../buffer/buffered-batch.ts';
import type { Seal } from '../buffer/seal.ts';
import { qualifiedName, quoteName } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { FlushNode } from './deps.ts';

/** 64-bit integers come as text. */
const countRow = z.object({
  partition: z.string(),
  rows: z.string(),
  seqFrom: z.string(),
  seqTo: z.string(),
  timeFrom_ms: z.string(),
  timeTo_ms: z.string(),
  checksum: z.string(),
});

/** The rows of a seal in one partition of ClickHouse. */
export type PartitionCount = {
  partition: string;
  rows: number;
  seqFrom: number;
  seqTo: number;
  timeFrom_ms: number;
  timeTo_ms: number;
  /** XOR of the hashes of the rows' identities and times, 16 hexadecimal digits. */
  checksum: string;
};

/**
 * The condition that rows of a range belong to these batches, and not to others that had the same sequences before a failover of
 * the hot buffer. Parameter: `from`, the first sequence.
 */
export function matchBatches(batches: Pick<BufferedBatch, 'receivedAt_ms'>[]): string {
  const times = batches.map(({ receivedAt_ms }) => Number(receivedAt_ms));
  const received = 'toUnixTimestamp64Milli(_received_at)';
  if (times.every((time_ms) => time_ms === times[0])) return `${received} = ${times[0]}`;
  return `${received} = [${times.join(',')}][toUInt32(_seq - {from:UInt64}) + 1]`;
}

/** Settings for statements with long lists. */
export const longStatement = { max_query_size: 4_194_304, max_ast_elements: 1_000_000 } as const;

/**
 * Counts the rows of a range in ClickHouse, by partition: the only proof of an insert.
 *
 * @param batches the batches of the range, in order; by default rows of all batches count
 */
export async function countSeal(
  node: FlushNode,
  table: Table,
  lane: number,
  seal: Pick<Seal, 'from' | 'to'> & { batches?: Pick<BufferedBatch, 'receivedAt_ms'>[] },
): Promise<PartitionCount[]> {
  const time = quoteName(table.schema.timestampColumn);
  const counts = checkRows(
    countRow,
    await node.clickhouse.rows(
      `SELECT _partition_id AS partition, count() AS rows, min(_seq) AS seqFrom, max(_seq) AS seqTo,
            toUnixTimestamp64Milli(min(${time})) AS timeFrom_ms, toUnixTimestamp64Milli(max(${time})) AS timeTo_ms,
            lower(hex(groupBitXor(sipHash64(_seq, _row, ${time})))) AS checksum
       FROM ${qualifiedName(table)}
      WHERE _lane = {lane:UInt16} AND _seq BETWEEN {from:UInt64} AND {to:UInt64}
        ${seal.batches === undefined ? '' : `AND ${matchBatches(seal.batches)}`}
      GROUP BY partition ORDER BY partition`,
      { lane, from: seal.from, to: seal.to },
      longStatement,
    ),
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

const storedAmongRow = z.object({ seq: z.string(), row: z.number() });

/** The rows of the skip list that ClickHouse has nevertheless. */
export async function findStoredSkips(
  node: FlushNode,
  table: Table,
  lane: number,
  { skip, batches }: Pick<Seal, 'skip' | 'batches'>,
): Promise<{ seq: number; row: number }[]> {
  const receivedAt_ms = new Map(batches.map((batch) => [batch.seq, batch.receivedAt_ms]));
  const rows = [...skip].flatMap(([seq, places]) => {
    return [...places].map((row) => `(${seq},${row},${receivedAt_ms.get(seq)})`);
  });
  const found = checkRows(
    storedAmongRow,
    await node.clickhouse.rows(
      `SELECT _seq AS seq, _row AS row FROM ${qualifiedName(table)}
      WHERE _lane = {lane:UInt16} AND _seq BETWEEN {from:UInt64} AND {to:UInt64}
        AND (_seq, _row, toUnixTimestamp64Milli(_received_at)) IN (${rows.join(',')})`,
      { lane, from: Math.min(...skip.keys()), to: Math.max(...skip.keys()) },
      longStatement,
    ),
  );
  return found.map(({ seq, row }) => ({ seq: Number(seq), row: Number(row) }));
}

export function sumRows(partitions: PartitionCount[]): number {
  return partitions.reduce((sum, { rows }) => sum + rows, 0);
}
