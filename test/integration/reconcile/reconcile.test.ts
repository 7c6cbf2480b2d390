import { describe, expect } from 'vitest';
import { readUsage } from '../../../src/buffer/quota.ts';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { changeTable, deleteTable, requireTable } from '../../../src/catalog/change-table.ts';
import { changeDataset } from '../../../src/catalog/datasets.ts';
import { drainManifestOutbox } from '../../../src/catalog/manifest-outbox.ts';
import { makeTable } from '../../../src/catalog/table-ddl.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { flushTable } from '../../../src/flush/flush-table.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { createJob } from '../../../src/jobs/job.ts';
import { backupKey } from '../../../src/operations/backup/backup.ts';
import { dropOrphanTables, removeOrphanObjects } from '../../../src/operations/reconcile/orphans.ts';
import { inspectStorage, reconcileDue } from '../../../src/operations/reconcile/reconcile-due.ts';
import { reconcileTable } from '../../../src/operations/reconcile/reconcile-table.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import type { Table } from '../../../src/schema/table.ts';
import { metricsText } from '../../../src/telemetry/metrics-text.ts';
import { test } from '../fixtures.ts';
import { workUntilOver } from '../jobs/support.ts';
import { at, flush, newDataset, newInstance, query, send, storedRows, tableOf } from '../support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `reconcile-${process.pid}` };
const ctx = newInstance(prefix);
const day_ms = 86_400_000;
const ago = (ms: number) => new Date(Date.now() - ms).toISOString();

const run = (sql: string) => ctx.clickhouse.command(sql);
const disks = async ({ dataset, physical }: Table) =>
  (
    await ctx.clickhouse.rows<{ disk: string }>(
      `SELECT DISTINCT disk_name AS disk FROM system.parts WHERE active AND rows > 0 AND database = {d:String} AND table = {t:String}
        ORDER BY disk`,
      { d: `ts_${dataset}`, t: physical },
    )
  ).map(({ disk }) => disk);

describe('a retention', () => {
  test('moves parts to the cold volume and then lets them expire, and nothing is missing by the audit', async ({
    dataset,
  }) => {
    // In one partition each: one row is nearly two days old, one nearly three.
    const [cooling, expiring] = [ago(2 * day_ms - 4_000), ago(3 * day_ms - 4_000)];
    await send(ctx, dataset, [
      { timestamp: cooling, v: 2 },
      { timestamp: expiring, v: 3 },
      { timestamp: ago(60_000), v: 1 },
    ]);
    await flush(ctx, dataset);
    const kept = await tableOf(ctx, dataset);
    expect(await disks(kept)).toEqual(['default']);
    expect(await storedRows(ctx, kept)).toBe(3);
    await changeTable(ctx, dataset, 'm', { retention: { hotDays: 2, totalDays: 3 } });
    const table = await tableOf(ctx, dataset);
    await expect.poll(async () => await disks(table)).toEqual(['cold', 'default']);
    await expect
      .poll(async () => {
        await run(`OPTIMIZE TABLE ${qualifiedName(table)} FINAL`);
        return await storedRows(ctx, table);
      })
      .toBe(2);
    // What has moved is read like anything else.
    expect((await query(ctx, dataset)).rows.map(({ v }) => v)).toEqual([2, 1]);
    const audit = await auditTable(ctx, table);
    expect(audit).toMatchObject({ ok: true, missing: 0 });
    expect(audit.partitions.map(({ expired }) => expired)).toEqual([1]);
    await expect(send(ctx, dataset, [{ timestamp: ago(3 * day_ms + 1_000), v: 4 }])).rejects.toMatchObject({
      code: 'rows-refused',
    });
  });

  test('of a dataset is its tables’, but for those that have their own, which may go back to it', async ({
    dataset,
  }) => {
    for (const table of ['m', 'own']) {
      await ingestRows(ctx, {
        dataset,
        table,
        text: JSON.stringify({ timestamp: at(1) }),
        format: 'json',
        idempotencyKey: undefined,
      });
    }
    await changeTable(ctx, dataset, 'own', { retention: null });
    await changeDataset(ctx, dataset, { retention: { totalDays: 9_000 } }, undefined);
    await workUntilOver(ctx, await createJob(ctx, { kind: 'apply-retention', dataset, table: null, request: {} }));
    const ttl = async () =>
      await ctx.clickhouse.rows<{ name: string; has: number }>(
        `SELECT name, engine_full LIKE '%toIntervalDay(9000)%' AS has FROM system.tables WHERE database = {d:String} ORDER BY name`,
        { d: `ts_${dataset}` },
      );
    expect(await ttl()).toEqual([
      { name: 'm', has: 1 },
      { name: 'own', has: 0 },
    ]);
    await changeTable(ctx, dataset, 'own', { retention: 'inherit' });
    expect(await ttl()).toEqual([
      { name: 'm', has: 1 },
      { name: 'own', has: 1 },
    ]);
    expect((await requireTable(ctx, dataset, 'own')).retention).toEqual({ totalDays: 9_000 });
  });

  test('folds the manifests of what has gone, and an audit still adds up', async ({ dataset }) => {
    for (let n = 0; n < 4; n += 1) {
      await send(ctx, dataset, [{ timestamp: ago(5 * day_ms + n), v: n }]);
      await flush(ctx, dataset);
    }
    await send(ctx, dataset, [{ timestamp: ago(60_000), v: 9 }]);
    await flush(ctx, dataset);
    await changeTable(ctx, dataset, 'm', { retention: { totalDays: 2 } });
    const table = await tableOf(ctx, dataset);
    await expect
      .poll(async () => {
        await run(`OPTIMIZE TABLE ${qualifiedName(table)} FINAL`);
        return await storedRows(ctx, table);
      })
      .toBe(1);
    const manifests = () =>
      ctx.postgres.rows('select seq_from, seq_to, rows, trigger from manifests where dataset = $1 order by seq_from', [
        dataset,
      ]);
    await drainManifestOutbox(ctx);
    expect(await manifests()).toHaveLength(5);
    await expect
      .poll(async () => (await reconcileTable(ctx, table)).drift.map(({ what }) => what))
      .toEqual(['manifests-expired']);
    expect(await manifests()).toMatchObject([
      { seq_from: '1', seq_to: '4', rows: '0', trigger: 'expired' },
      { seq_from: '5', seq_to: '5', rows: '1' },
    ]);
    expect((await reconcileTable(ctx, table)).drift).toEqual([]);
    const audit = await auditTable(ctx, table);
    expect([audit.ok, audit.lanes[0]?.rebuilt]).toEqual([true, []]);
  });
});

describe('the look at ClickHouse', () => {
  const made = async () => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 1, s: 'a' }]);
    await flush(ctx, dataset);
    return await tableOf(ctx, dataset);
  };

  test('finds nothing where nothing differs', async () => {
    const table = await made();
    expect((await reconcileTable(ctx, table)).drift).toEqual([]);
    await changeTable(ctx, table.dataset, 'm', { retention: { hotDays: 7, totalDays: 90 } });
    expect((await reconcileTable(ctx, await tableOf(ctx, table.dataset))).drift).toEqual([]);
  });

  test('mends columns that are missing and a retention that is another', async () => {
    const table = await made();
    await run(`ALTER TABLE ${qualifiedName(table)} DROP COLUMN s`);
    await run(`ALTER TABLE ${qualifiedName(table)} MODIFY TTL timestamp + toIntervalDay(5000)`);
    expect((await reconcileTable(ctx, table)).drift).toMatchObject([
      { what: 'columns-missing', mended: true, detail: 'added s' },
      { what: 'retention', mended: true },
    ]);
    expect((await reconcileTable(ctx, table)).drift).toEqual([]);
  });

  test('reports what it cannot mend without losing something, in the metrics too', async () => {
    const table = await made();
    await run(`ALTER TABLE ${qualifiedName(table)} MODIFY COLUMN v Nullable(String), ADD COLUMN other UInt8`);
    const own = newInstance(prefix);
    expect((await reconcileTable(own, table)).drift).toMatchObject([
      { what: 'column-type', mended: false, detail: expect.stringContaining('v is Nullable(String)') },
      { what: 'column-unknown', mended: false, detail: expect.stringContaining('other') },
    ]);
    expect(own.events).toContainEqual(expect.objectContaining({ event: 'drift', alarm: true }));
    expect(await metricsText(ctx)).toContain(`timestore_drift{dataset="${table.dataset}",table="m"} 2\n`);
  });

  test('does not create a table again whose rows are recorded', async () => {
    const table = await made();
    await run(`DROP TABLE ${qualifiedName(table)} SYNC`);
    expect((await reconcileTable(ctx, table)).drift).toMatchObject([{ what: 'table-missing', mended: false }]);
    await ctx.postgres.rows('delete from manifest_partitions where manifest_id like $1', [`${table.dataset}/%`]);
    await ctx.postgres.rows('delete from manifests where dataset = $1', [table.dataset]);
    expect((await reconcileTable(ctx, table)).drift).toMatchObject([{ what: 'table-missing', mended: true }]);
    expect(await storedRows(ctx, table)).toBe(0);
  });

  test('sets again whether lanes take rows', async () => {
    const table = await made();
    await changeTable(ctx, table.dataset, 'm', { state: 'frozen' });
    await ctx.redis.hdel(ctx.keys.state(table, 0), 'frozen');
    await reconcileTable(ctx, table);
    await expect(send(ctx, table.dataset, [{ timestamp: at(1), v: 1, s: 'a' }])).rejects.toMatchObject({
      code: 'dataset-frozen',
    });
  });

  test('goes on when one table cannot be looked at, and comes again after its time', async () => {
    const [bad, good] = [await made(), await made()];
    const own = newInstance(prefix);
    const only = [bad.dataset, good.dataset];
    // Others' tables are not this test's to mend.
    const rows: typeof own.postgres.rows = async (text, given) => {
      const params = given as { dataset?: string };
      if (text.includes('insert into reconciliations') && params.dataset === bad.dataset) throw new Error('no');
      if (!text.includes('left join reconciliations')) return await own.postgres.rows(text, params);
      return await own.postgres.rows(text.replace('where', 'where t.dataset = any($only) and'), { ...params, only });
    };
    const broken = { ...own, postgres: { rows, transaction: own.postgres.transaction } };
    const looked = () => ctx.postgres.rows('select dataset from reconciliations where dataset = any($1)', [only]);
    expect(await reconcileDue(broken, own.now() + 60_000)).toBe(1);
    expect(own.events).toContainEqual(expect.objectContaining({ event: 'reconcile-failed', dataset: bad.dataset }));
    expect(await looked()).toEqual([{ dataset: good.dataset }]);
    expect(await reconcileDue(broken, own.now() + 60_000)).toBe(0);
    await ctx.postgres.rows(
      `update reconciliations set reconciled_at = now() - interval '2 hours' where dataset = any($1)`,
      [only],
    );
    expect(await reconcileDue(broken, own.now() + 60_000)).toBe(1);
  });

  test('counts what a dataset with a quota of storage holds', async () => {
    const table = await made();
    await changeDataset(ctx, table.dataset, { quota: { storageBytes: 1_000_000 } }, undefined);
    await send(ctx, table.dataset, [{ timestamp: at(2), v: 2, s: 'b' }]);
    const before = await readUsage(ctx, table.dataset);
    expect(before).toMatchObject({ storedBytes: 0 });
    expect(before.bytesSince).toBeGreaterThan(0);
    await inspectStorage(ctx);
    const after = await readUsage(ctx, table.dataset);
    expect(after.bytesSince).toBe(0);
    const [held] = await ctx.clickhouse.rows<{ n: string }>(
      'SELECT sum(bytes_on_disk) AS n FROM system.parts WHERE active AND database = {d:String}',
      { d: `ts_${table.dataset}` },
    );
    const pending = await snapshotTable(ctx, table, 'state');
    const waiting = pending === 'unknown' ? 0 : (pending.lanes[0]?.pendingBytes ?? 0);
    expect(waiting).toBeGreaterThan(0);
    expect(after.storedBytes).toBe(Number(held?.n) + waiting);
  });
});

describe('what nothing names', () => {
  test('a table that a late flush has made again is dropped, and what others have made stays', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await flush(ctx, dataset);
    const table = await tableOf(ctx, dataset);
    await deleteTable(ctx, dataset, 'm', 0);
    const [job] = await ctx.postgres.rows<{ id: string }>('select id from jobs where dataset = $1', [dataset]);
    await workUntilOver(ctx, { id: job?.id ?? '' });
    await makeTable(ctx, table, table.shards);
    await run(`CREATE TABLE \`ts_${dataset}\`.others_own (a UInt8) ENGINE = Null`);
    expect(await dropOrphanTables(ctx)).not.toContain(`${dataset}.m`);
    await ctx.postgres.rows(`update tables set dropped_at = now() - interval '2 minutes' where dataset = $1`, [
      dataset,
    ]);
    expect(await dropOrphanTables(ctx)).toContain(`${dataset}.m`);
    const left = await ctx.clickhouse.rows('SELECT name FROM system.tables WHERE database = {d:String}', {
      d: `ts_${dataset}`,
    });
    expect(left).toEqual([{ name: 'others_own' }]);
  });

  test('payloads that are in no quarantine and backups that were never finished go; what is named stays', async ({
    dataset,
  }) => {
    const text = JSON.stringify({ timestamp: 'never', s: 'x'.repeat(70_000) });
    await ingestRows(ctx, {
      dataset,
      table: 'm',
      text,
      format: 'json',
      idempotencyKey: undefined,
      onError: 'quarantine',
    });
    await flushTable(ctx, await requireTable(ctx, dataset, '_quarantine'), 'admin', ctx.now() + 10_000);
    const [named] = await ctx.objects.list(`quarantine/${dataset}/`);
    await ctx.objects.put(`quarantine/${dataset}/m/orphan.json`, '{}');
    const started = `zz${dataset}`;
    await ctx.objects.put(`backups/${started}/d/m/1.parquet`, '-');
    await ctx.objects.put(`backups/${started}2/d/m/1.parquet`, '-');
    await ctx.objects.put(backupKey(`${started}2`), '{}');
    await removeOrphanObjects(ctx);
    // Nothing is that old yet.
    expect(await ctx.objects.list(`quarantine/${dataset}/`)).toHaveLength(2);
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    // A day later; what other tests have there is theirs.
    const objects: typeof ctx.objects = {
      ...ctx.objects,
      put: ctx.objects.put,
      get: ctx.objects.get,
      check: ctx.objects.check,
      remove: ctx.objects.remove,
      list: async (begin, options) =>
        (await ctx.objects.list(begin, options)).filter(({ key }) => key.includes(dataset)),
    };
    const later = { ...ctx, objects, now: () => Date.now() + 25 * 3_600_000 };
    await removeOrphanObjects(later);
    expect(await ctx.objects.list(`quarantine/${dataset}/`)).toEqual([named]);
    expect((await ctx.objects.list(`backups/${started}`)).map(({ key }) => key)).toEqual([
      `backups/${started}2.json`,
      `backups/${started}2/d/m/1.parquet`,
    ]);
  });

  test('of the backups that the clock has made, the newest are kept', async () => {
    const own = newInstance({ ...prefix, TIMESTORE_BACKUPS_KEPT: '2' });
    for (const day of ['01', '02', '03']) {
      await ctx.objects.put(`backups/daily-1999-01-${day}/d/m/1.parquet`, '-');
      await ctx.objects.put(backupKey(`daily-1999-01-${day}`), '{}');
    }
    await removeOrphanObjects(own);
    expect((await ctx.objects.list('backups/daily-1999', { delimiter: '/' })).map(({ key }) => key)).toEqual([
      'backups/daily-1999-01-02.json',
      'backups/daily-1999-01-03.json',
    ]);
  });
});
