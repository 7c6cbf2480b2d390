import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { type Result, tryAll } from '../conformance/probes.ts';
import { startOwnBuffer } from './buffer/own-buffer.ts';
import { newInstance } from './support.ts';

const failed = (results: Result[]) => results.flatMap(({ ok, store, what }) => (ok ? [] : [`${store} ${what}`]));

test('the local engines have everything that the product relies on, and nothing of it is left', async () => {
  const results = await tryAll(inject('env'));
  expect(results.filter(({ ok }) => !ok)).toEqual([]);
  expect(new Set(results.map(({ store }) => store))).toEqual(new Set(['redis', 'postgres', 's3', 'clickhouse']));
  const ctx = newInstance();
  const databases = `SELECT name FROM system.databases WHERE name LIKE 'ts_conformance-%'`;
  expect(await ctx.clickhouse.rows(databases)).toEqual([]);
  expect(await ctx.redis.keys('conformance-*')).toEqual([]);
  expect(await ctx.objects.list('conformance/')).toEqual([]);
  expect(await ctx.postgres.rows(`select 1 from datasets where name like 'conformance-%'`)).toEqual([]);
});

test('a writer without its grants, a reader without its limits and a missing bucket are reported', async () => {
  const env = inject('env');
  const results = await tryAll({
    ...env,
    CLICKHOUSE_USER: env.CLICKHOUSE_READER_USER,
    CLICKHOUSE_PASSWORD: env.CLICKHOUSE_READER_PASSWORD,
    CLICKHOUSE_READER_USER: env.CLICKHOUSE_USER,
    CLICKHOUSE_READER_PASSWORD: env.CLICKHOUSE_PASSWORD,
    S3_BUCKET: 'another-bucket',
  });
  expect(failed(results)).toEqual(
    expect.arrayContaining([
      'clickhouse is migrated',
      'clickhouse lets the writer read system.processes',
      'clickhouse makes a database and a table, adds columns, changes retention',
      'clickhouse limits the reader',
      'clickhouse refuses the reader what it must not do',
      's3 has the bucket',
    ]),
  );
  expect(failed(results).filter((what) => /^(?:redis|postgres) /.test(what))).toEqual([]);
});

test('a buffer that evicts, and has fewer replicas than are waited for, is noticed', async () => {
  const buffer = await startOwnBuffer();
  try {
    await buffer.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    const results = await tryAll({ ...inject('env'), ...buffer.env, BUFFER_WAIT_REPLICAS: '1' });
    expect(failed(results)).toEqual(expect.arrayContaining(['redis evicts nothing', 'redis waits for replicas']));
    expect(failed(results)).not.toContain('redis takes every script, with its line of flags');
  } finally {
    await buffer.stop();
  }
});

test('as a program it prints each result, what to do, and which variables are missing', () => {
  const program = join(import.meta.dirname, '..', '..', 'local', 'bootstrap.mjs');
  const run = (env: Record<string, string>) => {
    const base = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', NO_COLOR: '1' };
    return spawnSync(process.execPath, [program, 'test/conformance/run.ts'], {
      cwd: join(import.meta.dirname, '..', '..'),
      env: { ...base, ...env },
      encoding: 'utf8',
    });
  };
  const without = run({});
  expect(without.status).toBe(1);
  expect(without.stderr).toContain('UPSTASH_REDIS_REST_URL');
  expect(without.stderr).toContain('CLICKHOUSE_URL');
  const whole = run(inject('env'));
  expect([whole.status, whole.stderr]).toEqual([0, '']);
  expect(whole.stdout).toMatch(/✔ clickhouse .*\n/);
  expect(whole.stdout).toMatch(/All \d+ hold\.\n$/);
  const broken = run({ ...inject('env'), S3_BUCKET: 'another-bucket' });
  expect(broken.status).toBe(1);
  expect(broken.stdout).toMatch(/✘ s3 .*\n.*\n +→ Check S3_ENDPOINT/);
});
