import * as z from 'zod';
import { snapshotTable } from '../../buffer/snapshot.ts';
import { dropStored } from '../../catalog/drop-table.ts';
import { readTable } from '../../catalog/find-table.ts';
import { atAllRows } from '../../catalog/lane-location.ts';
import { quarantineTable } from '../../catalog/quarantine-table.ts';
import { quoteString, slugPattern } from '../../core/identifiers.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { everyNode } from '../../stores/clickhouse/servers.ts';
import type { StoredObject } from '../../stores/s3/client.ts';
import { listObjectPages } from '../../stores/s3/list-pages.ts';
import { backupKey, backupPrefix } from '../backup/backup.ts';
import type { OperationDeps } from '../deps.ts';
import { exportPrefix } from '../export/export.ts';
import { atStaging, dropStaging, stagedJob, stagingPrefix } from '../import/staging.ts';
import { removeUploads } from '../import/uploads.ts';

const objects_max = 10_000;

const storedTableRow = z.object({ database: z.string(), name: z.string() });

const droppedTableRow = z.object({ dataset: z.string(), physical: z.string() });

/**
 * Drops tables in ClickHouse that are dropped in the catalogue: a flush in progress may have created one again. Tables that
 * Timestore did not create stay.
 *
 * @returns the dropped tables
 */
export async function dropOrphanTables(ctx: OperationDeps): Promise<string[]> {
  const tables = new Map<string, { database: string; name: string }>();
  for (const { clickhouse } of everyNode(ctx)) {
    const there = checkRows(
      storedTableRow,
      await clickhouse.rows(
        `SELECT database, name FROM system.tables WHERE startsWith(database, 'ts_') AND NOT is_temporary`,
      ),
    );
    for (const table of there) tables.set(`${table.database} ${table.name}`, table);
  }
  const named = [...tables.values()].flatMap(({ database, name }) => {
    const [, logical = '', life = '1'] = /^([^.]+)(?:\.(\d+))?$/.exec(name) ?? [];
    const dataset = database.slice('ts_'.length);
    const isOurs = slugPattern.test(dataset) && (slugPattern.test(logical) || logical === quarantineTable);
    return isOurs ? [{ dataset, name: logical, life: Number(life), physical: name }] : [];
  });
  const over = checkRows(
    droppedTableRow,
    await ctx.postgres.rows(
      `select t.dataset, f.physical from tables t
       join jsonb_to_recordset($named::jsonb) as f(dataset text, name text, life integer, physical text) using (dataset, name, life)
      where t.dropped_at < now() - interval '1 minute'`,
      { named: JSON.stringify(named) },
    ),
  );
  for (const table of over) {
    await dropStored(ctx, table);
    ctx.log({ event: 'orphan-table-dropped', ...table });
  }
  return over.map(({ dataset, physical }) => `${dataset}.${physical}`);
}

const stagingTableRow = z.object({ name: z.string() });

const finishedStagingRow = z.object({ name: z.string() });

/**
 * Drops staging tables of imports that no job uses any more: a worker was killed before it could drop them.
 *
 * @returns the names of the dropped tables
 */
export async function dropOrphanStaging(ctx: OperationDeps): Promise<string[]> {
  const tables: { name: string }[] = [];
  for (const { clickhouse } of everyNode(ctx)) {
    const there = checkRows(
      stagingTableRow,
      await clickhouse.rows(
        `SELECT name FROM system.tables WHERE database = 'timestore' AND startsWith(name, {prefix:String})`,
        { prefix: stagingPrefix },
      ),
    );
    tables.push(...there);
  }
  const over = checkRows(
    finishedStagingRow,
    await ctx.postgres.rows(
      `select s.name from jobs j join jsonb_to_recordset($staging::jsonb) as s(name text, job text) on s.job = j.id
      where j.state not in ('queued', 'running', 'failed') or j.progress->>'staging' is distinct from s.name`,
      { staging: JSON.stringify(tables.map(({ name }) => ({ name, job: stagedJob(name) }))) },
    ),
  );
  for (const { name } of over) {
    await dropStaging(atStaging(ctx, stagedJob(name), name), name);
    ctx.log({ event: 'orphan-staging-dropped', name });
  }
  return over.map(({ name }) => name);
}

/**
 * Removes unused objects: payloads without a quarantine record, unpublished exports, uploads that were never imported,
 * incomplete backups, and daily backups beyond the number to keep.
 *
 * @returns the number of removed objects
 */
export async function removeOrphanObjects(ctx: OperationDeps): Promise<number> {
  const old_ms = ctx.now() - ctx.config.limits.orphan_age_ms;
  const removed = (await removePayloads(ctx, old_ms)) + (await removeBackups(ctx, old_ms));
  return removed + (await removeExports(ctx, old_ms)) + (await removeUploads(ctx, old_ms, objects_max));
}

async function removePayloads(ctx: OperationDeps, old_ms: number): Promise<number> {
  let removed = 0;
  for await (const page of listObjectPages(ctx.objects, 'quarantine/', { objects_max })) {
    const old = page.filter(({ modifiedAt_ms }) => modifiedAt_ms < old_ms);
    const byDataset = Map.groupBy(old, ({ key }) => key.split('/')[1] ?? '');
    for (const [dataset, objects] of byDataset) {
      const named = await findNamed(
        ctx,
        dataset,
        objects.map(({ key }) => key),
      );
      for (const { key } of objects) {
        if (named === undefined || named.has(key)) continue;
        await ctx.objects.remove(key);
        removed += 1;
      }
    }
  }
  return removed;
}

const tableCountRow = z.object({ n: z.string() });

const namedObjectRow = z.object({ object: z.string() });

/** The keys that quarantine records name; undefined if that is unknown at the moment. */
async function findNamed(ctx: OperationDeps, dataset: string, keys: string[]): Promise<Set<string> | undefined> {
  if (!slugPattern.test(dataset)) return undefined;
  const table = await readTable(ctx, dataset, quarantineTable);
  if (table === undefined) return new Set();
  const { node, nameOf } = atAllRows(ctx, [table]);
  const [isThere] = checkRows(
    tableCountRow,
    await node.clickhouse.rows(
      'SELECT count() AS n FROM system.tables WHERE database = {database:String} AND name = {table:String}',
      { database: `ts_${dataset}`, table: table.physical },
    ),
  );
  if (isThere?.n !== '1') return undefined;
  // A pending record is not in ClickHouse yet, however old its object is. A later pass checks again.
  const snapshot = await snapshotTable(ctx, table, 'state');
  if (snapshot === 'unknown' || snapshot.lanes.some(({ pendingRows }) => pendingRows > 0)) return undefined;
  const rows = checkRows(
    namedObjectRow,
    await node.clickhouse.rows(
      `SELECT DISTINCT object FROM ${nameOf(table)}
      WHERE object IN (${keys.map(quoteString).join(', ')})`,
      {},
      { max_query_size: 4_194_304 },
    ),
  );
  return new Set(rows.map(({ object }) => object));
}

/** Names of daily backups. */
const dailyPattern = /^daily-\d{4}-\d{2}-\d{2}$/;

/** Sorts after every name in a folder. */
const lastName = '~';

async function removeBackups(ctx: OperationDeps, old_ms: number): Promise<number> {
  const whole = new Set<string>();
  for await (const page of listObjectPages(ctx.objects, backupPrefix, { delimiter: '/', objects_max })) {
    for (const { key } of page) whole.add(key.slice(backupPrefix.length).replace(/\.json$/, ''));
  }
  const daily = [...whole].filter((id) => dailyPattern.test(id)).sort();
  const surplus = new Set(daily.slice(0, -ctx.config.TIMESTORE_BACKUPS_KEPT));
  let removed = 0;
  let after: string | undefined;
  // Goes from folder to folder: backups to keep may have more objects than one pass may list.
  while (removed < objects_max) {
    const [next] = await ctx.objects.list(backupPrefix, { after });
    if (next === undefined) break;
    const [id = '', ...rest] = next.key.slice(backupPrefix.length).split('/');
    after = rest.length === 0 ? next.key : `${backupPrefix}${id}/${lastName}`;
    if (rest.length === 0 || (whole.has(id) && !surplus.has(id))) continue;
    const objects: StoredObject[] = [];
    for await (const page of listObjectPages(ctx.objects, `${backupPrefix}${id}/`, { objects_max }))
      objects.push(...page);
    const newest_ms = Math.max(...objects.map(({ modifiedAt_ms }) => modifiedAt_ms));
    if (!whole.has(id) && newest_ms >= old_ms) continue;
    // The object that marks the backup as complete is removed first.
    for (const key of [backupKey(id), ...objects.map((object) => object.key)]) await ctx.objects.remove(key);
    removed += objects.length;
  }
  return removed;
}

const removeExportsRow = z.object({ id: z.string() });

async function removeExports(ctx: OperationDeps, old_ms: number): Promise<number> {
  let removed = 0;
  for await (const page of listObjectPages(ctx.objects, exportPrefix, { objects_max })) {
    const old = page.filter(({ modifiedAt_ms }) => modifiedAt_ms < old_ms);
    // exports/<dataset>/<table>/<id>/…
    const byId = Map.groupBy(old, ({ key }) => key.split('/')[3] ?? '');
    const named = checkRows(
      removeExportsRow,
      await ctx.postgres.rows(
        `select id from exports where id = any($ids)
       union all select id from jobs where id = any($ids) and state in ('queued', 'running')`,
        { ids: [...byId.keys()] },
      ),
    );
    const kept = new Set(named.map(({ id }) => id));
    for (const [id, objects] of byId) {
      if (kept.has(id)) continue;
      for (const { key } of objects) await ctx.objects.remove(key);
      removed += objects.length;
    }
  }
  return removed;
}
