import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { readUsage } from '../../../src/buffer/quota.ts';
import { changeDataset } from '../../../src/catalog/datasets.ts';
import { partitionsThere } from '../../../src/catalog/partitions.ts';
import { listTargets } from '../../../src/catalog/storage-targets.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { scheduleExport } from '../../../src/operations/export/export.ts';
import { inspectStorage } from '../../../src/operations/reconcile/reconcile-due.ts';
import { reconcileTable } from '../../../src/operations/reconcile/reconcile-table.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import { checkStores } from '../../../src/telemetry/readiness.ts';
import { workUntilOver } from '../jobs/support.ts';
import {
  at,
  clickhouseAt,
  expectStored,
  flush,
  newDataset,
  newInstance,
  query,
  send,
  sql,
  tableOf,
} from '../support.ts';

/** A statement as ClickHouse got it. */
type Seen = { settings: URLSearchParams; text: string };

let seen: Seen[] = [];
/** Whether the server says that it is ClickHouse Cloud. It says what its setting is, which a request may change for itself. */
let isCloud = false;
const asksKind = ({ text }: Seen) => text.includes("name = 'cloud_mode'");

const server = createServer(async (request, response) => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const body = Buffer.concat(parts);
  const { searchParams } = new URL(request.url ?? '/', 'http://clickhouse');
  const each = {
    settings: new URLSearchParams(searchParams),
    text: `${searchParams.get('query') ?? ''}\n${body.toString()}`,
  };
  seen.push(each);
  if (asksKind(each) && isCloud) searchParams.set('cloud_mode', '1');
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => /^(x-clickhouse-|authorization|content-type)/.test(name)),
  ) as Record<string, string>;
  const answer = await fetch(`${inject('env').CLICKHOUSE_URL}/?${searchParams}`, { method: 'POST', headers, body });
  const kept = [...answer.headers].filter(([name]) => /^(x-clickhouse-|content-type)/.test(name));
  response.writeHead(answer.status, Object.fromEntries(kept));
  response.end(Buffer.from(await answer.arrayBuffer()));
});

let address = '';
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  seen = [];
  isCloud = false;
});

const instance = (overrides: Record<string, string> = {}) =>
  newInstance({
    ...clickhouseAt(address),
    CLICKHOUSE_CLUSTER: '',
    CLICKHOUSE_SHARDS: '',
    TIMESTORE_KEY_PREFIX: `cloud-${process.pid}`,
    ...overrides,
  });

const askings = () => seen.filter(asksKind).length;
const stale = () =>
  seen.filter((each) => !asksKind(each) && each.settings.get('select_sequential_consistency') !== '1');

test('what ClickHouse is, an instance finds out once', async () => {
  const ctx = instance();
  const dataset = newDataset();
  for (const second of [1, 2, 3]) await send(ctx, dataset, [{ timestamp: at(second), v: second }]);
  await flush(ctx, dataset);
  await query(ctx, dataset);
  expect(await ctx.clickhouseKind()).toBe('server');
  expect(askings()).toBe(1);
  expect(seen.some(({ settings }) => settings.has('select_sequential_consistency'))).toBe(false);
  expect((await checkStores(ctx)).stores.clickhouse).toMatchObject({
    ok: true,
    kind: 'server',
    version: expect.stringMatching(/^\d+\.\d+/),
  });
});

test.each(['server', 'cloud'] as const)('a configuration that says %s is believed', async (kind) => {
  isCloud = kind === 'server';
  const ctx = instance({ CLICKHOUSE_KIND: kind });
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await flush(ctx, dataset);
  expect(askings()).toBe(0);
  expect(stale().length === 0).toBe(kind === 'cloud');
});

test('one that cannot say what it is, is asked again', async () => {
  const away = instance({ CLICKHOUSE_URL: 'http://127.0.0.1:1' });
  await expect(away.clickhouseKind()).rejects.toMatchObject({ store: 'clickhouse' });
  isCloud = true;
  const ctx = instance();
  expect(await Promise.all([ctx.clickhouseKind(), ctx.clickhouseKind()])).toEqual(['cloud', 'cloud']);
});

test('on Cloud no statement is answered by a replica that lags, and tokens of inserts are kept for as long as a function sleeps', async () => {
  isCloud = true;
  const ctx = instance();
  const dataset = newDataset();
  await send(ctx, dataset, [
    { timestamp: at(1), v: 1, s: 'a' },
    { timestamp: at(2, 2), v: 2, s: 'b' },
  ]);
  expect(await flush(ctx, dataset)).toMatchObject({ complete: true });
  await send(ctx, dataset, [{ timestamp: at(3, 2), v: 3, s: 'b' }]);
  const table = await tableOf(ctx, dataset);
  const [{ engine = '' } = {}] = await ctx.clickhouse.rows<{ engine?: string }>(
    'SELECT engine_full AS engine FROM system.tables WHERE database = {database:String} AND name = {table:String}',
    { database: `ts_${dataset}`, table: 'm' },
  );
  expect(engine).toContain(
    'replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 7776000',
  );
  expect(engine).not.toContain('non_replicated');

  expect((await query(ctx, dataset)).rows).toHaveLength(3);
  expect((await sql(ctx, 'SELECT sum(v) AS v FROM m', { dataset })).rows).toEqual([{ v: 6 }]);
  const correction = {
    rows: { filters: { columns: [{ column: 's', op: 'eq' as const, value: 'b' }] } },
    set: { s: 'c' },
  };
  const corrected = await workUntilOver(
    ctx,
    await scheduleRowChange(ctx, { dataset, table: 'm', request: correction }),
  );
  expect(corrected).toMatchObject({ state: 'done', result: { rows: 2 } });
  const deletion = { rows: { filters: { columns: [{ column: 'v', op: 'eq' as const, value: 1 }] } } };
  const deleted = await workUntilOver(ctx, await scheduleRowChange(ctx, { dataset, table: 'm', request: deletion }));
  expect(deleted).toMatchObject({ state: 'done', result: { rows: 1 } });
  expect(await partitionsThere(ctx, table)).toEqual(['20260502']);
  const exported = await workUntilOver(ctx, await scheduleExport(ctx, dataset, 'm', { format: 'ndjson' }, undefined));
  expect(exported).toMatchObject({ state: 'done' });
  expect(await auditTable(ctx, table)).toMatchObject({ ok: true });
  expect(await reconcileTable(ctx, table)).toMatchObject({ drift: [] });
  expect((await checkStores(ctx)).stores.clickhouse).toMatchObject({ ok: true, kind: 'cloud' });
  const [target] = await listTargets(ctx);
  expect(target?.volumes.reduce((sum, { rows }) => sum + rows, 0)).toBeGreaterThan(1);
  await changeDataset(ctx, dataset, { quota: { storageBytes: 1_000_000_000 } }, undefined);
  await inspectStorage(ctx);
  expect((await readUsage(ctx, dataset)).storedBytes).toBeGreaterThan(0);
  await expectStored(ctx, table, 2);

  expect(stale().map(({ text }) => text)).toEqual([]);
  // What a replica knows by itself is asked of all of them.
  const own = seen.filter(({ text }) => /\bsystem\.(mutations|parts|processes|part_log)\b/.test(text));
  expect(own.length).toBeGreaterThan(0);
  expect(
    own.filter(({ text }) => !/clusterAllReplicas\('default', system\./.test(text)).map(({ text }) => text),
  ).toEqual([]);
});

test('a table whose tokens are kept for less is given what it needs', async () => {
  const dataset = newDataset();
  const [before, after] = [instance({ CLICKHOUSE_KIND: 'server' }), instance({ CLICKHOUSE_KIND: 'cloud' })];
  await send(before, dataset, [{ timestamp: at(1), v: 1 }]);
  await flush(before, dataset);
  const table = await tableOf(before, dataset);
  expect(await reconcileTable(before, table)).toMatchObject({ drift: [] });
  const { drift } = await reconcileTable(after, table);
  expect(drift).toEqual([{ what: 'insert-tokens', mended: true, detail: expect.stringContaining('7776000') }]);
  expect(await reconcileTable(after, table)).toMatchObject({ drift: [] });

  await before.clickhouse.command(
    `ALTER TABLE ${qualifiedName(table)} MODIFY SETTING non_replicated_deduplication_window = 0`,
  );
  expect(await reconcileTable(before, table)).toMatchObject({ drift: [{ what: 'insert-tokens', mended: true }] });
});
