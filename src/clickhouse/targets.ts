import type { Context } from '../context.ts';

export type Target = {
  kind: 'clickhouse' | 's3';
  name: string;
  policy: string | null;
  volumes: {
    name: string;
    disks: { name: string; type: string; freeBytes: number; totalBytes: number }[];
    usedBytes: number;
    rows: number;
  }[];
};

/** Where rows are stored, and how much they take. Throws StoreError, ClickHouseError. */
export async function listTargets(ctx: Context): Promise<Target[]> {
  const policy = ctx.config.CLICKHOUSE_STORAGE_POLICY ?? 'default';
  const [volumes, disks, used] = await Promise.all([
    ctx.clickhouse.rows<{ name: string; disks: string[] }>(
      `SELECT volume_name AS name, disks FROM system.storage_policies WHERE policy_name = {policy:String}
        ORDER BY volume_priority`,
      { policy },
    ),
    ctx.clickhouse.rows<{ name: string; type: string; free: string; total: string }>(
      'SELECT name, type, free_space AS free, total_space AS total FROM system.disks',
    ),
    ctx.clickhouse.rows<{ disk: string; bytes: string; rows: string }>(
      `SELECT disk_name AS disk, sum(bytes_on_disk) AS bytes, sum(rows) AS rows FROM system.parts
        WHERE active AND startsWith(database, 'ts_') GROUP BY disk`,
    ),
  ]);
  const sum = (names: string[], of: 'bytes' | 'rows') => {
    return used.reduce((total, each) => (names.includes(each.disk) ? total + Number(each[of]) : total), 0);
  };
  return [
    {
      kind: 'clickhouse',
      name: new URL(ctx.config.CLICKHOUSE_URL).host,
      policy: ctx.config.CLICKHOUSE_STORAGE_POLICY ?? null,
      volumes: volumes.map(({ name, disks: names }) => ({
        name,
        disks: disks
          .filter((disk) => names.includes(disk.name))
          .map((disk) => {
            return { name: disk.name, type: disk.type, freeBytes: Number(disk.free), totalBytes: Number(disk.total) };
          }),
        usedBytes: sum(names, 'bytes'),
        rows: sum(names, 'rows'),
      })),
    },
    { kind: 's3', name: ctx.config.S3_BUCKET, policy: null, volumes: [] },
  ];
}
