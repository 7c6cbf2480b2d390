import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, inject } from 'vitest';
import { local } from '../../../local/engines/credentials.ts';
import { sealLane } from '../../../src/buffer/seal.ts';
import { changeTable } from '../../../src/catalog/change-table.ts';
import { createTable } from '../../../src/catalog/create-table.ts';
import { findTable, readTable } from '../../../src/catalog/find-table.ts';
import { atLane } from '../../../src/catalog/lane-location.ts';
import { setUpLanes } from '../../../src/catalog/provision-lanes.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { flushTable } from '../../../src/flush/flush-table.ts';
import { insertSeal } from '../../../src/flush/insert.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { putResource } from '../../../src/monitoring/changes/change-resource.ts';
import { setUpMonitoring } from '../../../src/monitoring/dataset/set-up.ts';
import { readStorage } from '../../../src/monitoring/dataset/storage.ts';
import { validateMonitoring } from '../../../src/monitoring/dataset/validate.ts';
import { definitions, type Kind } from '../../../src/monitoring/resources/kinds.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import { listTables } from '../../../src/query/sql/tables.ts';
import type { Table } from '../../../src/schema/table.ts';
import { clickhouseCodes, createClickHouse } from '../../../src/stores/clickhouse/client.ts';
import { everyNode } from '../../../src/stores/clickhouse/servers.ts';
import { test } from '../fixtures.ts';
import { workUntilOver } from '../jobs/support.ts';
import { type Instance, newInstance, onStored, sql } from '../support.ts';

const ctx = newInstance();

const minute_ms = 60_000;
const ago = (minutes: number) => new Date(Date.now() - minutes * minute_ms).toISOString();

async function ingest(dataset: string, table: string, rows: object[], instance: Instance = ctx) {
  const text = rows.map((row) => JSON.stringify(row)).join('\n');
  return await ingestRows(instance, { dataset, table, text, format: 'ndjson', idempotencyKey: undefined });
}

async function statusTable(dataset: string): Promise<Table> {
  const table = await findTable(ctx, dataset, 'service_status');
  if (table === undefined) throw new Error('no table service_status');
  return table;
}

const flushStatus = async (dataset: string) =>
  await flushTable(ctx, await statusTable(dataset), 'admin', ctx.now() + 60_000);

/** The statements of operators, with the name of the dataset of the test. */
const statements = (dataset: string) =>
  [
    `SELECT service_id, argMax(status_code, timestamp) as current_status, argMax(message, timestamp) as last_message, argMax(timestamp, timestamp) as last_check
FROM monitor.service_status GROUP BY service_id;`,
    `SELECT service_id, toStartOfHour(timestamp) as hour, avg(response_time_ms) as avg_response_time, countIf(status_code = 2) as failures, count() as total_checks
FROM monitor.service_status WHERE timestamp >= now() - INTERVAL 24 HOUR GROUP BY service_id, hour ORDER BY service_id, hour;`,
    `SELECT service_id, countIf(status_code = 2) / count() * 100 as failure_rate, count() as total_checks
FROM monitor.service_status WHERE timestamp >= now() - INTERVAL 1 HOUR GROUP BY service_id HAVING failure_rate > 5 ORDER BY failure_rate DESC;`,
  ].map((text) => text.replace('monitor.', `\`${dataset}\`.`));

/** 20 minutes of two services: `api` fails twice and recovers without a message, `web` never fails. */
const rows = () =>
  Array.from({ length: 20 }, (_, i) => i).flatMap((i) => [
    {
      service_id: 'api',
      timestamp: ago(45 - i),
      status_code: i === 7 || i === 8 ? 2 : 0,
      response_time_ms: 100 + i,
      ...(i < 10 && { message: `run ${i}` }),
    },
    { service_id: 'web', timestamp: ago(45 - i), status_code: 0, message: 'fine' },
  ]);

describe('the statements of operators', () => {
  test('give the same rows before a flush, in the middle of one, and after it', async ({ dataset }) => {
    await setUpMonitoring(ctx, dataset);
    const sent = rows();
    await ingest(dataset, 'service_status', sent.slice(0, 20));
    await ingest(dataset, 'service_status', sent.slice(20));
    const ask = async () => {
      const answers = [];
      for (const text of statements(dataset)) answers.push((await sql(ctx, text)).rows);
      answers.push(
        (await sql(ctx, `SELECT * FROM service_status_summary ORDER BY service_id, hour`, { dataset })).rows,
      );
      answers[0]?.sort((a, b) => String(a.service_id).localeCompare(String(b.service_id)));
      return answers;
    };
    const before = await ask();
    const table = await statusTable(dataset);
    const sealed = await sealLane(ctx, table, 0, 1, true);
    if (!('seal' in sealed)) throw new Error('expected a seal');
    const half = { ...sealed.seal, batches: sealed.seal.batches.slice(0, 1) };
    await insertSeal(await atLane(ctx, table, 0), table, 0, half, 0, 10_000);
    const during = await ask();
    await flushStatus(dataset);
    const after = await ask();
    expect(during).toEqual(before);
    expect(after).toEqual(before);
    const [current, hours, failing, summary] = after;
    expect(current).toEqual([
      { service_id: 'api', current_status: 0, last_message: '', last_check: sent.at(-2)?.timestamp },
      { service_id: 'web', current_status: 0, last_message: 'fine', last_check: sent.at(-1)?.timestamp },
    ]);
    expect(failing).toEqual([{ service_id: 'api', failure_rate: 10, total_checks: 20 }]);
    const picked = summary?.map((row) => ({
      service_id: row.service_id,
      hour: String(row.hour).replace('.000Z', 'Z'),
      avg_response_time: row.avg_response_time,
      failures: row.failed_count,
      total_checks: row.total_checks,
    }));
    expect(picked).toEqual(hours);
    expect(hours?.reduce((sum, row) => sum + Number(row.total_checks), 0)).toBe(40);
  });

  test('a deleted row leaves the summary; of equal times the row acknowledged last counts', async ({ dataset }) => {
    await setUpMonitoring(ctx, dataset);
    const later = Date.now() - 2 * minute_ms;
    const times = [0, 0, 1].map((more) => new Date(later + more).toISOString());
    for (const [i, code] of [2, 0, 1].entries())
      await ingest(dataset, 'service_status', [{ service_id: 'a', timestamp: times[i], status_code: code }]);
    const last = async () =>
      (
        await sql(ctx, 'SELECT sum(total_checks) AS n, argMax(last_status, hour) AS s FROM service_status_summary', {
          dataset,
        })
      ).rows;
    expect(await last()).toEqual([{ n: 3, s: 1 }]);
    const request = { rows: { filters: { columns: [{ column: 'status_code', op: 'eq' as const, value: 1 }] } } };
    const job = await scheduleRowChange(ctx, { dataset, table: 'service_status', request });
    await workUntilOver(ctx, job);
    expect(await last()).toEqual([{ n: 2, s: 0 }]);
  });
});

describe('rows that the tables do not take', () => {
  test('are invalid rows with field and reason', async ({ dataset }) => {
    await setUpMonitoring(ctx, dataset);
    const timestamp = ago(1);
    const sent = async (table: string, row: object) => {
      const failed = await ingest(dataset, table, [{ timestamp, service_id: 's', ...row }]).catch((error) => error);
      return failed.extra?.errors?.map(({ field, reason }: { field: string; reason: string }) => `${field} ${reason}`);
    };
    expect(await sent('service_status', { status_code: 6 })).toEqual(['status_code not-allowed']);
    expect(await sent('service_status', { status_code: -1 })).toEqual(['status_code not-allowed']);
    expect(await sent('service_status', {})).toEqual(['status_code missing']);
    expect(await sent('service_logs', { log_level: 'FATAL' })).toEqual(['log_level not-allowed']);
    expect(await sent('service_metrics', { metric_name: 'm' })).toEqual(['metric_value missing']);
    expect(await sent('service_status', { status_code: 5, message: null, details: { a: 1 } })).toBeUndefined();
    const ok = { metric_name: 'm', metric_value: 1.5, tags: { host: 'a', 'a b': 'c' } };
    expect(await sent('service_metrics', ok)).toBeUndefined();
    const hosts = await sql(ctx, "SELECT tags['host'] AS host FROM service_metrics WHERE tags['a b'] = 'c'", {
      dataset,
    });
    expect(hosts.rows).toEqual([{ host: 'a' }]);
  });
});

describe('the set-up', () => {
  test('makes the tables once; a repetition changes nothing, and validation finds nothing', async ({ dataset }) => {
    const names = ['service_status', 'service_metrics', 'service_logs'];
    expect(await validateMonitoring(ctx, dataset)).toMatchObject({
      isSetUp: false,
      differences: names.map((table) => ({ table, what: 'table', actual: 'missing' })),
    });
    expect(await setUpMonitoring(ctx, dataset)).toEqual({ dataset, created: names, changed: [], left: [] });
    const table = await statusTable(dataset);
    expect(await setUpMonitoring(ctx, dataset)).toEqual({ dataset, created: [], changed: [], left: [] });
    expect(await readTable(ctx, dataset, 'service_status')).toEqual(table);
    expect(table).toMatchObject({ window: 'month', retention: { totalDays: 90 } });
    const valid = await validateMonitoring(ctx, dataset);
    expect(valid).toMatchObject({ isSetUp: true, differences: [] });
    const types = Object.fromEntries(valid.tables[0]?.columns.map((each) => [each.name, each.clickhouseType]) ?? []);
    expect(types).toMatchObject({
      timestamp: "DateTime64(9, 'UTC')",
      service_id: 'String',
      status_code: 'Int64',
      message: 'String',
      response_time_ms: 'Nullable(Int64)',
      cpu_usage: 'Nullable(Float64)',
    });
  });

  test('several at once make each table once', async ({ dataset }) => {
    const done = await Promise.all([1, 2, 3].map(() => setUpMonitoring(newInstance(), dataset)));
    expect(done.flatMap(({ created }) => created).sort()).toEqual([
      'service_logs',
      'service_metrics',
      'service_status',
    ]);
    expect(await validateMonitoring(ctx, dataset)).toMatchObject({ differences: [] });
  });

  test('lengthens a retention and does not shorten one; validation names each difference', async ({ dataset }) => {
    await setUpMonitoring(ctx, dataset);
    await changeTable(ctx, dataset, 'service_logs', { retention: { totalDays: 30 } });
    await changeTable(ctx, dataset, 'service_metrics', { retention: { totalDays: 400 } });
    const found = async () =>
      (await validateMonitoring(ctx, dataset)).differences.map(({ table, what, expected, actual }) => [
        table,
        what,
        expected,
        actual,
      ]);
    expect(await found()).toEqual([
      ['service_metrics', 'retention', '90 days', '400 days'],
      ['service_logs', 'retention', '90 days', '30 days'],
    ]);
    expect(await setUpMonitoring(ctx, dataset)).toMatchObject({
      created: [],
      changed: ['service_logs: retention 90 days'],
      left: [{ table: 'service_metrics', what: 'retention', actual: '400 days' }],
    });
    expect(await found()).toEqual([['service_metrics', 'retention', '90 days', '400 days']]);
  });

  test('validation sees what ClickHouse has in another way than the catalogue', async ({ dataset }) => {
    await setUpMonitoring(ctx, dataset);
    const table = await statusTable(dataset);
    await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} DROP COLUMN stack`);
    await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} MODIFY COLUMN cpu_usage Nullable(String)`);
    await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} REMOVE TTL`);
    const { differences } = await validateMonitoring(ctx, dataset);
    const unique = new Set(differences.map(({ column, what, expected }) => `${column ?? ''} ${what} ${expected}`));
    expect([...unique].sort()).toEqual([
      ' retention 90 days',
      'cpu_usage type Nullable(Float64)',
      'stack column String',
    ]);
  });

  test('refuses a dataset whose own tables have other columns, and changes nothing', async ({ dataset }) => {
    await ingest(dataset, 'service_status', [{ timestamp: ago(1), service_id: 'a', status_code: 0 }]);
    await expect(setUpMonitoring(ctx, dataset)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('service_status: key is , not service_id'),
    });
    expect(await readTable(ctx, dataset, 'service_logs')).toBeUndefined();
    expect(await validateMonitoring(ctx, dataset)).toMatchObject({ isSetUp: false });
  });

  test('refuses a dataset with a table of its own in the place of its configuration', async ({ dataset }) => {
    await ingest(dataset, 'services', [{ timestamp: ago(1), v: 1 }]);
    await expect(setUpMonitoring(ctx, dataset)).rejects.toThrow(/has a table services of its own/);
    expect((await sql(ctx, 'SELECT v FROM services', { dataset })).rows).toEqual([{ v: 1 }]);
  });
});

describe('the configuration is read in SQL', () => {
  const service = { label: 'API', stack: 'shop', serviceType: 'http' };

  async function configured(dataset: string): Promise<void> {
    await setUpMonitoring(ctx, dataset);
    const put = (kind: Kind, id: string, definition: object) =>
      putResource(ctx, { dataset, kind, id }, definitions[kind].parse(definition));
    await put('service', 'api', service);
    await put('service', 'web', {});
    await put('relation', 'web-api', { sourceServiceId: 'web', targetServiceId: 'api' });
    await put('rule', 'down', { ruleName: 'Down', serviceId: 'api', condition: 'no_data >', threshold: 60.5 });
  }

  test('as it is now, beside rows', async ({ dataset }) => {
    await configured(dataset);
    await ingest(dataset, 'service_status', [{ service_id: 'api', timestamp: ago(1), status_code: 2 }]);
    const services = await sql(ctx, 'SELECT * FROM services ORDER BY service_id', { dataset });
    expect(services.rows).toEqual([
      {
        service_id: 'api',
        label: 'API',
        service_type: 'http',
        stack: 'shop',
        status_config: 'null',
        metric_config: '{}',
        enabled: true,
      },
      expect.objectContaining({ service_id: 'web', label: 'web', stack: '' }),
    ]);
    const joined = await sql(
      ctx,
      `SELECT s.service_id AS service_id, r.target_service_id AS target, a.threshold, length(a.notification_channels) AS channels,
              (SELECT max(status_code) FROM service_status WHERE service_id = 'api') AS status
         FROM services s LEFT JOIN service_relations AS r ON r.source_service_id = s.service_id
         LEFT JOIN \`${dataset}\`.alert_rules a ON a.service_id = r.target_service_id
        WHERE s.service_id IN (SELECT source_service_id FROM service_relations)`,
      { dataset },
    );
    expect(joined.rows).toEqual([{ service_id: 'web', target: 'api', threshold: 60.5, channels: 0, status: 2 }]);
    await putResource(ctx, { dataset, kind: 'service', id: 'api' }, definitions.service.parse({ label: 'Other' }));
    const label = "SELECT label FROM services WHERE service_id = 'api'";
    expect((await sql(ctx, label, { dataset })).rows).toEqual([{ label: 'Other' }]);
  });

  test('a key sees the rows that its filter allows, and no table without its column', async ({ dataset }) => {
    await configured(dataset);
    const timestamp = ago(1);
    await ingest(dataset, 'service_status', [
      { service_id: 'api', timestamp, status_code: 2 },
      { service_id: 'web', timestamp, status_code: 0 },
    ]);
    const reader = { reads: (name: string) => name === dataset, rowFilter: { column: 'service_id', value: 'web' } };
    const ask = (text: string) => sql(ctx, text, { dataset }, reader);
    expect((await ask('SELECT service_id FROM services')).rows).toEqual([{ service_id: 'web' }]);
    expect((await ask('SELECT rule_id FROM alert_rules')).rows).toEqual([]);
    expect((await ask('SELECT service_id, total_checks FROM service_status_summary')).rows).toEqual([
      { service_id: 'web', total_checks: 1 },
    ]);
    await flushStatus(dataset);
    expect((await ask('SELECT service_id, total_checks FROM service_status_summary')).rows).toEqual([
      { service_id: 'web', total_checks: 1 },
    ]);
    await expect(ask('SELECT * FROM service_relations')).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('no key reads the configuration of a dataset that it may not read', async ({ dataset }) => {
    await configured(dataset);
    const reader = { reads: () => false, rowFilter: null };
    for (const name of ['services', 'service_relations', 'alert_rules', 'service_status_summary']) {
      const asked = sql(ctx, `SELECT * FROM \`${dataset}\`.${name}`, {}, reader);
      await expect(asked).rejects.toMatchObject({ code: 'not-found', message: `Table ${dataset}.${name} not found.` });
    }
  });

  test('a dataset that is not monitored has no such tables, and a table of its own is read as it is', async ({
    dataset,
  }) => {
    await ingest(dataset, 'alert_rules', [{ timestamp: ago(1), v: 7 }]);
    await expect(sql(ctx, 'SELECT * FROM services', { dataset })).rejects.toMatchObject({ code: 'not-found' });
    await expect(sql(ctx, 'SELECT * FROM service_status_summary', { dataset })).rejects.toMatchObject({
      code: 'not-found',
    });
    expect((await sql(ctx, 'SELECT v FROM alert_rules', { dataset })).rows).toEqual([{ v: 7 }]);
  });

  test('lists of tables contain them once, in pages too', async ({ dataset }) => {
    await configured(dataset);
    const { tables } = await listTables(ctx, { dataset, after: undefined, of: undefined });
    expect(tables.map(({ table }) => table)).toEqual([
      'alert_rules',
      'service_logs',
      'service_metrics',
      'service_relations',
      'service_status',
      'service_status_summary',
      'services',
    ]);
    expect(tables[0]?.columns.at(-2)).toEqual({
      name: 'notification_channels',
      type: 'string[]',
      clickhouseType: 'Array(String)',
    });
    const rest = await listTables(ctx, { dataset, after: `${dataset}.service_status`, of: undefined });
    expect(rest.tables.map(({ table }) => table)).toEqual(['service_status_summary', 'services']);
    expect((await listTables(ctx, { dataset, after: undefined, of: [] })).tables).toEqual([]);
    // Each listed column is what a query gives.
    for (const { table, columns } of tables) {
      const answer = await sql(ctx, `SELECT * FROM \`${table}\` LIMIT 0`, { dataset });
      expect(answer.columns, table).toEqual(columns.map(({ name, clickhouseType: type }) => ({ name, type })));
    }
  });

  test('a table made in spite of the set-up hides the configuration, and validation says so', async ({ dataset }) => {
    await configured(dataset);
    const fields = [{ name: 'timestamp', type: 'timestamp' as const }];
    const schema = { version: 1, timestampColumn: 'timestamp', keyFields: [], fields };
    await setUpLanes(ctx, await createTable(ctx, { dataset, name: 'services', window: 'day', lanes: 1, schema }));
    expect((await sql(ctx, 'SELECT count() AS n FROM services', { dataset })).rows).toEqual([{ n: 0 }]);
    expect((await validateMonitoring(ctx, dataset)).differences).toMatchObject([{ table: 'services', what: 'table' }]);
  });
});

test('sizes, pending rows and slow queries of a dataset', async ({ dataset }) => {
  await setUpMonitoring(ctx, dataset);
  await ingest(dataset, 'service_status', rows());
  await flushStatus(dataset);
  await ingest(dataset, 'service_status', rows().slice(0, 3));
  const { tables, slowQueries } = await readStorage(ctx, dataset);
  const found = tables.find(({ name }) => name === 'service_status');
  expect(found).toMatchObject({ rows: 40, pendingRows: 3, retentionDays: 90 });
  expect(found?.bytes).toBeGreaterThan(0);
  expect(found?.behind_ms).toBeGreaterThanOrEqual(0);
  expect(tables.find(({ name }) => name === 'service_logs')).toMatchObject({ rows: 0, pendingRows: 0, behind_ms: 0 });
  expect(slowQueries === null || Array.isArray(slowQueries)).toBe(true);
});

test('the user of the guide reads the three tables of ClickHouse, and nothing else', async ({ dataset }) => {
  const read = (path: string) => readFileSync(join(import.meta.dirname, '../../..', path), 'utf8');
  const [, shown = 'nothing'] = /```sql\n([\s\S]*?)```/.exec(read('functions/guides/monitoring.md')) ?? [];
  expect(read('sql/clickhouse/monitor-reader.sql').endsWith(shown)).toBe(true);
  // Its grants are those of the dataset `monitor`; the buffer is the test's own.
  const own = newInstance({ TIMESTORE_KEY_PREFIX: dataset });
  await setUpMonitoring(own, 'monitor');
  const { user, password } = local.clickhouse.monitorReader;
  const reader = createClickHouse(inject('env').CLICKHOUSE_URL ?? '', user, password);
  for (const name of ['service_status', 'service_metrics', 'service_logs']) {
    expect(await reader.rows(`SELECT service_id FROM ts_monitor.${name} LIMIT 0`), name).toEqual([]);
  }
  await setUpMonitoring(ctx, dataset);
  // The log is a table once it was written.
  for (const { clickhouse } of everyNode(ctx)) await clickhouse.command('SYSTEM FLUSH LOGS');
  const readOnly = 164;
  const denied = [
    'SELECT * FROM system.query_log',
    'SELECT * FROM timestore.ingest_watermarks',
    `SELECT * FROM \`ts_${dataset}\`.service_status`,
    "INSERT INTO ts_monitor.service_logs (service_id) VALUES ('a')",
    'ALTER TABLE ts_monitor.service_status DELETE WHERE true',
    "SELECT * FROM url('http://127.0.0.1/')",
  ];
  for (const statement of denied) {
    const failed = await reader.command(statement).catch((error) => error);
    expect([clickhouseCodes.accessDenied, readOnly], statement).toContain(failed?.code);
  }
});
