import * as z from 'zod';
import type { LaneSnapshot } from '../../buffer/snapshot.ts';
import { requireLane } from '../../buffer/snapshot.ts';
import { atLane } from '../../catalog/lane-location.ts';
import { requireFirstRow } from '../../core/errors.ts';
import { qualifiedName, quoteName } from '../../core/identifiers.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationDeps } from '../deps.ts';

/** The rows of one lane in one partition: `expected` by manifests and recorded deletions, `found` in ClickHouse. */
export type PartitionAudit = {
  lane: number;
  partition: string;
  expected: number;
  found: number;
  /** Expected rows that are not in ClickHouse for an unknown reason. */
  missing: number;
  /** Duplicate rows, without the first of each. */
  doubled: number;
  /** Rows in ClickHouse that no manifest records. */
  unaccounted: number;
  /** Expected rows that are not in ClickHouse, in a partition with rows past their retention. */
  expired: number;
  deleted: number;
};

type Recorded = { rows: number; checksum: string; timeFrom_ms: number };
type Found = { rows: number; checksum: string };

/** Compares every lane and partition, up to the watermarks of the snapshot. Throws StoreError, ClickHouseError. */
export async function comparePartitions(
  ctx: OperationDeps,
  table: Table,
  lanes: LaneSnapshot[],
  retainedFrom_ms: number | undefined,
): Promise<PartitionAudit[]> {
  const [recorded, found, deleted] = [
    await readRecorded(ctx, table, lanes),
    await countFound(ctx, table, lanes),
    await readDeleted(ctx, table),
  ];
  const audits: PartitionAudit[] = [];
  for (const key of new Set([...recorded.keys(), ...found.keys()])) {
    const { lane, partition } = parseKey(key);
    const { rows, checksum, timeFrom_ms } = recorded.get(key) ?? { rows: 0, checksum: zero, timeFrom_ms: Infinity };
    const stored = found.get(key) ?? { rows: 0, checksum: zero };
    const deletions = deleted.get(key) ?? { done: 0, inProgress: 0 };
    const noDifference = { missing: 0, doubled: 0, unaccounted: 0, expired: 0, deleted: 0 };
    // The same number of rows with the same checksum of identities. This cheap check nearly always suffices.
    if (rows === stored.rows && checksum === stored.checksum && deletions.done === 0) {
      audits.push({ lane, partition, expected: rows, found: stored.rows, ...noDifference });
      continue;
    }
    const distinct = await countDistinct(ctx, table, lane, partition, requireLane(lanes, lane).watermark);
    // Rows of a deletion in progress may still be stored.
    const removed = Math.min(deletions.inProgress, Math.max(0, rows - deletions.done - distinct));
    const deletedRows = deletions.done + removed;
    const expected = rows - deletedRows;
    const base = { lane, partition, expected, found: stored.rows, deleted: deletedRows };
    const absent = Math.max(0, expected - distinct);
    const mayExpire = retainedFrom_ms !== undefined && timeFrom_ms < retainedFrom_ms + early_ms;
    const isOther =
      expected === distinct && deletedRows === 0 && stored.rows === distinct && checksum !== stored.checksum;
    audits.push({
      ...base,
      doubled: stored.rows - distinct,
      // The expected number of rows, but other ones: at least one is missing and one is unaccounted.
      missing: isOther ? 1 : mayExpire ? 0 : absent,
      unaccounted: isOther ? 1 : Math.max(0, distinct - expected),
      expired: mayExpire ? absent : 0,
    });
  }
  return audits.sort((a, b) => a.lane - b.lane || (a.partition < b.partition ? -1 : 1));
}

/** ClickHouse applies retention in whole seconds of its own clock, so rows may expire this much early. */
const early_ms = 60_000;

const zero = '0'.repeat(16);

const saidOfRow = z.object({ partition: z.string(), rows: z.string(), checksum: z.string(), from_ms: z.string() });

async function readRecorded(
  ctx: OperationDeps,
  { dataset, physical }: Table,
  lanes: LaneSnapshot[],
): Promise<Map<string, Recorded>> {
  const recorded = new Map<string, Recorded>();
  for (const { lane, watermark } of lanes) {
    const rows = checkRows(
      saidOfRow,
      await ctx.postgres.rows(
        `select p.partition, sum(p.rows) as rows,
              lpad(to_hex(bit_xor(('x' || lpad(p.checksum, 16, '0'))::bit(64)::bigint)), 16, '0') as checksum,
              extract(epoch from min(p.time_from)) * 1000 as from_ms
         from manifests m join manifest_partitions p on p.manifest_id = m.id
        where m.dataset = $dataset and m.physical_table = $physical and m.lane = $lane and m.seq_to <= $watermark
        group by p.partition`,
        { dataset, physical, lane, watermark },
      ),
    );
    for (const row of rows) {
      const { partition, checksum } = row;
      recorded.set(partitionKey(lane, partition), {
        rows: Number(row.rows),
        checksum,
        timeFrom_ms: Number(row.from_ms),
      });
    }
  }
  return recorded;
}

const foundInRow = z.object({ partition: z.string(), rows: z.string(), checksum: z.string() });

async function countFound(ctx: OperationDeps, table: Table, lanes: LaneSnapshot[]): Promise<Map<string, Found>> {
  const found = new Map<string, Found>();
  const time = quoteName(table.schema.timestampColumn);
  for (const { lane, watermark } of lanes) {
    const node = await atLane(ctx, table, lane);
    const rows = checkRows(
      foundInRow,
      await node.clickhouse.rows(
        `SELECT _partition_id AS partition, count() AS rows, lower(hex(groupBitXor(sipHash64(_seq, _row, ${time})))) AS checksum
         FROM ${qualifiedName(table)} WHERE _lane = {lane:UInt16} AND _seq <= {watermark:UInt64} GROUP BY partition`,
        { lane, watermark },
      ),
    );
    for (const { partition, rows: count, checksum } of rows) {
      found.set(partitionKey(lane, partition), { rows: Number(count), checksum: checksum.padStart(16, '0') });
    }
  }
  return found;
}

type Deleted = { done: number; inProgress: number };

const deletedFromRow = z.object({ lane: z.number(), partition: z.string(), done: z.string(), all: z.string() });

async function readDeleted(ctx: OperationDeps, { dataset, physical }: Table): Promise<Map<string, Deleted>> {
  const rows = checkRows(
    deletedFromRow,
    await ctx.postgres.rows(
      `select lane, partition, coalesce(sum(rows) filter (where done_at is not null), 0) as done, sum(rows) as all
       from deletions where dataset = $dataset and physical_table = $physical group by lane, partition`,
      { dataset, physical },
    ),
  );
  return new Map(
    rows.map(({ lane, partition, done, all }) => {
      return [partitionKey(lane, partition), { done: Number(done), inProgress: Number(all) - Number(done) }];
    }),
  );
}

const distinctInRow = z.object({ rows: z.string() });

async function countDistinct(
  ctx: OperationDeps,
  table: Table,
  lane: number,
  partition: string,
  watermark: number,
): Promise<number> {
  const node = await atLane(ctx, table, lane);
  const found = checkRows(
    distinctInRow,
    await node.clickhouse.rows(
      `SELECT uniqExact(_seq, _row, _received_at) AS rows FROM ${qualifiedName(table)}
      WHERE _lane = {lane:UInt16} AND _seq <= {watermark:UInt64} AND _partition_id = {partition:String}`,
      { lane, watermark, partition },
    ),
  );
  return Number(requireFirstRow('clickhouse', found).rows);
}

function partitionKey(lane: number, partition: string): string {
  return `${lane}/${partition}`;
}

function parseKey(key: string): { lane: number; partition: string } {
  const slash = key.indexOf('/');
  return { lane: Number(key.slice(0, slash)), partition: key.slice(slash + 1) };
}
