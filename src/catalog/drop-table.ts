import { dropLanes } from '../buffer/drop-lanes.ts';
import { ask } from '../buffer/redis.ts';
import { everyNode } from '../clickhouse/cluster.ts';
import type { Context } from '../context.ts';
import { drainOutbox } from '../flush/outbox.ts';
import { databaseName, everywhereName, physicalName, qualifiedName, type TableRef } from '../names.ts';
import type { Statement } from '../postgres/client.ts';

export type Dropped = { dataset: string; name: string; life: number; readLanes: number };

/**
 * Takes a table apart whose grace is over: its lanes, with rows that wait in them, and its rows in ClickHouse. Safe to
 * repeat. The record goes last, so that whoever dies before is followed by somebody who finds it.
 *
 * @returns the statements that take it off the record
 * @throws StoreError, ClickHouseError
 */
export async function dropTable(ctx: Context, { dataset, name, life, readLanes }: Dropped): Promise<Statement[]> {
  const table = { dataset, name, physical: physicalName(name, life) };
  // Its manifests would come after the record is gone.
  await drainOutbox(ctx);
  await dropLanes(ctx, table, life, readLanes);
  await ask(() => ctx.redis.del(ctx.keys.replays(table)));
  await dropStored(ctx, table);
  ctx.tables.delete(`${dataset}.${name}`);
  const physical = [dataset, table.physical];
  return [
    [
      `delete from manifest_partitions p using manifests m
        where m.id = p.manifest_id and m.dataset = $1 and m.physical_table = $2`,
      physical,
    ],
    ['delete from manifests where dataset = $1 and physical_table = $2', physical],
    ['delete from deletions where dataset = $1 and physical_table = $2', physical],
    ['delete from audits where dataset = $1 and name = $2', [dataset, name]],
    ['delete from reconciliations where dataset = $1 and name = $2', [dataset, name]],
    ['delete from export_schedules where dataset = $1 and "table" = $2', [dataset, name]],
    [
      'update tables set dropped_at = now(), revision = revision + 1 where dataset = $1 and name = $2 and life = $3',
      [dataset, name, life],
    ],
  ];
}

/** What ClickHouse has of a table, wherever it is: every server must have dropped it. Throws StoreError, ClickHouseError. */
export async function dropStored(ctx: Context, table: TableRef): Promise<void> {
  const nodes = everyNode(ctx);
  await Promise.all(
    nodes.map(async ({ clickhouse }) => {
      if (ctx.cluster !== undefined) await clickhouse.command(`DROP TABLE IF EXISTS ${everywhereName(table)} SYNC`);
      await clickhouse.command(`DROP TABLE IF EXISTS ${qualifiedName(table)} SYNC`);
    }),
  );
}

/** What a dataset has beside its tables, which are gone by now. */
export async function dropDatabase(ctx: Context, dataset: string): Promise<Statement[]> {
  await ask(() => ctx.redis.del(ctx.keys.quota(dataset), ctx.keys.remembered(dataset)));
  for (const { clickhouse } of everyNode(ctx)) {
    const [left] = await clickhouse.rows<{ n: string }>(
      'SELECT count() AS n FROM system.tables WHERE database = {database:String}',
      { database: `ts_${dataset}` },
    );
    // What others have put there is theirs.
    if (Number(left?.n) === 0) await clickhouse.command(`DROP DATABASE IF EXISTS ${databaseName(dataset)}`);
  }
  return [
    ['delete from saved_queries where dataset = $1', [dataset]],
    ['delete from read_comparisons where dataset = $1', [dataset]],
    [
      `update datasets set dropped_at = now(), state = 'active', delete_at = null, title = null, retention = null,
              quota = null, migration = null, revision = revision + 1
        where name = $1`,
      [dataset],
    ],
  ];
}
