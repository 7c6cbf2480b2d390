import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { local } from '../../../local/engines/credentials.ts';
import { listTargets } from '../../../src/catalog/storage-targets.ts';
import { migrate, readerLacks } from '../../../src/cli/migrate.ts';
import { splitStatements } from '../../../src/cli/split-statements.ts';
import { scheduleExport } from '../../../src/operations/export/export.ts';
import { dropOrphanStaging, dropOrphanTables } from '../../../src/operations/reconcile/orphans.ts';
import { inspectStorage } from '../../../src/operations/reconcile/reconcile-due.ts';
import { reconcileTable } from '../../../src/operations/reconcile/reconcile-table.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import type { ClickHouse } from '../../../src/stores/clickhouse/client.ts';
import { findMissingLimits, readUserSettings } from '../../../src/stores/clickhouse/users.ts';
import { checkStores } from '../../../src/telemetry/readiness.ts';
import { workUntilOver } from '../jobs/support.ts';
import { at, expectStored, flush, newDataset, newInstance, onStored, query, send, sql, tableOf } from '../support.ts';

const ctx = newInstance();
const { granted, writer } = local.clickhouse;
const names = readUserSettings('timestore_reader').map(({ name }) => name);

test('the users of a deployment are made with statements that ClickHouse reads, and no setting is left out', async () => {
  const text = readFileSync(join(import.meta.dirname, '../../../sql/clickhouse/users.sql'), 'utf8');
  const statements = splitStatements(text);
  expect(statements.length).toBeGreaterThan(10);
  for (const statement of statements) {
    const [read] = await ctx.clickhouse.rows<{ read: string }>('SELECT formatQuery({statement:String}) AS read', {
      statement,
    });
    expect(read?.read).toMatch(/^(CREATE USER|GRANT) /);
  }
  const reader = statements.find((statement) => statement.includes('SETTINGS')) ?? '';
  expect(names).toHaveLength((reader.match(/^\s+\w+ = /gm) ?? []).length);
  const known = await ctx.clickhouse.rows<{ name: string }>('SELECT name FROM system.settings');
  expect(names.filter((name) => !known.some((each) => each.name === name))).toEqual([]);
});

test('the reader here has every limit, and readiness does not mention it', async () => {
  expect(await findMissingLimits(ctx.reader)).toEqual([]);
  expect(await readerLacks(inject('env'))).toEqual([]);
  expect((await checkStores(ctx)).warnings).toEqual([]);
});

type Found = { name: string; value: string; min: string | null; max: string | null; readonly: number };

test('each missing limit of a reader is named, however it is missing, and a stricter one is not', async () => {
  const found = await ctx.reader.rows<Found>(
    'SELECT name, value, min, max, readonly FROM system.settings WHERE name IN ({names:Array(String)})',
    { names },
  );
  const lacking = async (change: (each: Found) => Partial<Found>) => {
    const rows = found.map((each) => ({ ...each, ...change(each) }));
    const reader = { ...ctx.reader, rows: async () => rows } as unknown as ClickHouse;
    return (await findMissingLimits(reader)).map((each) => each.split(':')[0]);
  };
  const changeable = found.filter(({ readonly }) => readonly === 0).map(({ name }) => name);
  expect(changeable).toContain('max_memory_usage_for_user');
  for (const name of changeable) {
    const only = (change: Partial<Found>) => (each: Found) => (each.name === name ? change : {});
    expect(await lacking(only({ max: null }))).toEqual([name]);
    expect(await lacking(only({ min: null }))).toEqual([name]);
    expect(await lacking(only({ value: '0' }))).toEqual([name]);
    expect(await lacking(only({ max: '1e300' }))).toEqual([name]);
    expect(await lacking(only({ value: '1e300' }))).toEqual([name]);
  }
  for (const name of ['log_queries', 'allow_introspection_functions', 'allow_ddl']) {
    expect(await lacking((each) => (each.name === name ? { readonly: 0 } : {}))).toEqual([name]);
    expect(await lacking((each) => (each.name === name ? { value: each.value === '0' ? '1' : '0' } : {}))).toEqual([
      name,
    ]);
  }
  expect(await lacking((each) => (each.name === 'readonly' ? { value: '0' } : {}))).toEqual(['readonly']);
  expect(await lacking((each) => (each.name === 'max_execution_time' ? { value: '10', max: '20' } : {}))).toEqual([]);
  expect(
    await lacking((each) =>
      each.name === 'max_memory_usage' ? { value: '2000000', min: null, max: null, readonly: 1 } : {},
    ),
  ).toEqual([]);
});

test('a user without limits as the reader: migrating names them all, and readiness warns', async () => {
  const unlimited = { CLICKHOUSE_READER_USER: writer.user, CLICKHOUSE_READER_PASSWORD: writer.password };
  const lacking = await readerLacks({ ...inject('env'), ...unlimited });
  expect(lacking.map((each) => each.split(':')[0]).sort()).toEqual([...names].sort());
  const instance = newInstance(unlimited);
  expect(await checkStores(instance)).toMatchObject({ status: 'ok', warnings: [expect.stringContaining('users.sql')] });
  expect(instance.events).toContainEqual({ event: 'reader-limits-lacking', settings: lacking });
  expect(await readerLacks({ ...inject('env'), CLICKHOUSE_READER_PASSWORD: 'wrong' })).toEqual([
    expect.stringMatching(/^its limits are unknown: .* rejects the query \(code \d+\)$/),
  ]);
});

test('all that Timestore does, it does with what the writer of a deployment may do', async () => {
  const env = {
    CLICKHOUSE_USER: granted.user,
    CLICKHOUSE_PASSWORD: granted.password,
    TIMESTORE_KEY_PREFIX: `granted-${process.pid}`,
  };
  expect(await migrate({ ...inject('env'), ...env })).toEqual([]);
  const own = newInstance(env);
  await expect(own.clickhouse.rows('SELECT 1 FROM system.replicas')).rejects.toThrow('Not enough privileges');
  for (const kind of ['server', 'cloud']) {
    const instance = newInstance({ ...env, CLICKHOUSE_KIND: kind });
    const dataset = newDataset();
    await send(instance, dataset, [
      { timestamp: at(1), v: 1, s: 'a' },
      { timestamp: at(2), v: 2, s: 'b' },
      { timestamp: at(3), v: 3, s: 'c' },
    ]);
    await flush(instance, dataset);
    const table = await tableOf(instance, dataset);
    // Rows that ClickHouse refuses are found on a twin.
    await onStored(instance, table, `ALTER TABLE \`ts_${dataset}\`.m ADD CONSTRAINT positive CHECK v > 0`);
    await send(instance, dataset, [
      { timestamp: at(4), v: -1, s: 'd' },
      { timestamp: at(5), v: 5, s: 'e' },
    ]);
    await flush(instance, dataset);
    await expectStored(instance, table, 4);
    expect((await query(instance, dataset)).rows).toHaveLength(4);
    expect((await sql(instance, 'SELECT count() AS n FROM m', { dataset })).rows).toEqual([{ n: 4 }]);
    const where = (value: string) => ({ filters: { columns: [{ column: 's', op: 'eq' as const, value }] } });
    for (const request of [{ rows: where('a') }, { rows: where('b'), set: { v: 7 } }]) {
      expect(
        await workUntilOver(instance, await scheduleRowChange(instance, { dataset, table: 'm', request })),
      ).toMatchObject({ state: 'done' });
    }
    for (const format of ['parquet', 'csv'] as const) {
      expect(
        await workUntilOver(instance, await scheduleExport(instance, dataset, 'm', { format }, undefined)),
      ).toMatchObject({ state: 'done' });
    }
    expect(await auditTable(instance, table)).toMatchObject({ ok: true });
    await reconcileTable(instance, table);
    await inspectStorage(instance);
    await listTargets(instance);
    await dropOrphanTables(instance);
    await dropOrphanStaging(instance);
    expect(await checkStores(instance)).toMatchObject({ status: 'ok', warnings: [] });
  }
});
