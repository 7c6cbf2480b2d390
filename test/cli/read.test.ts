import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { beforeAll, describe, expect, test } from 'vitest';
import { Timestore } from '../../src/client/index.ts';
import { useWorker } from '../integration/http/worker.ts';
import { at, newDataset, newInstance } from '../integration/support.ts';
import { useCli } from './support.ts';

const call = useWorker();
const cli = useCli();
const ctx = newInstance();
const dataset = newDataset();
const env = () => ({ TIMESTORE_URL: call.url(), TIMESTORE_KEY: 'local-admin' });
const run = (...args: string[]) => cli.run(args, env());
const client = () => new Timestore({ url: call.url(), key: 'local-admin' });
const name = `${dataset}.m`;

beforeAll(async () => {
  const rows = Array.from({ length: 150 }, (_, v) => ({
    timestamp: at(v % 60),
    v,
    sensor: v % 2 === 0 ? 'even' : 'odd',
  }));
  await client().table(dataset, 'm').write(rows);
});

describe('query', () => {
  test('shows a table, and says when there is more', async () => {
    const { code, stdout, stderr } = await run(
      'query',
      name,
      '--where',
      'v>=10',
      '--where',
      'v < 12',
      '--columns',
      'v,sensor',
    );
    expect([code, stderr]).toEqual([0, '2 rows\n']);
    expect(stdout).toBe(
      [
        '┌────┬────────┐',
        '│  v │ sensor │',
        '├────┼────────┤',
        '│ 10 │ even   │',
        '│ 11 │ odd    │',
        '└────┴────────┘',
        '',
      ].join('\n'),
    );
    expect(await run('query', name)).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('100 rows; more rows match'),
    });
  });

  test('answers in each format, to standard output or a file, all rows of them', async () => {
    const csv = await run('query', name, '--order', '-v', '--limit', '2', '--columns', 'v', '--format', 'csv');
    expect(csv.stdout).toBe('"v"\n149\n148\n');
    const ndjson = await run('query', name, '--where', 'sensor in odd,none', '--format', 'ndjson');
    expect(ndjson.stdout.trim().split('\n')).toHaveLength(75);
    const json = await run('query', name, '--last', '1h', '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({ rows: [], mode: 'raw' });
    for (const [file, begins] of [
      ['x.parquet', 'PAR1'],
      ['x.csv', '"timestamp"'],
      ['x.json', '{'],
      ['x.jsonl', '{"timestamp"'],
    ] as const) {
      const path = join(cli.home, file);
      expect(await run('query', name, '--out', path)).toMatchObject({
        code: 0,
        stdout: '',
        stderr: expect.stringContaining(file),
      });
      expect(readFileSync(path, 'latin1').startsWith(begins), file).toBe(true);
    }
    expect(readFileSync(join(cli.home, 'x.jsonl'), 'utf8').trim().split('\n')).toHaveLength(150);
    expect(globSync(join(cli.home, '*.part'))).toEqual([]);
  });

  test('aggregates over intervals', async () => {
    const args = [
      '--from',
      '2026-05-01',
      '--every',
      '1d',
      '--agg',
      'count',
      '--agg',
      'p50:v',
      '--agg',
      'max:v',
      '--by',
      'sensor',
    ];
    const { stdout } = await run('query', name, ...args, '--format', 'ndjson');
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    ).toMatchObject([
      { sensor: 'even', count: 75, p50_v: 74, max_v: 148 },
      { sensor: 'odd', count: 75, p50_v: 75, max_v: 149 },
    ]);
  });

  test('a value that would steer the terminal is shown instead', async () => {
    const evil = newDataset();
    await client()
      .table(evil, 'm')
      .write([{ timestamp: at(1), s: '\u001b[2J\u202egone\nnext' }]);
    const { stdout } = await run('query', `${evil}.m`);
    expect(stdout).toContain('\\u001b[2J\\u202egone\\nnext');
    expect((await run('tail', `${evil}.m`, '--no-follow')).stdout).not.toContain('\u001b');
  });

  test('what is asked wrongly is said before anything is sent, or as the server has it', async () => {
    for (const [args, code, message] of [
      [['query', 'm'], 2, /is not a table name: use DATASET\.TABLE/],
      [['query', name, '--where', 'v ~ 1'], 2, /is not a condition/],
      [['query', name, '--agg', 'count'], 2, /require --every/],
      [['query', name, '--every', '7x'], 2, /is not an interval/],
      [['query', name, '--last', '1h', '--from', '2026-05-01'], 2, /exclude each other/],
      [['query', name, '--format', 'table', '--out', 'x'], 2, /For a file/],
      [['query', name, '--limit', 'many'], 2, /integer/],
      [['query', `${dataset}.none`], 1, /Table none not found/],
      [['query', name, '--where', 'nothing=1'], 1, /nothing/],
      [['sql', 'SELECT 1', '--file', 'x'], 2, /exactly one of/],
      [['sql', '--file', 'nowhere.sql'], 1, /nowhere\.sql: no such file/],
      [['sql', 'DROP TABLE m', '--dataset', dataset], 1, /only SELECT/],
      [['nonsense'], 2, /unknown command/],
    ] as const) {
      const ended = await run(...args);
      expect(ended, args.join(' ')).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(message) });
      expect(ended.stderr).not.toContain('    at ');
    }
  });
});

describe('sql', () => {
  test('takes its statement as an argument, from a file or standard input, with parameters', async () => {
    const text = 'SELECT count() AS n FROM m WHERE v >= {least:Float64} AND sensor IN {of:Array(String)}';
    const args = ['--dataset', dataset, '--param', 'least=140', '--param', 'of=["odd"]', '--format', 'csv'];
    const file = join(cli.home, 'q.sql');
    writeFileSync(file, text);
    const answers = [
      await run('sql', text, ...args),
      await run('sql', '--file', file, ...args),
      await cli.run(['sql', '-', ...args], env(), text),
    ];
    expect(answers.map(({ code, stdout }) => [code, stdout])).toEqual(Array.from({ length: 3 }, () => [0, '"n"\n5\n']));
    expect(await run('saved', 'save', `${dataset}/odd`, 'SELECT count() AS n FROM m')).toMatchObject({ code: 0 });
    expect((await run('sql', '--saved', `${dataset}/odd`, '--format', 'csv')).stdout).toBe('"n"\n150\n');
    expect((await run('saved', 'list', '--dataset', dataset)).stdout).toContain('odd');
    expect(await run('saved', 'delete', `${dataset}/odd`)).toMatchObject({ code: 0 });
  });

  test('an answer that breaks off leaves no file and says so', async () => {
    const server = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'text/csv' });
      response.write('"n"\n1\n', () => response.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const out = join(cli.home, 'broken.csv');
    writeFileSync(out, 'what was there before');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const args = ['sql', 'SELECT 1', '--out', out];
    const ended = await cli.run(args, { ...env(), TIMESTORE_URL: url });
    server.close();
    expect(ended).toMatchObject({ code: 75, stderr: expect.stringContaining('was truncated') });
    expect(readFileSync(out, 'utf8')).toBe('what was there before');
    expect(globSync(`${out}.*`)).toEqual([]);
  });

  test('Ctrl-C ends a question that is not answered', async () => {
    const asked = Promise.withResolvers<void>();
    const server = createServer(() => asked.resolve());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const asking = cli.start(['sql', 'SELECT 1'], { ...env(), TIMESTORE_URL: url });
    await asked.promise;
    asking.kill('SIGINT');
    expect(await asking.ended).toMatchObject({ code: 130, stderr: 'Interrupted.\n' });
    server.close();
  });

  test('Ctrl-C cancels the query, also behind a proxy that hides that the command has left', async () => {
    const mark = `left_${process.pid}`;
    const running = async () => {
      const counted = `SELECT count() AS n FROM system.processes WHERE query LIKE '%AS ${mark}%' AND query NOT LIKE '%processes%'`;
      return Number((await ctx.clickhouse.rows<{ n: string }>(counted))[0]?.n);
    };
    const proxy = createServer(async (request, answer) => {
      const { method = '', url = '', headers } = request;
      const body = method === 'POST' ? await buffer(request) : undefined;
      const { authorization = '', 'content-type': type = '', 'x-request-id': id = '' } = headers;
      const sent = { authorization, 'content-type': type, 'x-request-id': String(id) };
      const response = await call(url, { method, headers: sent, ...(body !== undefined && { body }) });
      answer.writeHead(response.status).end(new Uint8Array(await response.arrayBuffer()));
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const through = { ...env(), TIMESTORE_URL: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
    const endless = `SELECT count() AS ${mark} FROM numbers(1000000000) AS p, numbers(1000000000) AS q WHERE p.number % 7 = q.number`;
    const asking = cli.start(['sql', endless], through);
    await expect.poll(running).toBe(1);
    asking.kill('SIGINT');
    await expect.poll(running, { timeout: 15_000, interval: 20 }).toBe(0);
    expect(await asking.ended).toMatchObject({ code: 130, stderr: 'Interrupted.\n' });
    proxy.close();
  });

  test.skipIf(!existsSync('/dev/full'))('a full disk is one message', async () => {
    const full = await run('sql', 'SELECT * FROM m', '--dataset', dataset, '--format', 'csv', '--out', '/dev/full');
    expect(full).toMatchObject({
      code: 1,
      stderr: '/dev/full: the disk is full (ENOSPC). The partial file was deleted.\n',
    });
    mkdirSync(join(cli.home, 'folder'));
    expect(await run('sql', 'SELECT 1 FROM m', '--dataset', dataset, '--out', join(cli.home, 'folder'))).toMatchObject({
      code: 2,
    });
    expect(
      await run('sql', 'SELECT 1 FROM m', '--dataset', dataset, '--out', join(cli.home, 'none', 'x.csv')),
    ).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no such file or folder'),
    });
  });
});

describe('tail', () => {
  test('shows the newest rows, then each new one once, whatever is flushed meanwhile', async () => {
    const own = newDataset();
    const table = client().table(own, 'm');
    const row = (v: number) => ({ timestamp: at(v % 7), v });
    await table.write([row(0), row(1), row(2)]);
    const tail = cli.start(['tail', `${own}.m`, '-n', '2', '--json', '--every', '50ms'], env());
    const shown = () =>
      tail
        .output()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => (JSON.parse(line) as { v: number }).v);
    await expect.poll(shown).toEqual([1, 2]);
    for (let v = 3; v < 33; v += 3) {
      await table.write([row(v), row(v + 1), row(v + 2)]);
      if (v % 2 === 0) await call('/v1/admin/flush', { json: { dataset: own, table: 'm' } });
    }
    const expected = Array.from({ length: 32 }, (_, i) => i + 1);
    await expect.poll(() => shown().sort((a, b) => a - b)).toEqual(expected);
    tail.kill('SIGINT');
    const { code, stderr } = await tail.ended;
    expect({ code, stderr, shown: shown().length }).toEqual({ code: 0, stderr: '', shown: 32 });
  });

  test('chooses rows and columns, and ends without --follow', async () => {
    const { stdout } = await run(
      'tail',
      name,
      '-n',
      '2',
      '--where',
      'sensor=odd',
      '--columns',
      'timestamp,v',
      '--no-follow',
    );
    expect(stdout).toMatch(/^2026-05-01T10:00:59\.000Z {2}v=\d+\n2026-05-01T10:00:59\.000Z {2}v=\d+\n$/);
  });
});
