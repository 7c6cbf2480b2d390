import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { Command } from 'commander';
import { describe, expect, inject } from 'vitest';
import { duration } from '../../src/cli/options.ts';
import { createProgram } from '../../src/cli/program.ts';
import { test } from '../integration/fixtures.ts';
import { useWorker } from '../integration/http/worker.ts';
import { at } from '../integration/support.ts';
import { useCli } from './support.ts';

// A source without a listener: these tests do not query it.
const call = useWorker({ TIMESTORE_ORIGIN_URL: 'http://127.0.0.1:9', TIMESTORE_ORIGIN_KEY: 'of-the-original' });
const cli = useCli();
const env = () => ({ TIMESTORE_URL: call.url(), TIMESTORE_KEY: 'local-admin' });
const run = (...args: string[]) => cli.run(args, env());

async function json<Answer = Record<string, unknown>>(...args: string[]): Promise<Answer> {
  const { code, stdout, stderr } = await run(...args, '--json');
  expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: '' });
  return JSON.parse(stdout) as Answer;
}

test('datasets and tables are made, listed, changed and deleted', async ({ dataset }) => {
  await json('datasets', 'create', dataset, '--title', 'Plant', '--retention-days', '30', '--rows-per-day', '1000');
  expect(await json('datasets', 'change', dataset, '--bytes-per-day', '5000')).toMatchObject({
    quota: { rowsPerDay: 1_000, bytesPerDay: 5_000 },
  });
  expect(await json('datasets', 'change', dataset, '--rows-per-day', 'none')).toMatchObject({
    quota: { bytesPerDay: 5_000 },
  });
  expect(await json('datasets', 'show', dataset)).toMatchObject({ title: 'Plant', retention: { totalDays: 30 } });
  expect(await json('datasets', 'change', dataset, '--reads', 'compare')).toMatchObject({
    migration: { reads: 'compare', mirror: false },
  });
  expect(await json('datasets', 'change', dataset, '--mirror')).toMatchObject({
    migration: { reads: 'compare', mirror: true },
  });
  expect(await json('datasets', 'show', dataset)).toMatchObject({ migration: { mirrored: { behindRows: 0 } } });
  expect(await json('datasets', 'comparisons', dataset)).toEqual([]);
  expect(await json('datasets', 'change', dataset, '--no-mirror', '--reads', 'on')).toMatchObject({ migration: null });
  const made = [
    '--field',
    'site:string',
    '--field',
    'v:vector(3)',
    '--key-fields',
    'site',
    '--lanes',
    '2',
    '--partition',
    'month',
  ];
  await json('tables', 'create', `${dataset}.m`, ...made);
  expect(await json('tables', 'change', `${dataset}.m`, '--retention-days', '7', '--state', 'frozen')).toMatchObject({
    lanes: 2,
    partition: 'month',
    state: 'frozen',
    retention: { totalDays: 7 },
  });
  expect((await run('tables', dataset)).stdout).toMatch(/│ m +│ frozen │ +2 │ month/);
  expect((await run('datasets', '--search', dataset)).stdout).toContain('Plant');
  expect(await json<object[]>('tables', 'schema', `${dataset}.m`)).toHaveLength(1);
  expect(await json<object[]>('tables', 'manifests', `${dataset}.m`)).toEqual([]);
  // A script says that it is meant.
  const asked = await run('tables', 'delete', `${dataset}.m`);
  expect(asked).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') });
  expect(await json('tables', 'delete', `${dataset}.m`, '--grace', '1h', '--yes')).toMatchObject({ state: 'deleting' });
  expect(await json('datasets', 'delete', dataset, '--yes')).toMatchObject({ state: 'deleting' });
});

test('rows are flushed, audited, deleted and corrected; jobs, receipts and the log show it', async ({ dataset }) => {
  const rows = [0, 1, 2, 3].map((v) => ({ timestamp: at(v), v, s: `s${v % 2}` }));
  const sent = await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: rows });
  const { batchId } = (await sent.json()) as { batchId: string };
  expect(await json('receipt', batchId)).toMatchObject({ state: 'buffered' });
  expect(await json('flush', `${dataset}.m`)).toEqual({ rows: 4 });
  expect(await json('audit', `${dataset}.m`)).toMatchObject({ ok: true, missing: 0 });
  expect((await run('audit')).code).toBeTypeOf('number');
  expect(await json('reconcile', `${dataset}.m`)).toMatchObject({ drift: [] });
  const gone = await json('delete-rows', `${dataset}.m`, '--where', 's=s1', '--yes', '--wait');
  expect(gone).toMatchObject({ state: 'done', kind: expect.stringContaining('delet') });
  expect(
    await json('correct-rows', `${dataset}.m`, '--where', 'v=0', '--set', 's=zero', '--yes', '--wait'),
  ).toMatchObject({ state: 'done' });
  const { stdout } = await run('query', `${dataset}.m`, '--columns', 'v,s', '--format', 'csv');
  expect(stdout).toBe('"v","s"\n0,"zero"\n2,"s0"\n');
  expect(await json<object[]>('jobs', '--dataset', dataset)).toHaveLength(2);
  expect(await json('jobs', 'show', String(gone.id))).toMatchObject({ id: gone.id });
  const log = await json<{ action: string }[]>('audit-log', '--dataset', dataset);
  expect(log.length).toBeGreaterThan(1);
  expect(await run('delete-rows', `${dataset}.m`, '--yes')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('Select rows'),
  });
});

test('keys are made, rotated and revoked, and rows in quarantine sent again', async ({ dataset }) => {
  const made = await json(
    'keys',
    'create',
    'site 7',
    '--ingest',
    `${dataset},other`,
    '--query',
    '*',
    '--row-filter',
    'tenant=a',
  );
  expect(made).toMatchObject({
    name: 'site 7',
    scopes: { ingest: [dataset, 'other'], query: '*' },
    rowFilter: { column: 'tenant', value: 'a' },
  });
  const next = await json('keys', 'rotate', String(made.id), '--overlap', '1h');
  expect(next.key).not.toBe(made.key);
  expect(await json('keys', 'revoke', String(next.id), '--yes')).toMatchObject({ state: 'revoked' });
  expect((await run('keys')).stdout).not.toContain(String(made.key).split('_').slice(2).join('_'));
  expect(await run('keys', 'create', 'x')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('No scope'),
  });

  const input = `{"timestamp":"${at(1)}","v":1}\n{"timestamp":"${at(2)}","v":"x"}\n{"timestamp":"${at(2)}","v":"y"}\n`;
  await cli.run(['ingest', '-', '--table', `${dataset}.m`, '--on-error', 'quarantine'], env(), input);
  const held = await json<{ id: string; reason: string }[]>('quarantine', dataset);
  expect(held.map(({ reason }) => reason)).toEqual(['wrong-type', 'wrong-type']);
  expect(await json('quarantine', 'replay', dataset)).toMatchObject({ replayed: expect.any(Number) });
  expect(await json('quarantine', 'discard', dataset, ...held.map(({ id }) => id), '--yes')).toMatchObject({
    discarded: 2,
  });
});

test('exports are made, listed, fetched without a key and deleted', async ({ dataset }) => {
  const rows = [1, 2, 3].map((day) => ({ timestamp: at(1, day), v: day }));
  await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: rows });
  const made = await json(
    'exports',
    'create',
    `${dataset}.m`,
    '--format',
    'csv',
    '--from',
    '2026-05-02',
    '--columns',
    'v',
    '--wait',
  );
  expect(made).toMatchObject({ state: 'done', result: { rows: 2, objects: 2 } });
  const id = String(made.id);
  expect((await run('exports', '--dataset', dataset)).stdout).toMatch(new RegExp(`${id} .* csv +│ +2 │ +2 │`));
  expect(await json('exports', 'show', id, '--expires-in', '1m')).toMatchObject({
    objects: [{ url: expect.any(String) }, {}],
  });
  const folder = join(cli.home, 'may');
  expect(await run('exports', 'download', id, '--to', folder)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^2 rows in 2 files/),
  });
  expect(readFileSync(join(folder, '2026-05-03.csv'), 'utf8')).toBe('"v"\n3\n');
  expect(await json('exports', 'download', id, '--to', folder, '-q')).toMatchObject({ files: 2, bytes: 0 });
  await json('export-schedules', 'set', `${dataset}.m`, '--hour', '3', '--days', '7');
  expect((await run('export-schedules')).stdout).toMatch(new RegExp(`${dataset} │ m +│ +3 │ +7 │ parquet`));
  expect(await run('export-schedules', 'remove', `${dataset}.m`)).toMatchObject({ code: 0 });
  const hook = await json('webhooks', 'create', 'http://127.0.0.1:9/', '--datasets', dataset);
  expect(hook).toMatchObject({ secret: expect.stringMatching(/^whsec_/), datasets: [dataset] });
  await json('webhooks', 'test', String(hook.id));
  expect(await json<object[]>('webhooks', 'deliveries', String(hook.id))).toMatchObject([{ event: { type: 'test' } }]);
  expect((await run('webhooks')).stdout).not.toContain('whsec_');
  expect(await run('webhooks', 'delete', String(hook.id), '--yes')).toMatchObject({ code: 0 });
  expect(await run('exports', 'delete', id, '--yes')).toMatchObject({ code: 0 });
  expect(await run('exports', 'show', id)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('not found'),
  });
});

test('backups, storage, metrics, status, and whatever else the API has', async ({ dataset }) => {
  await json('call', 'POST', `/v1/datasets/${dataset}/tables/m/rows`, '--data', `{"timestamp":"${at(1)}","v":1}`);
  const backup = await json<{ state: string; result: { backup: string } }>(
    'backups',
    'create',
    '--datasets',
    dataset,
    '--wait',
  );
  expect(backup.state).toBe('done');
  const listed = await json<{ id: string }[]>('backups');
  const [newest] = listed;
  expect(await json('backups', 'show', String(newest?.id))).toHaveProperty('tables');
  expect((await run('storage')).stdout).toContain('clickhouse');
  expect((await run('metrics')).stdout).toContain('timestore_replica_age_ms');
  expect(await run('status')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/redis +│ true/),
    stderr: expect.stringContaining('is ok'),
  });
  const file = join(cli.home, 'body.json');
  writeFileSync(file, JSON.stringify({ sql: `SELECT 1 AS one FROM ${'`'}${dataset}${'`'}.m` }));
  expect((await run('call', 'POST', '/v1/sql', '--data', `@${file}`)).stdout).toContain('"rows"');
  expect(await run('call', 'FETCH', '/v1/sql')).toMatchObject({ code: 2 });
  expect(await run('call', 'POST', '/v1/sql', '--data', 'nope')).toMatchObject({
    code: 2,
    stderr: '--data is not JSON.\n',
  });
});

describe('status', () => {
  const withoutRedis = useWorker({ UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:9', TIMESTORE_REDIS_TIMEOUT_MS: '50' });

  test('reports the unavailable store of a deployment that takes no rows, without a key', async () => {
    const url = withoutRedis.url();
    const away = await cli.run(['status', '--url', url], {});
    expect(away).toMatchObject({
      code: 75,
      stderr: `${url} is unavailable: rows cannot be accepted.\n`,
      stdout: expect.stringMatching(/redis +│ false .*clickhouse +│ true/s),
    });
    const asJson = await cli.run(['status', '--url', url, '--json'], {});
    expect(asJson.code).toBe(75);
    expect(JSON.parse(asJson.stdout)).toMatchObject({ status: 'unavailable', stores: { redis: { ok: false } } });
  });

  test('reports an address that is not Timestore’s, or does not answer', async () => {
    let asked = 0;
    const answers: [number, string][] = [
      [200, '<h1>Welcome</h1>'],
      [200, '{"status":"ok"}'],
      [404, 'no'],
      [503, '{}'],
    ];
    const server = createServer((_, response) => {
      const [status, text] = answers[asked] ?? [500, ''];
      asked += 1;
      response.writeHead(status).end(text);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const codes: (number | null)[] = [];
    for (const _ of answers) {
      const ended = await cli.run(['status', '--url', url], {});
      expect(ended.stderr).toContain('Check that the URL is that of a Timestore deployment.');
      codes.push(ended.code);
    }
    server.close();
    // What a gateway says of itself may pass.
    expect([codes, asked]).toEqual([[1, 1, 1, 75], answers.length]);
    expect(await cli.run(['status', '--url', 'http://127.0.0.1:9'], {})).toMatchObject({
      code: 75,
      stderr: expect.stringContaining('is unreachable'),
    });
  });
});

test('migrate reports what is missing, and what it applied', async () => {
  const lacking = await cli.run(['migrate'], {});
  expect(lacking).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/DATABASE_URL: is missing\n.*CLICKHOUSE_URL: is missing/),
  });
  expect(await cli.run(['migrate'], inject('env'))).toMatchObject({
    code: 0,
    stdout: 'Nothing to migrate.\n',
    stderr: '',
  });
  const { CLICKHOUSE_USER = '', CLICKHOUSE_PASSWORD = '' } = inject('env');
  const unlimited = { CLICKHOUSE_READER_USER: CLICKHOUSE_USER, CLICKHOUSE_READER_PASSWORD: CLICKHOUSE_PASSWORD };
  const warned = await cli.run(['migrate'], { ...inject('env'), ...unlimited });
  expect(warned.code).toBe(0);
  expect(warned.stderr).toMatch(
    /^Warning: ClickHouse reader: max_memory_usage_for_user: it is 0, no limit; at most 8589934592\.$/m,
  );
  expect(warned.stderr).toContain('sql/clickhouse/users.sql');
  const away = await cli.run(['migrate'], { ...inject('env'), CLICKHOUSE_URL: 'http://127.0.0.1:9' });
  expect(away).toMatchObject({ code: 75, stderr: expect.stringContaining('ClickHouse') });
});

describe('where and who', () => {
  const login = (url: string, key: string, ...more: string[]) => cli.run(['login', url, ...more], {}, key);

  test('login keeps an address and a key that were tried, for their owner alone', async () => {
    expect(await login(call.url(), 'wrong-key')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('was rejected'),
    });
    expect(await cli.run(['status'], {})).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('timestore login URL'),
    });
    expect(await login(call.url(), 'local-admin\n', '--profile', 'here')).toMatchObject({ code: 0 });
    const path = join(cli.home, 'config', 'timestore', 'config.json');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await cli.run(['status'], {})).toMatchObject({ code: 0 });
    expect((await cli.run(['profiles'], {})).stdout).not.toContain('local-admin');
    expect(await cli.run(['status', '--profile', 'there'], {})).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('which has here'),
    });
  });

  test('a profile may have the name of what every object has, or is refused', async () => {
    for (const name of ['constructor', '__proto__', 'toString']) {
      const missing = { code: 2, stderr: expect.stringContaining(`Unknown profile ${name}`) };
      expect(await cli.run(['status', '--profile', name], {})).toMatchObject(missing);
      expect(await cli.run(['logout', name], {})).toMatchObject(missing);
    }
    expect(await login(call.url(), 'local-admin\n', '--profile', '__proto__')).toMatchObject({ code: 2 });
    expect(await login(call.url(), 'local-admin\n', '--profile', 'constructor')).toMatchObject({ code: 0 });
    expect(await cli.run(['status', '--profile', 'constructor'], {})).toMatchObject({ code: 0 });
    expect(await cli.run(['logout', 'constructor'], {})).toMatchObject({ code: 0 });
    expect(await login(call.url(), 'local-admin\n', '--profile', 'here')).toMatchObject({ code: 0 });
  });

  test('a kept key goes to its own address and no other', async () => {
    let asked = 0;
    const server = createServer((_, response) => {
      asked += 1;
      response.end('{}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect(await cli.run(['datasets', '--url', url], {})).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('No key for'),
    });
    expect(await cli.run(['datasets'], { TIMESTORE_URL: url })).toMatchObject({ code: 2 });
    expect(asked).toBe(0);
    server.close();
    expect(await cli.run(['datasets', '--url', `${call.url()}/`], {})).toMatchObject({ code: 0 });
    // Nor does one of the environment go to a profile that was asked for.
    const other = { TIMESTORE_URL: url, TIMESTORE_KEY: 'of-another-deployment' };
    expect(await cli.run(['datasets', '--profile', 'here'], other)).toMatchObject({ code: 0 });
  });

  test('a file that is not as it should be is named, and nothing of it is shown', async () => {
    const path = join(cli.home, 'odd.json');
    for (const text of ['{"profiles": {"x": {"url": "ftp://x", "key": "secret-key"}}}', '{"key": "secret-key"']) {
      writeFileSync(path, text);
      const ended = await cli.run(['status', '--config', path], {});
      expect(ended).toMatchObject({ code: 2, stderr: expect.stringContaining(`${path} is invalid`) });
      expect(ended.stderr).not.toContain('secret');
    }
    chmodSync(path, 0o600);
    const logout = await cli.run(['logout'], {});
    expect(logout).toMatchObject({ code: 0, stderr: expect.stringContaining('Deleted profile') });
    expect(readFileSync(join(cli.home, 'config', 'timestore', 'config.json'), 'utf8')).not.toContain('local-admin');
  });
});

test('every command says what it does and how it is used', async () => {
  const [stdin, stdout] = [new PassThrough(), new PassThrough()];
  const io = { stdin, stdout, stderr: stdout, env: {}, signal: new AbortController().signal };
  const every = (command: Command): Command[] => [command, ...command.commands.flatMap(every)];
  const commands = every(createProgram('1.2.3', io));
  expect(commands.length).toBeGreaterThan(50);
  for (const command of commands) expect(command.description(), command.name()).not.toBe('');
  const times = commands.flatMap(({ options }) =>
    options.filter(({ flags, defaultValue }) => flags.endsWith('<time>') && defaultValue !== undefined),
  );
  expect(times.length).toBeGreaterThan(2);
  for (const { defaultValue, defaultValueDescription: said = '' } of times) expect(duration(said)).toBe(defaultValue);
  const { stdout: help } = await run('ingest', '--help');
  expect(help).toContain('(default: 2m)');
  expect(help).toMatch(/Usage: timestore ingest .*Global Options:.*--json.*Examples/s);
});
