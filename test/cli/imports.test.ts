import { globSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { afterEach, describe, expect } from 'vitest';
import { loadDuckDb } from '../../src/cli/import/duckdb.ts';
import { Timestore } from '../../src/client/index.ts';
import { test } from '../integration/fixtures.ts';
import { useWorker } from '../integration/http/worker.ts';
import { at, newDataset } from '../integration/support.ts';
import { useCli } from './support.ts';

const call = useWorker();
const cli = useCli();
const env = () => ({
  TIMESTORE_URL: call.url(),
  TIMESTORE_KEY: 'local-admin',
  TIMESTORE_STATE: join(cli.home, 'state'),
});
const client = () => new Timestore({ url: call.url(), key: 'local-admin' });
const imports = (args: string[], more: Record<string, string> = {}) =>
  cli.run(['imports', ...args], { ...env(), ...more });

type Import = { id: string; state: string; rows: { read: number; moved: number }; objects: { of: number } };

/** What is made and waited for, as JSON. */
async function created(args: string[], more: Record<string, string> = {}): Promise<Import> {
  const { code, stdout, stderr } = await imports(['create', ...args, '--wait', '--json', '-q'], more);
  expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: '' });
  return JSON.parse(stdout) as Import;
}

function file(name: string, content: string | Uint8Array): string {
  const path = join(cli.home, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  return path;
}

const upTo = (n: number) => Array.from({ length: n }, (_, v) => v);
const lines = (from: number, to: number) =>
  upTo(to - from)
    .map((i) => `${JSON.stringify({ timestamp: at((from + i) % 60), v: from + i })}\n`)
    .join('');

async function values(dataset: string): Promise<number[]> {
  const { rows } = await client()
    .table<{ v: number }>(dataset, 'm')
    .query({ columns: ['v'], orderBy: [{ column: 'v' }], limit: 10_000 });
  return rows.map(({ v }) => v);
}

async function importsOf(dataset: string): Promise<{ id: string; state: string }[]> {
  const { stdout } = await imports(['--dataset', dataset, '--json']);
  return JSON.parse(stdout) as { id: string; state: string }[];
}

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

/** Between the command and both the server and the bucket. What it does with a request is up to `hold`. */
async function startProxy() {
  const proxy = {
    url: '',
    /** Each request, as METHOD and path. */
    seen: [] as string[],
    /** `gone` breaks it before it is passed on, `deaf` afterwards, `slow` never reads what comes. */
    hold: (_: string): 'pass' | 'gone' | 'deaf' | 'slow' => 'pass',
  };
  const buckets = new Map<string, string>();
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const { method = 'GET', url = '/' } = request;
    const isBucket = url.startsWith('/bucket/');
    const what = isBucket ? 'PUT object' : `${method} ${url.split('?')[0]}`;
    proxy.seen.push(what);
    const does = proxy.hold(what);
    if (does === 'slow') return;
    if (does === 'gone') {
      request.once('data', () => response.destroy());
      if (method === 'GET') response.destroy();
      return;
    }
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = parts.length === 0 ? {} : { body: Buffer.concat(parts) };
    const headers = isBucket ? {} : { headers: request.headers as Record<string, string> };
    if (isBucket) expect(request.headers).toMatchObject({ 'content-length': String(Buffer.concat(parts).length) });
    if (isBucket) expect(request.headers).not.toHaveProperty('authorization');
    const to = isBucket ? (buckets.get(url) ?? '') : `${call.url()}${url}`;
    const passed = await fetch(to, { method, ...headers, ...body });
    let text = await passed.text();
    if (url.endsWith('/uploads') && passed.ok) {
      const upload = JSON.parse(text) as { key: string; url: string };
      const path = `/bucket/${upload.key}`;
      buckets.set(path, upload.url);
      text = JSON.stringify({ ...upload, url: `${proxy.url}${path}` });
    }
    if (does === 'deaf') response.destroy();
    else response.writeHead(passed.status, { 'content-type': 'application/json' }).end(text);
  };
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  stops.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return proxy;
}

describe('files are imported', () => {
  test('as Parquet, CSV and NDJSON, plain and packed, whatever they are called, and shown', async ({ dataset }) => {
    const csv = `timestamp,v\n${upTo(10)
      .map((v) => `${at(v)},${v}`)
      .join('\n')}\n`;
    const made = await created([`${dataset}.m`, file('été 2025.csv', csv), '--field', 'v:double']);
    expect(made).toMatchObject({ state: 'done', rows: { read: 10, moved: 10 }, objects: { of: 1, read: 1 } });
    const packed = [file('a.ndjson', lines(10, 20)), file('b.data', gzipSync(lines(20, 30)))];
    expect(await created([`${dataset}.m`, ...packed])).toMatchObject({ rows: { read: 20 }, objects: { of: 2 } });
    const parquet = join(cli.home, 'all.parquet');
    await cli.run(['sql', 'SELECT timestamp, v + 30 AS v FROM m', '--dataset', dataset, '--out', parquet], env());
    await created([`${dataset}.m`, parquet, '--from', at(5), '--to', at(15), '--columns', 'timestamp,v']);
    expect(await values(dataset)).toEqual([...upTo(30), ...upTo(10).map((v) => v + 35)]);
    const { stdout } = await imports(['--dataset', dataset]);
    expect(stdout).toMatch(new RegExp(`${made.id} │ ${dataset} │ m +│ done +│ +1 │ +10 │`));
    const shown = await imports(['show', made.id]);
    expect(shown).toMatchObject({ code: 0, stderr: '' });
    expect(shown.stdout).toMatch(/objects +1 of 1 read\nrows +10 read, 10 moved\n/);
  });

  test('into a new table with its own time and keys, and from objects that are there already', async ({ dataset }) => {
    const csv = `at,site,v\n${at(1)},x,1\n${at(2)},y,2\n`;
    const own = ['--timestamp-column', 'at', '--key-fields', 'site', '--field', 'site:string', '--field', 'v:integer'];
    await created([`${dataset}.m`, file('own.csv', csv), ...own]);
    const { stdout } = await cli.run(['tables', 'show', `${dataset}.m`, '--json'], env());
    expect(JSON.parse(stdout)).toMatchObject({ schema: { timestampColumn: 'at', keyFields: ['site'] } });
    const answer = await call(`/v1/admin/datasets/${dataset}/uploads`, { json: { name: 'b.csv' } });
    const { key, url } = (await answer.json()) as { key: string; url: string };
    // Such as every S3 takes: it says nothing of what is put there.
    expect(url).not.toMatch(/checksum/i);
    expect((await fetch(url, { method: 'PUT', body: `at,site,v\n${at(3)},z,3\n` })).status).toBe(200);
    const objects = [`${dataset}.m`, '--object', key, '--key', 'three'];
    const [first, again] = [await created(objects), await created(objects)];
    expect(again.id).toBe(first.id);
    await created([`${dataset}.m`, file('four.csv', `at,site,v\n${at(4)},z,4\n`), '--object', key]);
    expect(await values(dataset)).toEqual([1, 2, 3, 3, 4]);
  });

  test('without waiting, and then followed; it continues without a follower', async ({ dataset }) => {
    const proxy = await startProxy();
    proxy.hold = (what) => (what.startsWith('GET') ? 'gone' : 'pass');
    const args = ['create', `${dataset}.other`, file('on.ndjson', lines(0, 5)), '--wait', '-q', '--patience', '1ms'];
    expect(await imports(args, { TIMESTORE_URL: proxy.url })).toMatchObject({
      code: 75,
      stderr: expect.stringMatching(/The import continues; `timestore imports show .* --wait`/),
    });
    const { stdout, code } = await imports([
      'create',
      `${dataset}.m`,
      file('later.ndjson', lines(0, 5)),
      '--json',
      '-q',
    ]);
    expect(code).toBe(0);
    const { id } = JSON.parse(stdout) as Import;
    expect(await imports(['show', id, '--wait'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/state +done/),
    });
    expect(await values(dataset)).toEqual(upTo(5));
  });
});

describe('under a key an import is made once', () => {
  test('however often it is asked for; other files or options are refused', async ({ dataset }) => {
    const proxy = await startProxy();
    const more = { TIMESTORE_URL: proxy.url };
    const path = file('once.ndjson', lines(0, 10));
    const args = [`${dataset}.m`, path, '--key', 'once'];
    const [first, again] = [await created(args, more), await created(args, more)];
    expect(again.id).toBe(first.id);
    expect(proxy.seen.filter((what) => what === 'PUT object')).toHaveLength(1);
    expect(await imports(['create', ...args, '--columns', 'timestamp', '-q'], more)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/Key once belongs to an earlier import.*Nothing was/),
    });
    // Another machine: the server knows the key, and that it was of other objects.
    const elsewhere = await imports(['create', ...args, '-q', '--state', join(cli.home, 'elsewhere')]);
    expect(elsewhere).toMatchObject({ code: 1, stderr: expect.stringContaining('or from another machine') });
    writeFileSync(path, lines(0, 11));
    expect(await imports(['create', ...args, '-q'], more)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('an earlier version of these files'),
    });
    expect(await values(dataset)).toEqual(upTo(10));
    const [record = ''] = globSync(join(cli.home, 'state', 'import-*.json'));
    expect(statSync(record).mode & 0o777).toBe(0o600);
    expect(readFileSync(record, 'utf8')).not.toMatch(/X-Amz|local-admin/);
  });

  test('when the server becomes unavailable between two files, and after the import was created', async ({
    dataset,
  }) => {
    const proxy = await startProxy();
    const more = { TIMESTORE_URL: proxy.url };
    const files = [file('one.ndjson', lines(0, 10)), file('two.ndjson', lines(10, 20))];
    const args = ['create', `${dataset}.m`, ...files, '--key', 'k', '--patience', '1ms', '--wait', '-q'];
    proxy.hold = (what) => (what.endsWith('/uploads') && proxy.seen.length > 2 ? 'gone' : 'pass');
    expect(await imports(args, more)).toMatchObject({
      code: 75,
      stderr: expect.stringContaining('The same command continues the upload'),
    });
    proxy.hold = (what) => (what.endsWith('/imports') ? 'deaf' : 'pass');
    expect(await imports(args, more)).toMatchObject({
      code: 75,
      stderr: expect.stringMatching(/may have been created.*nothing is imported twice/),
    });
    expect(await importsOf(dataset)).toHaveLength(1);
    proxy.hold = () => 'pass';
    expect(await imports(args, more)).toMatchObject({ code: 0 });
    expect(proxy.seen.filter((what) => what === 'PUT object')).toHaveLength(2);
    expect(await importsOf(dataset)).toHaveLength(1);
    expect(await values(dataset)).toEqual(upTo(20));
  });

  test('one that the server refuses leaves the key free', async ({ dataset }) => {
    const args = [`${dataset}.m`, file('free.ndjson', lines(0, 3)), '--key', 'free'];
    const refused = await imports(['create', ...args, '--field', 'timestamp:string', '-q']);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('timestamp') });
    await created(args);
    expect(await values(dataset)).toEqual(upTo(3));
  });
});

describe('an upload', () => {
  const big = () => file('big.ndjson', lines(0, 40_000));

  test('that breaks off begins again, and is shown where a person looks', async ({ dataset }) => {
    const proxy = await startProxy();
    let broken = 0;
    proxy.hold = (what) => {
      if (what !== 'PUT object' || broken === 2) return 'pass';
      broken += 1;
      return 'gone';
    };
    const done = await imports(['create', `${dataset}.m`, big(), '--wait'], { TIMESTORE_URL: proxy.url });
    expect(done).toMatchObject({ code: 0, stdout: expect.stringMatching(/state +done/) });
    expect(proxy.seen.filter((what) => what === 'PUT object')).toHaveLength(3);
    // Each try has an address of its own.
    expect(proxy.seen.filter((what) => what.endsWith('/uploads'))).toHaveLength(3);
    const sql = await client().sql<{ n: number }>('SELECT count() AS n, sum(v) AS s FROM m', { dataset });
    expect(sql.rows).toEqual([{ n: 40_000, s: (40_000 * 39_999) / 2 }]);
  });

  test('is ended by Ctrl-C, and nothing was imported', async ({ dataset }) => {
    const proxy = await startProxy();
    proxy.hold = (what) => (what === 'PUT object' ? 'slow' : 'pass');
    const args = ['imports', 'create', `${dataset}.m`, big(), '--key', 'c', '--wait'];
    const going = cli.start(args, { ...env(), TIMESTORE_URL: proxy.url });
    await expect.poll(() => proxy.seen).toContain('PUT object');
    going.kill('SIGINT');
    const ended = await going.ended;
    expect(ended).toMatchObject({ code: 130, stdout: '' });
    expect(ended.stderr).toMatch(/^Interrupted\.\nNothing was imported\. The same command continues/m);
    expect(await importsOf(dataset)).toEqual([]);
  });

  test('that the bucket refuses is not tried again', async () => {
    const server = createServer((request, response) => {
      request.resume();
      const { url } = request;
      if (url?.endsWith('/uploads')) {
        const { port } = server.address() as AddressInfo;
        response.end(JSON.stringify({ key: 'uploads/k', url: `http://127.0.0.1:${port}/put`, expiresAt: '' }));
      } else {
        response.writeHead(403).end('no');
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    stops.push(() => server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const refused = await imports(['create', 'd.m', file('x.ndjson', lines(0, 3)), '-q'], { TIMESTORE_URL: url });
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/answered 403 for x\.ndjson\.\nNothing was imported/),
    });
  });
});

describe('what is wrong is said', () => {
  test('invalid rows by their file and position, all of them on request', async ({ dataset }) => {
    const bad = upTo(15).map((v) => `${v === 3 ? 'yesterday' : at(v)},${v > 3 ? `x${v}` : v}\n`);
    const path = file('bad.csv', `timestamp,v\n${bad.join('')}`);
    const args = ['create', `${dataset}.m`, path, '--field', 'v:double', '--wait', '-q'];
    const refused = await imports(args);
    expect(refused).toMatchObject({ code: 1, stdout: expect.stringMatching(/wrongRows +12/) });
    expect(refused.stderr).toMatch(/^12 rows cannot be stored; nothing was imported.*\n {2}bad\.csv, row 3: timestamp/);
    expect(refused.stderr.split('\n').filter((line) => line.includes('bad.csv'))).toHaveLength(10);
    const [{ id = '' } = {}] = await importsOf(dataset);
    expect(refused.stderr).toContain(`timestore imports show ${id}`);
    const shown = await imports(['show', id]);
    expect(shown.code).toBe(1);
    expect(shown.stdout).toMatch(/│ +14 │ v +│ \S+ +│ x14 +│/);
    const asJson = await imports([...args, '--json']);
    expect(asJson.code).toBe(1);
    expect((JSON.parse(asJson.stdout) as { errors: object[] }).errors).toHaveLength(12);
  });

  test('files that are not there, are folders, pipes, of two formats, or of none', async () => {
    const parquet = file('x.parquet', 'PAR1 and nothing more PAR1');
    const cases: [string[], number, RegExp][] = [
      [[join(cli.home, 'nowhere.csv')], 1, /nowhere\.csv: no such file/],
      [[cli.home], 2, /is a folder/],
      [['-'], 2, /Standard input is not a file.*timestore ingest/],
      [[], 2, /Nothing to import/],
      [[file('a.csv', 'timestamp,v\n'), parquet], 2, /a\.csv is csv, x\.parquet is parquet/],
      [[file('x.txt', 'hello\n')], 2, /use --format/],
      [[file('x.duckdb', 'hello\n'), '--sql', 'SELECT 1', '--from-table', 't'], 2, /exclude each other/],
      [[file('m.ndjson', lines(0, 1)), '--field', 'v'], 2, /expected NAME:TYPE/],
    ];
    for (const [args, code, message] of cases) {
      const ended = await imports(['create', 'demo.m', ...args]);
      expect(ended, args.join()).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(message) });
      expect(ended.stderr).not.toContain('    at ');
    }
    const dataset = newDataset();
    const damaged = await imports(['create', `${dataset}.m`, parquet, '--wait', '-q']);
    expect(damaged).toMatchObject({ code: 1, stderr: expect.stringMatching(/cannot be read as parquet.*jobs retry/) });
    expect(await imports(['show', 'none'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Import none not found'),
    });
  });
});

describe('a DuckDB file', () => {
  /** One with what `statements` make of it, closed again. */
  async function database(name: string, ...statements: string[]): Promise<string> {
    const path = join(cli.home, name);
    await withDatabase(path, async (connection) => {
      for (const statement of statements) await connection.run(statement);
    });
    return path;
  }

  async function withDatabase(path: string, work: (connection: DuckDBConnection) => Promise<void>): Promise<void> {
    const instance = await DuckDBInstance.create(path, { autoinstall_known_extensions: 'false' });
    const connection = await instance.connect();
    try {
      await work(connection);
    } finally {
      connection.closeSync();
      instance.closeSync();
    }
  }

  const temporary = join(cli.home, 'tmp');
  const left = () => readdirSync(temporary);
  mkdirSync(temporary);
  const inTemporary = { TMPDIR: temporary };

  test('goes into a new table, each value of each type as it was', async ({ dataset }) => {
    const path = await database(
      'types.duckdb',
      `CREATE TABLE readings (ts TIMESTAMP, tz TIMESTAMPTZ, day DATE, b BIGINT, u UBIGINT, h HUGEINT, d DOUBLE, f FLOAT,
         dec DECIMAL(10, 3), s VARCHAR, ok BOOLEAN, l VARCHAR[], j JSON, st STRUCT(a BIGINT, b VARCHAR), m MAP(VARCHAR, INTEGER),
         bl BIGINT[], fl DOUBLE[], v FLOAT[3], t TIME, id UUID, e ENUM('one', 'two'))`,
      `INSERT INTO readings VALUES
         ('2026-05-01 10:00:00.123', '2026-05-01 12:00:00+02', '2026-05-01', 9223372036854775807, 9223372036854775807,
          -9223372036854775808, 0.1, 0.5, 1234567.891, 'é "x"', true, ['a', ''], '{"a" :  1.0}', {'a': 9007199254740993, 'b': 'x'},
          MAP {'k': 1}, [9007199254740993, NULL], [0.1, 1e300], [1, 0.5, -1], '10:00:00', '12345678-1234-1234-1234-123456789012', 'two'),
         ('2026-05-01 10:00:01', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
          NULL, NULL, NULL, NULL),
         ('1970-01-01 00:00:00', '2105-12-31 23:59:59.999Z', '1970-01-01', -1, 0, 1, -5e-324, 1, -0.001, '', false, [], '[]',
          {'a': NULL, 'b': NULL}, MAP {}, [], [], [0, 0, 0], '00:00:00', NULL, 'one')`,
    );
    const own = ['--timestamp-column', 'ts', '--field', 'v:vector(3)', '--from-table', 'Readings'];
    await created([`${dataset}.m`, path, ...own], inTemporary);
    const { rows } = await client()
      .table(dataset, 'm')
      .query({ orderBy: [{ column: 'ts' }] });
    const nulls = Object.fromEntries(
      ['tz', 'day', 'b', 'u', 'h', 'd', 'f', 'dec', 's', 'ok', 'j', 'st', 'm', 'bl', 'fl', 't', 'id', 'e'].map(
        (name) => [name, null],
      ),
    );
    expect(rows).toEqual([
      {
        ts: '1970-01-01T00:00:00.000Z',
        tz: '2105-12-31T23:59:59.999Z',
        day: '1970-01-01T00:00:00.000Z',
        b: -1,
        u: 0,
        h: 1,
        d: -5e-324,
        f: 1,
        dec: '-0.001',
        s: '',
        ok: false,
        l: [],
        j: '[]',
        st: '{"a":null,"b":null}',
        m: '{}',
        bl: '[]',
        fl: '[]',
        v: [0, 0, 0],
        t: '00:00:00',
        id: null,
        e: 'one',
      },
      {
        ts: '2026-05-01T10:00:00.123Z',
        tz: '2026-05-01T10:00:00.000Z',
        day: '2026-05-01T00:00:00.000Z',
        b: 9223372036854775807n,
        u: 9223372036854775807n,
        h: -9223372036854775808n,
        d: 0.1,
        f: 0.5,
        dec: '1234567.891',
        s: 'é "x"',
        ok: true,
        l: ['a', ''],
        j: '{"a" :  1.0}',
        st: '{"a":9007199254740993,"b":"x"}',
        m: '{"k":1}',
        bl: '[9007199254740993,null]',
        fl: '[0.1,1e300]',
        v: [1, 0.5, -1],
        t: '10:00:00',
        id: '12345678-1234-1234-1234-123456789012',
        e: 'two',
      },
      { ts: '2026-05-01T10:00:01.000Z', ...nulls, l: [], v: [] },
    ]);
    const { schema } = JSON.parse((await cli.run(['tables', 'show', `${dataset}.m`, '--json'], env())).stdout) as {
      schema: { fields: { name: string; type: string }[] };
    };
    expect(Object.fromEntries(schema.fields.map(({ name, type }) => [name, type]))).toMatchObject({
      tz: 'timestamp',
      day: 'timestamp',
      b: 'integer',
      h: 'integer',
      dec: 'decimal(10,3)',
      l: 'string[]',
      j: 'json',
      st: 'json',
      m: 'json',
      bl: 'json',
      v: 'vector(3)',
      t: 'string',
      id: 'string',
      e: 'string',
    });
    // Into a table whose fields are others, and by a statement.
    const sql = `SELECT ts, b, j AS s FROM readings WHERE b > 0`;
    await created([`${dataset}.m`, path, '--sql', sql], inTemporary);
    const { rows: more } = await client()
      .table(dataset, 'm')
      .query({ filters: { columns: [{ column: 's', op: 'startsWith', value: '{' }] } });
    expect(more).toMatchObject([{ s: '{"a" :  1.0}', b: 9223372036854775807n, j: null }]);
    expect(left()).toEqual([]);
  });

  test('with numbers beyond 64 bits is refused, unless they go as text', async ({ dataset }) => {
    const huge = '170141183460469231731687303715884105727';
    const path = await database(
      'huge.db',
      `CREATE TABLE t AS SELECT TIMESTAMP '2026-05-01' AS timestamp, ${huge}::HUGEINT AS h, 1 AS v`,
    );
    expect(await imports(['create', `${dataset}.m`, path, '--from-table', 't'], inTemporary)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(`Column h of huge.db is HUGEINT, and ${huge} does not fit.*--field h:string`),
    });
    await created([`${dataset}.m`, path, '--from-table', 'main.t', '--field', 'h:string'], inTemporary);
    const { rows } = await client().table(dataset, 'm').query();
    expect(rows).toEqual([{ timestamp: '2026-05-01T00:00:00.000Z', h: huge, v: 1 }]);
    await created([`${dataset}.other`, path, '--from-table', 't', '--columns', 'timestamp,v'], inTemporary);
    expect(left()).toEqual([]);
  });

  test('that is none, is open elsewhere, or has no such table', async () => {
    const path = await database(
      'some.ddb',
      'CREATE TABLE one (v INT)',
      'CREATE VIEW two AS FROM one',
      'CREATE SCHEMA s',
      'CREATE TABLE s."o.dd" (v INT)',
    );
    const cases: [string[], number, RegExp][] = [
      [[path], 2, /No table of some\.ddb is selected.*It has one, two, s\.o\.dd\./],
      [[path, '--from-table', 'three'], 2, /Table three not found in some\.ddb\. It has one, two/],
      [[path, '--from-table', 'one', '--columns', 'w'], 2, /some\.ddb has no column w\. It has v\./],
      [[path, '--sql', 'SELECT nope FROM one'], 1, /some\.ddb: Binder Error: .*nope/],
      [[path, '--sql', 'SELECT 1; DROP TABLE one'], 1, /some\.ddb: Parser Error/],
      [
        [file('none.duckdb', 'hello '.repeat(100)), '--from-table', 'one'],
        1,
        /none\.duckdb is not a DuckDB database\./,
      ],
      [[file('none.csv', 'v\n1\n'), '--duckdb', '--from-table', 'one'], 1, /none\.csv is not a DuckDB database\./],
    ];
    for (const [args, code, message] of cases) {
      const ended = await imports(['create', `${newDataset()}.m`, ...args], inTemporary);
      expect(ended, args.join()).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(message) });
      expect(ended.stderr).not.toContain('    at ');
    }
    await withDatabase(path, async () => {
      const locked = await imports(['create', 'demo.m', path, '--from-table', 'one'], inTemporary);
      expect(locked).toMatchObject({
        code: 75,
        stderr: expect.stringMatching(`open in another program \\(PID ${process.pid}\\)`),
      });
    });
    expect(left()).toEqual([]);
  });

  test('leaves nothing behind when it is ended, and its key is of what is read of it', async ({ dataset }) => {
    const path = await database(
      'long.duckdb',
      `CREATE TABLE t AS SELECT TIMESTAMP '2026-05-01' + INTERVAL (i) SECOND AS timestamp, i AS v FROM range(20) r(i)`,
    );
    const endless = 'SELECT a.range AS v FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 9';
    const args = ['imports', 'create', `${dataset}.m`, path, '--sql', endless];
    const going = cli.start(args, { ...env(), ...inTemporary });
    await expect.poll(() => globSync(join(temporary, '*', '*'))).not.toEqual([]);
    going.kill('SIGINT');
    expect(await going.ended).toMatchObject({ code: 130, stderr: expect.stringContaining('Interrupted.') });
    expect(left()).toEqual([]);
    const keyed = [`${dataset}.m`, path, '--key', 'long', '--from-table', 't'];
    const [first, again] = [await created(keyed, inTemporary), await created(keyed, inTemporary)];
    expect(again.id).toBe(first.id);
    expect(await values(dataset)).toEqual(upTo(20));
    expect(left()).toEqual([]);
  });

  test('needs DuckDB, which is looked for in several places, or is said to be missing', () => {
    const root = join(cli.home, 'lib', 'node_modules');
    const folder = join(root, 'timestore', 'cli');
    const [elsewhere, broken] = [join(cli.home, 'elsewhere'), join(cli.home, 'broken')];
    for (const each of [folder, elsewhere, join(broken, 'node_modules', '@duckdb', 'node-api')]) {
      mkdirSync(each, { recursive: true });
    }
    expect(() => loadDuckDb([elsewhere, cli.home])).toThrow('npm install --global @duckdb/node-api');
    // Beside the command, as a global installation has it.
    symlinkSync(join(import.meta.dirname, '..', '..', 'node_modules', '@duckdb'), join(root, '@duckdb'));
    expect(loadDuckDb([elsewhere, folder])).toHaveProperty('DuckDBInstance');
    const text = 'throw new Error("no binding for this machine");';
    writeFileSync(join(broken, 'node_modules', '@duckdb', 'node-api', 'index.js'), text);
    expect(() => loadDuckDb([broken])).toThrow(/index\.js cannot be loaded: no binding/);
  });
});
