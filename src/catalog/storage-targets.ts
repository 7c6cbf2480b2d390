import * as z from 'zod';
import { StoreError } from '../core/errors.ts';
import { checkRows } from '../stores/check-rows.ts';
import { everyReplica } from '../stores/clickhouse/kind.ts';
import { everyNode } from '../stores/clickhouse/servers.ts';
import type { CatalogDeps, CatalogNode } from './deps.ts';

export type Target = {
  kind: 'clickhouse' | 's3';
  name: string;
  /** Null without a cluster. */
  shard: number | null;
  /** Whether the target answers; otherwise its volumes are unknown. */
  available: boolean;
  policy: string | null;
  volumes: {
    name: string;
    disks: { name: string; type: string; freeBytes: number; totalBytes: number }[];
    usedBytes: number;
    rows: number;
  }[];
};

/** Storage and its usage, for each server of a cluster. Throws StoreError, ClickHouseError. */
export async function listTargets(ctx: CatalogDeps): Promise<Target[]> {
  const targets: Target[] = [];
  const addresses = ctx.config.CLICKHOUSE_SHARDS?.flat() ?? [ctx.config.CLICKHOUSE_URL];
  for (const [n, node] of everyNode(ctx).entries()) {
    const shard = ctx.cluster === undefined ? null : node.shard;
    const named = {
      shard,
      name: new URL(addresses[n] ?? '').host,
      policy: ctx.config.CLICKHOUSE_STORAGE_POLICY ?? null,
    };
    const volumes = await readVolumes(node).catch((error) => {
      if (ctx.cluster === undefined || !(error instanceof StoreError)) throw error;
      return undefined;
    });
    targets.push({ kind: 'clickhouse', ...named, available: volumes !== undefined, volumes: volumes ?? [] });
  }
  return [
    ...targets,
    { kind: 's3', name: ctx.config.S3_BUCKET, shard: null, available: true, policy: null, volumes: [] },
  ];
}

const volumeRow = z.object({ name: z.string(), disks: z.array(z.string()) });
const diskRow = z.object({ name: z.string(), type: z.string(), free: z.string(), total: z.string() });
const usedRow = z.object({ disk: z.string(), bytes: z.string(), rows: z.string() });

async function readVolumes(node: CatalogNode): Promise<Target['volumes']> {
  const policy = node.config.CLICKHOUSE_STORAGE_POLICY ?? 'default';
  const parts = everyReplica(await node.clickhouseKind(), 'system.parts');
  const [volumeRows, diskRows, usedRows] = await Promise.all([
    node.clickhouse.rows(
      `SELECT volume_name AS name, disks FROM system.storage_policies WHERE policy_name = {policy:String}
        ORDER BY volume_priority`,
      { policy },
    ),
    node.clickhouse.rows('SELECT name, type, free_space AS free, total_space AS total FROM system.disks'),
    node.clickhouse.rows(
      // Replicas have the same parts, some of them a moment later.
      `SELECT disk, max(bytes) AS bytes, max(rows) AS rows FROM (
         SELECT disk_name AS disk, sum(bytes_on_disk) AS bytes, sum(rows) AS rows FROM ${parts}
          WHERE active AND startsWith(database, 'ts_') GROUP BY disk, hostName()) GROUP BY disk`,
    ),
  ]);
  const volumes = checkRows(volumeRow, volumeRows);
  const disks = checkRows(diskRow, diskRows);
  const used = checkRows(usedRow, usedRows);
  const sum = (names: string[], of: 'bytes' | 'rows') => {
    return used.reduce((total, each) => (names.includes(each.disk) ? total + Number(each[of]) : total), 0);
  };
  return volumes.map(({ name, disks: names }) => ({
    name,
    disks: disks
      .filter((disk) => names.includes(disk.name))
      .map((disk) => {
        return { name: disk.name, type: disk.type, freeBytes: Number(disk.free), totalBytes: Number(disk.total) };
      }),
    usedBytes: sum(names, 'bytes'),
    rows: sum(names, 'rows'),
  }));
}
