import { appendFileSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { DuckDBInstance } from '@duckdb/node-api';
import { describe, expect } from 'vitest';
import { Timestore } from '../../src/client/index.ts';
import { test } from '../integration/fixtures.ts';
import { useWorker } from '../integration/http/worker.ts';
import { at, newDataset, newInstance, tableOf } from '../integration/support.ts';
import { useCli } from './support.ts';

const call = useWorker();
const cli = useCli();
const env = () => ({ TIMESTORE_URL: call.url(), TIMESTORE_KEY: 'local-admin' });
const client = () => new Timestore({ url: call.url(), key: 'local-admin' });

const rowAt = (v: number) => JSON.stringify({ timestamp: at(v % 60), v });
const lines = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `${rowAt(from + i)}\n`).join('');

function file(name: string, content: string | Uint8Array): string {
  const path = join(cli.home, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  return path;
}

const ingest = (args: string[], input?: string | Uint8Array, more: Record<string, string> = {}) =>
  cli.run(['ingest', ...args], { ...env(), ...more }, input);

/** All values there are, and how many rows. */
async function values(dataset: string): Promise<number[]> {
  const { rows } = await client()
    .table<{ v: number }>(dataset, 'm')
    .query({ columns: ['v'], orderBy: [{ column: 'v' }] });
  return rows.map(({ v }) => v);
}

const upTo = (n: number) => Array.from({ length: n }, (_, v) => v);

/** Between the command and the server: passes requests on, and answers if it likes. */
async function startProxy() {
  const proxy = {
    answers: (_: number, __: string): boolean | 'never' => true,
    taken: 0,
    atOnce: [] as number[],
    url: '',
    stop: () => {},
  };
  let open = 0;
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    open += 1;
    proxy.atOnce.push(open);
    const n = proxy.atOnce.length;
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', async () => {
      const { method = 'GET', headers } = request;
      const body = parts.length === 0 ? {} : { body: Buffer.concat(parts) };
      const init = { method, ...body, headers: headers as Record<string, string> };
      const answer = await fetch(`${call.url()}${request.url}`, init);
      const text = await answer.text();
      proxy.taken += 1;
      open -= 1;
      const does = proxy.answers(n, method);
      if (does === 'never') return;
      if (does) response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text);
      else response.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  proxy.stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return proxy;
}

test('a column of days is the time of its rows at midnight, also under another name, and text where the field is', async ({
  dataset,
}) => {
  const path = join(cli.home, 'days.parquet');
  const duckdb = await (await DuckDBInstance.create(':memory:')).connect();
  await duckdb.run(
    `COPY (SELECT DATE '2026-05-02' AS timestamp, DATE '1960-05-01' AS day, 1 AS v) TO '${path}' (FORMAT parquet)`,
  );
  const { code, stderr } = await ingest([path, '--table', `${dataset}.m`, '--run', 'a']);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  await duckdb.run(
    `COPY (SELECT TIMESTAMP '2026-05-03 00:00:00' AS timestamp, DATE '2026-05-01' AS seen) TO '${path}' (FORMAT parquet)`,
  );
  const table = { tableName: 'other', schema: { fields: [{ name: 'seen', type: 'timestamp' }] } };
  await client().call('POST', `/v1/datasets/${dataset}/ingest`, {
    body: { ...table, rows: [{ timestamp: at(0), seen: at(0) }] },
  });
  expect((await ingest([path, '--table', `${dataset}.other`])).code).toBe(0);
  const rowsOf = async (name: string) =>
    (
      await client()
        .table(dataset, name)
        .query({ orderBy: [{ column: 'timestamp' }] })
    ).rows;
  expect(await rowsOf('m')).toEqual([{ timestamp: '2026-05-02T00:00:00.000Z', day: '1960-05-01', v: 1 }]);
  expect((await rowsOf('other'))[1]).toEqual({
    timestamp: '2026-05-03T00:00:00.000Z',
    seen: '2026-05-01T00:00:00.000Z',
  });
});

describe('files are taken', () => {
  test('as NDJSON and CSV, plain, gzip and zstd, several together, and from standard input', async ({ dataset }) => {
    const csv = `timestamp,v\n${upTo(10)
      .map((v) => `${at(v)},${v + 30}`)
      .join('\n')}`;
    const files = [
      file('a.ndjson', lines(0, 10)),
      file('b.jsonl.gz', gzipSync(lines(10, 20))),
      // What it is shows in its bytes, whatever it is called.
      file('c.data', zstdCompressSync(lines(20, 30))),
      file('d.csv', csv),
    ];
    const done = await ingest([...files, '--table', `${dataset}.m`, '--batch-rows', '4', '--json']);
    expect(done).toMatchObject({ code: 0 });
    expect(JSON.parse(done.stdout)).toMatchObject({ accepted: 40, before: 0, quarantined: 0 });
    const piped = await ingest(['-', '--table', `${dataset}.m`], lines(40, 50));
    expect(piped).toMatchObject({ code: 0, stdout: expect.stringMatching(/^10 rows accepted in /) });
    expect(await values(dataset)).toEqual(upTo(50));
  });

  test('as Parquet, with all that the API’s own Parquet has', async ({ dataset }) => {
    const table = client().table(dataset, 'm');
    const rows = upTo(50).map((v) => ({
      timestamp: at(v),
      v,
      big: 2n ** 60n + BigInt(v),
      ok: v % 2 === 0,
      none: v === 7 ? 1.5 : null,
      text: `é "${v}"\n`,
      list: v % 3 === 1 ? [] : ['a', `${v}`],
    }));
    await table.write(rows);
    const path = join(cli.home, 'all.parquet');
    const saved = await cli.run(['sql', 'SELECT * FROM m', '--dataset', dataset, '--out', path], env());
    expect(saved).toMatchObject({ code: 0, stdout: '' });
    const fields = ['big:integer', 'list:string[]'].flatMap((field) => ['--field', field]);
    await cli.run(['tables', 'create', `${dataset}.copy`, ...fields], env());
    const done = await ingest([path, '--table', `${dataset}.copy`, '--batch-rows', '20', '--json']);
    expect(done.stderr).toBe('');
    expect(JSON.parse(done.stdout)).toMatchObject({ accepted: 50 });
    const columns = ['timestamp', 'v', 'big', 'ok', 'none', 'text', 'list'];
    const [from, to] = await Promise.all(['m', 'copy'].map((name) => client().table(dataset, name).query({ columns })));
    expect(to?.rows).toEqual(from?.rows);
    expect(JSON.parse((await ingest([path, '--table', `${dataset}.copy`, '--json'])).stdout)).toMatchObject({
      accepted: 0,
      before: 50,
    });
    expect(await ingest(['-', '--table', `${dataset}.m`], readFileSync(path))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('save it to a file'),
    });
  });

  test('live: rows are there before standard input ends', async ({ dataset }) => {
    const live = cli.start(['ingest', '-', '--live', '--table', `${dataset}.m`], env());
    live.stdin.write(lines(0, 3));
    await expect.poll(() => values(dataset).catch(() => [])).toEqual(upTo(3));
    live.stdin.end(lines(3, 5));
    expect(await live.ended).toMatchObject({ code: 0, stdout: expect.stringContaining('5 rows accepted') });
    expect(await values(dataset)).toEqual(upTo(5));
  });
});

describe('each row of a file once', () => {
  test('however often it is sent, by whoever has the record or has it not', async ({ dataset }) => {
    const args = [file('once.ndjson', lines(0, 100)), '--table', `${dataset}.m`, '--batch-rows', '7', '--json'];
    const [first, again, elsewhere] = [
      await ingest(args),
      await ingest(args),
      // Another machine: the keys are derived, and the server knows them.
      await ingest([...args, '--state', join(cli.home, 'elsewhere')]),
    ];
    expect([first, again, elsewhere].map(({ stdout }) => JSON.parse(stdout) as object)).toMatchObject([
      { accepted: 100, before: 0 },
      { accepted: 0, before: 100, requests: 0 },
      { accepted: 0, before: 100, requests: 15 },
    ]);
    expect(await values(dataset)).toEqual(upTo(100));
    expect(JSON.parse((await ingest([...args, '--run', 'second'])).stdout)).toMatchObject({ accepted: 100 });
  });

  test('of one that grows its new rows, and one that has changed is refused', async ({ dataset }) => {
    const path = file('grows.ndjson', lines(0, 10).trimEnd());
    const args = [path, '--table', `${dataset}.m`, '--batch-rows', '4', '--json'];
    await ingest(args);
    appendFileSync(path, `\n${lines(10, 15)}`);
    expect(JSON.parse((await ingest(args)).stdout)).toMatchObject({ accepted: 5, before: 10 });
    expect(await values(dataset)).toEqual(upTo(15));
    const edited = lines(0, 15).replace('"v":3}', '"v":9}');
    for (const changed of [lines(1, 15), lines(0, 8), edited, edited.replace('"v":9}', '"v":90}')]) {
      writeFileSync(path, changed);
      const refused = await ingest(args);
      expect(refused).toMatchObject({ code: 1, stdout: '' });
      expect(refused.stderr).toMatch(/(differs from|is shorter than) the file that was sent under this name/);
    }
    expect(await values(dataset)).toEqual(upTo(15));
  });

  test('when a request breaks after its effect, and when the record’s last line is torn', async ({ dataset }) => {
    const proxy = await startProxy();
    // Every third answer is lost on its way.
    proxy.answers = (n) => n % 3 !== 0;
    const { url } = proxy;
    const state = join(cli.home, 'torn');
    const args = [
      file('torn.ndjson', lines(0, 60)),
      '--table',
      `${dataset}.m`,
      '--batch-rows',
      '5',
      '--state',
      state,
      '--json',
    ];
    const first = JSON.parse((await ingest(args, undefined, { TIMESTORE_URL: url })).stdout) as Record<string, number>;
    expect((first.accepted ?? 0) + (first.before ?? 0)).toBe(60);
    expect(first.before).toBeGreaterThan(0);
    const [journal = ''] = globSync(join(state, '*.ndjson'));
    const text = readFileSync(journal, 'utf8');
    writeFileSync(journal, text.slice(0, -20));
    expect(JSON.parse((await ingest(args, undefined, { TIMESTORE_URL: url })).stdout)).toMatchObject({
      accepted: 0,
      before: 60,
    });
    expect(await values(dataset)).toEqual(upTo(60));
    // The first rows say what types new fields have: until they are accepted, no others are sent.
    expect(proxy.atOnce.slice(0, 2)).toEqual([1, 1]);
    expect(Math.max(...proxy.atOnce)).toBeGreaterThan(1);
    proxy.stop();
  });

  test('also when it is killed before it hears of them, and then cut otherwise and longer', async ({ dataset }) => {
    const proxy = await startProxy();
    proxy.answers = (n) => (n < 3 ? true : 'never');
    const path = file('silent.ndjson', lines(0, 50));
    const args = ['ingest', path, '--table', `${dataset}.m`, '--json'];
    const killed = cli.start([...args, '--batch-rows', '7'], { ...env(), TIMESTORE_URL: proxy.url });
    await expect.poll(() => proxy.taken).toBeGreaterThan(4);
    killed.kill('SIGKILL');
    await killed.ended;
    appendFileSync(path, lines(50, 55));
    proxy.answers = () => true;
    const done = await cli.run([...args, '--batch-rows', '3'], { ...env(), TIMESTORE_URL: proxy.url });
    const { accepted, before } = JSON.parse(done.stdout) as { accepted: number; before: number };
    expect([accepted + before, before >= 28]).toEqual([55, true]);
    expect(await values(dataset)).toEqual(upTo(55));
    proxy.stop();
  });

  test('of a table that is another by now, only if that is meant', async ({ dataset }) => {
    const args = [file('again.ndjson', lines(0, 10)), '--table', `${dataset}.m`, '--json'];
    await ingest(args);
    await cli.run(['tables', 'delete', `${dataset}.m`, '--grace', '0s', '--yes'], env());
    await expect.poll(async () => (await ingest(args)).stderr).toContain('was deleted since');
    const run = () => ingest([...args, '--run', 'new']);
    await expect.poll(async () => (await run()).code).toBe(0);
    expect(await values(dataset)).toEqual(upTo(10));
  });

  test('and an outcome that is unknown, after a loss of keys or a day, is reported as unknown', async ({ dataset }) => {
    const state = join(cli.home, 'late');
    const args = [file('late.ndjson', lines(0, 10)), '--table', `${dataset}.m`, '--batch-rows', '5', '--state', state];
    await ingest(args);
    const [journal = ''] = globSync(join(state, '*.ndjson'));
    const entries = readFileSync(journal, 'utf8').split('\n');
    const early = Date.now() - 24 * 3_600_000;
    // As if it had been killed a day ago while its second batch was on its way.
    const sent = entries.filter((line) => !line.includes('"rows"') || line.includes('"start":0'));
    writeFileSync(journal, sent.join('\n').replaceAll(/"at":\d+/g, `"at":${early}`));
    const refused = await ingest(args);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/from line 6 on: .*more time has passed/) });
    writeFileSync(journal, sent.join('\n'));
    const ctx = newInstance({ TIMESTORE_KEY_PREFIX: `http-${process.pid}` });
    await ctx.redis.del(ctx.keys.state(await tableOf(ctx, dataset), 0));
    const lost = await ingest(args);
    expect(lost).toMatchObject({ code: 1, stderr: expect.stringMatching(/from line 6 on: .*has lost the keys/) });
  });
});

test('rows are not sent again once their key may be forgotten, however much patience there is', async ({ dataset }) => {
  const state = join(cli.home, 'patient');
  const args = [file('patient.ndjson', lines(0, 10)), '--table', `${dataset}.m`, '--batch-rows', '5', '--state', state];
  const proxy = await startProxy();
  const through = (...more: string[]) => ingest([...args, ...more], undefined, { TIMESTORE_URL: proxy.url });
  await through();
  const [journal = ''] = globSync(join(state, '*.ndjson'));
  const sent = readFileSync(journal, 'utf8')
    .split('\n')
    .filter((line) => !line.includes('"rows"') || line.includes('"start":0'));
  const asked = proxy.atOnce.length;
  proxy.answers = (_, method) => method === 'GET';
  // As if its second batch had been on its way nearly a day ago.
  const early = Date.now() - 23 * 3_600_000 + 10_000;
  writeFileSync(journal, sent.join('\n').replaceAll(/"at":\d+/g, `"at":${early}`));
  const refused = await through('--patience', '1m');
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/from line 6 on: .*more time has passed/) });
  expect(proxy.atOnce.length).toBeGreaterThan(asked + 2);
  expect(await values(dataset)).toEqual(upTo(10));
  proxy.stop();
});

describe('what is wrong is said in one message, with the right exit code', () => {
  test('invalid rows by their lines; with --on-error quarantine they are quarantined', async ({ dataset }) => {
    const path = file(
      'bad.ndjson',
      `${lines(0, 10)}\n{"timestamp":"never","v":1}\n${lines(10, 12)}{"timestamp":"${at(1)}","v":"x"}\n`,
    );
    const args = [path, '--table', `${dataset}.m`, '--batch-rows', '4'];
    const refused = await ingest(args);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(/bad\.ndjson: 1 row is invalid.*\n {2}line 12: timestamp, .*\n.*quarantine/);
    expect(refused.stderr).toContain('8 rows accepted. Repeat the command to resume');
    const done = await ingest([...args, '--on-error', 'quarantine']);
    expect(done).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^4 rows accepted, 2 quarantined, 8 accepted before/),
    });
    expect(await values(dataset)).toEqual(upTo(12));
  });

  test('a file that is not there, a folder, a wrong format, half a gzip', async () => {
    const table = ['--table', `${newDataset()}.m`];
    const cases: [string[], number, RegExp][] = [
      [[join(cli.home, 'nowhere.csv')], 1, /nowhere\.csv: no such file/],
      [[cli.home], 2, /is a folder/],
      [[file('x.bin', new Uint8Array(100))], 1, /neither NDJSON nor CSV nor Parquet/],
      [[file('x.json', '[{"v":1}]')], 1, /one JSON array.*jq/],
      [[file('x.txt', 'hello\n')], 2, /use --format/],
      [[file('x.gz', gzipSync(lines(0, 5_000)).subarray(0, 500))], 1, /cannot be decompressed.*may be incomplete/],
      [[file('x.parquet', 'PAR1 and nothing more PAR1')], 1, /not a Parquet file, or is incomplete/],
      [[file('y.ndjson', 'no json\n')], 1, /y\.ndjson, from line 1 on/],
      [['-', '-'], 2, /can be read only once/],
    ];
    for (const [files, code, message] of cases) {
      const ended = await ingest([...files, ...table]);
      expect(ended, files.join()).toMatchObject({ code, stderr: expect.stringMatching(message) });
      expect(ended.stderr).not.toContain('    at ');
    }
    expect((await ingest([file('z.ndjson', lines(0, 1))])).stderr).toContain("required option '-t, --table");
  });

  test('a wrong key, an unavailable server, one that is not Timestore, a record that cannot be written', async () => {
    const path = file('ok.ndjson', lines(0, 3));
    const args = [path, '--table', `${newDataset()}.m`, '--patience', '1ms'];
    expect(await ingest(args, undefined, { TIMESTORE_KEY: 'wrong-key' })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/key was rejected.*timestore login/),
    });
    // A port that was free a moment ago.
    const server = createServer((_, response) => response.writeHead(404).end('<h1>nothing here</h1>'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect(await ingest(args, undefined, { TIMESTORE_URL: url })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Check that the URL is that of a Timestore deployment.'),
    });
    await new Promise((resolve) => server.close(resolve));
    expect(await ingest(args, undefined, { TIMESTORE_URL: url })).toMatchObject({
      code: 75,
      stderr: expect.stringMatching(/is unreachable: .*ECONNREFUSED.*\n0 rows accepted. Repeat the command/s),
    });
    const kept = await ingest([...args, '--state', file('no-folder', '')]);
    expect(kept).toMatchObject({ code: 1, stderr: expect.stringContaining('`--state FOLDER` selects another folder') });
    expect(kept.stderr).toContain('cannot be written');
    rmSync(path);
  });

  test('an unavailable server is waited for, and Ctrl-C ends the wait', async () => {
    const state = join(cli.home, 'waiting');
    const waiting = cli.start(
      ['ingest', file('wait.ndjson', lines(0, 3)), '--table', `${newDataset()}.m`, '--state', state],
      { ...env(), TIMESTORE_URL: 'http://127.0.0.1:9' },
    );
    const record = () => globSync(join(state, '*')).map((path) => readFileSync(path, 'utf8'));
    await expect.poll(() => record().join()).toContain('"start":0');
    waiting.kill('SIGINT');
    expect(await waiting.ended).toMatchObject({ code: 130, stderr: expect.stringContaining('Interrupted.') });
  });
});

test('names of files are others in the table, whatever their format, and rows set aside have them too', async ({
  dataset,
}) => {
  const parquet = file('named.parquet', await parquetOf(`SELECT '${at(3)}' AS _time, 3 AS "_v:,"`));
  const files = [
    file('named.ndjson', `{"_time":"${at(1)}","_v:,":1}\n{"_time":"${at(1)}","_v:,":"wrong"}\n`),
    file('named.csv', `"_v:,",_time\n2,${at(2)}\n`),
    parquet,
  ];
  const rename = ['--rename', '_time:timestamp', '--rename', '_v\\:\\,:v'];
  const args = [...files, '--table', `${dataset}.m`, ...rename, '--on-error', 'quarantine'];
  expect(await ingest(args)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^3 rows accepted, 1 quarantined/),
  });
  expect(await values(dataset)).toEqual([1, 2, 3]);
  expect(await ingest(args)).toMatchObject({ code: 0, stdout: expect.stringContaining('accepted before') });
  const { rows } = await client().table(dataset, '_quarantine').query();
  expect(JSON.stringify(rows)).toContain('\\"timestamp\\"');
  for (const wrong of ['_time', ':x', 'a:x,b:x']) {
    expect((await ingest([...files, '--table', `${dataset}.m`, '--rename', wrong])).code, wrong).toBe(2);
  }
});

async function parquetOf(select: string): Promise<Uint8Array> {
  const { body } = await newInstance().clickhouse.open({
    settings: {},
    body: `${select} FORMAT Parquet`,
    timeout_ms: 10_000,
    signal: new AbortController().signal,
  });
  return new Uint8Array(await new Response(body as ReadableStream).arrayBuffer());
}
