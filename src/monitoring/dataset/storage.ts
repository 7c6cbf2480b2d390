import * as z from 'zod';
import { snapshotTable } from '../../buffer/snapshot.ts';
import { findTable } from '../../catalog/find-table.ts';
import { type ListedTable, listTables } from '../../catalog/list-tables.ts';
import { ApiError } from '../../core/errors.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { ClickHouseError, clickhouseCodes } from '../../stores/clickhouse/client.ts';
import { everyReplica } from '../../stores/clickhouse/kind.ts';
import { everyNode, everyShard } from '../../stores/clickhouse/servers.ts';
import type { MonitoringDeps } from '../deps.ts';

export type TableStorage = {
  name: string;
  retentionDays: number | null;
  /** In ClickHouse. */
  rows: number;
  bytes: number;
  uncompressedBytes: number;
  parts: number;
  partitions: number;
  /** Acknowledged rows that ClickHouse does not have yet, and the age of the oldest; null where the buffer has lost the table. */
  pendingRows: number | null;
  behind_ms: number | null;
};

export type SlowQuery = {
  /** Without values, as ClickHouse ran it. */
  query: string;
  runs: number;
  longest_ms: number;
  mean_ms: number;
  readRows: number;
};

export type DatasetStorage = {
  dataset: string;
  tables: TableStorage[];
  /** The slowest queries of the last 24 hours; null where the deployment may not read the query log. */
  slowQueries: SlowQuery[] | null;
};

const tables_max = 1_000;
const queries_max = 10;

/**
 * Sizes of the tables of a dataset, how far ClickHouse is behind, and its slowest queries: what an operator would otherwise ask
 * the system tables of ClickHouse, which show every dataset.
 *
 * @throws ApiError `not-found`; StoreError
 */
export async function readStorage(ctx: MonitoringDeps, dataset: string): Promise<DatasetStorage> {
  const listed = await listTables(ctx, dataset, { limit: tables_max });
  if (listed.length === 0) throw new ApiError('not-found', `Dataset ${dataset} not found.`);
  const [parts, slowQueries] = await Promise.all([readParts(ctx, dataset), readSlowQueries(ctx, dataset)]);
  const tables = await Promise.all(listed.map((table) => describeTable(ctx, table, parts)));
  return { dataset, tables: tables.flat(), slowQueries };
}

const partsRow = z.object({
  table: z.string(),
  rows: z.string(),
  bytes: z.string(),
  uncompressed: z.string(),
  parts: z.string(),
  partitions: z.array(z.string()),
});
type Parts = z.output<typeof partsRow>;

async function readParts(ctx: MonitoringDeps, dataset: string): Promise<Parts[]> {
  const parts = everyReplica(await ctx.clickhouseKind(), 'system.parts');
  const ofShards = await Promise.all(
    everyShard(ctx).map((node) =>
      node.clickhouse.rows(
        // Replicas have the same parts, some of them a moment later.
        `SELECT table, max(rows) AS rows, max(bytes) AS bytes, max(uncompressed) AS uncompressed, max(parts) AS parts,
                groupUniqArrayArray(partitions) AS partitions
           FROM (SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes, sum(data_uncompressed_bytes) AS uncompressed,
                        count() AS parts, groupUniqArray(partition_id) AS partitions
                   FROM ${parts} WHERE active AND database = {database:String} GROUP BY table, hostName())
          GROUP BY table`,
        { database: `ts_${dataset}` },
      ),
    ),
  );
  return checkRows(partsRow, ofShards.flat());
}

/** Empty for a table that was dropped meanwhile. */
async function describeTable(
  ctx: MonitoringDeps,
  { dataset, name }: ListedTable,
  parts: Parts[],
): Promise<TableStorage[]> {
  const table = await findTable(ctx, dataset, name);
  if (table === undefined) return [];
  const own = parts.filter((each) => each.table === table.physical);
  const sum = (of: 'rows' | 'bytes' | 'uncompressed' | 'parts') =>
    own.reduce((total, each) => total + Number(each[of]), 0);
  const snapshot = await snapshotTable(ctx, table, 'state');
  const lanes = snapshot === 'unknown' ? undefined : snapshot.lanes;
  const oldest = lanes?.flatMap(({ oldest_ms }) => oldest_ms ?? []) ?? [];
  const described: TableStorage = {
    name,
    retentionDays: table.retention?.totalDays ?? null,
    rows: sum('rows'),
    bytes: sum('bytes'),
    uncompressedBytes: sum('uncompressed'),
    parts: sum('parts'),
    partitions: new Set(own.flatMap(({ partitions }) => partitions)).size,
    pendingRows: lanes?.reduce((total, { pendingRows }) => total + pendingRows, 0) ?? null,
    behind_ms: snapshot === 'unknown' ? null : Math.max(0, ...oldest.map((time_ms) => snapshot.now_ms - time_ms)),
  };
  return [described];
}

const queryRow = z.object({
  query: z.string(),
  runs: z.string(),
  longest: z.string(),
  total: z.string(),
  rows: z.string(),
});

/** Only queries that read this dataset and no other one. */
async function readSlowQueries(ctx: MonitoringDeps, dataset: string): Promise<SlowQuery[] | null> {
  const log = everyReplica(await ctx.clickhouseKind(), 'system.query_log');
  try {
    const ofNodes = await Promise.all(
      everyNode(ctx).map((node) =>
        node.clickhouse.rows(
          `SELECT any(substring(normalizeQuery(query), 1, 2000)) AS query, count() AS runs, max(query_duration_ms) AS longest,
                  sum(query_duration_ms) AS total, max(read_rows) AS rows
             FROM ${log}
            WHERE event_date >= yesterday() AND event_time > now() - INTERVAL 24 HOUR AND type = 'QueryFinish'
              AND is_initial_query AND startsWith(query_id, 'timestore/') AND has(databases, {database:String})
              AND NOT arrayExists(other -> startsWith(other, 'ts_') AND other != {database:String}, databases)
            GROUP BY normalized_query_hash ORDER BY longest DESC LIMIT ${queries_max}`,
          { database: `ts_${dataset}` },
        ),
      ),
    );
    const found = checkRows(queryRow, ofNodes.flat()).map(
      (row): SlowQuery => ({
        query: row.query,
        runs: Number(row.runs),
        longest_ms: Number(row.longest),
        mean_ms: Math.round(Number(row.total) / Number(row.runs)),
        readRows: Number(row.rows),
      }),
    );
    return found.sort((a, b) => b.longest_ms - a.longest_ms).slice(0, queries_max);
  } catch (error) {
    const { accessDenied, unknownTable } = clickhouseCodes;
    if (error instanceof ClickHouseError && (error.code === accessDenied || error.code === unknownTable)) return null;
    throw error;
  }
}
