import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { at, flush, newDataset, newInstance, tableOf } from '../support.ts';
import { useWorker } from './worker.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `answers-${process.pid}` };
const call = useWorker(prefix);
const strict = useWorker({
  ...prefix,
  TIMESTORE_QUERIES_PER_KEY_MAX: '1',
  TIMESTORE_QUERY_TIMEOUT_MS: '1000',
  TIMESTORE_EXPORT_TIMEOUT_MS: '1000',
  TIMESTORE_QUERY_MEMORY_BYTES_MAX: '30000000',
  TIMESTORE_QUERY_ROWS_MAX: '10',
  TIMESTORE_TAIL_ROWS_MAX: '1',
});
const ctx = newInstance(prefix);

async function newRows(): Promise<string> {
  const dataset = newDataset();
  const rows = [1, 2, 3].map((n) => ({ timestamp: at(n), n, s: `ü,"${n}"` }));
  await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: rows });
  return dataset;
}

/** What runs in ClickHouse with this text in it. */
async function running(marker: string): Promise<number> {
  const [found] = await ctx.clickhouse.rows<{ n: string }>(
    "SELECT count() AS n FROM system.processes WHERE user = 'timestore_reader' AND position(query, {marker:String}) > 0",
    { marker },
  );
  return Number(found?.n);
}

describe('the same rows in every format', () => {
  test.each<[string, string, string]>([
    ['json', 'application/json', 'application/json'],
    ['ndjson', 'application/x-ndjson', 'application/x-ndjson'],
    ['csv', 'text/csv', 'text/csv; charset=utf-8; header=present'],
    ['parquet', 'application/vnd.apache.parquet', 'application/vnd.apache.parquet'],
    ['arrow', 'application/vnd.apache.arrow.stream', 'application/vnd.apache.arrow.stream'],
  ])('%s, by its name and by Accept', async (format, accept, type) => {
    const dataset = await newRows();
    const body = { tableName: 'm', columns: ['timestamp', 'n', 's'], limit: 2 };
    const ask = [
      () => call(`/v1/datasets/${dataset}/query`, { json: { ...body, format } }),
      () => call(`/v1/datasets/${dataset}/query`, { json: body, headers: { accept: `text/html, ${accept};q=0.9` } }),
      () =>
        call('/v1/sql', { json: { sql: 'SELECT timestamp, n, s FROM m ORDER BY timestamp LIMIT 2', dataset, format } }),
    ];
    for (const each of ask) {
      const answer = await each();
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe(type);
      expect(answer.headers.get('x-timestore-freshness-mode')).toBe('replica+hot-buffer');
      expect(answer.headers.get('x-timestore-watermark')).toMatch(/^wm1\./);
      const bytes = Buffer.from(await answer.arrayBuffer());
      if (format === 'ndjson') {
        expect(bytes.toString()).toBe(
          [1, 2].map((n) => `{"timestamp":"${at(n)}","n":${n},"s":"ü,\\"${n}\\""}\n`).join(''),
        );
      } else if (format === 'csv') {
        expect(bytes.toString()).toBe(
          `"timestamp","n","s"\n${[1, 2].map((n) => `"${at(n)}",${n},"ü,""${n}"""\n`).join('')}`,
        );
      } else if (format === 'parquet') {
        expect([bytes.subarray(0, 4).toString(), bytes.subarray(-4).toString()]).toEqual(['PAR1', 'PAR1']);
      } else if (format === 'json') {
        expect(JSON.parse(bytes.toString()).rows).toEqual([1, 2].map((n) => ({ timestamp: at(n), n, s: `ü,"${n}"` })));
      } else {
        expect(bytes.length).toBeGreaterThan(200);
      }
      if (format === 'json') continue;
      expect(JSON.parse(answer.headers.get('x-timestore-statistics') ?? '')).toEqual({ tailRows: 3 });
      expect(JSON.parse(answer.headers.get('x-timestore-streaming') ?? '')).toMatchObject({ fresh: true });
    }
    const first = await (ask[0] as () => Promise<Response>)();
    const cursor =
      format === 'json' ? ((await first.json()) as { cursor: string }).cursor : first.headers.get('x-timestore-cursor');
    const next = await call(`/v1/datasets/${dataset}/query`, { json: { ...body, cursor } });
    expect(await next.json()).toMatchObject({ rows: [{ n: 3 }], cursor: null });
  });

  test('warnings of an answer that has no room for them are in a header', async () => {
    const dataset = await newRows();
    const answer = await call(`/v1/datasets/${dataset}/query`, {
      json: { tableName: 'm', consistency: 'eventual', format: 'csv' },
    });
    expect(JSON.parse(answer.headers.get('x-timestore-warnings') ?? '')).toEqual([expect.stringContaining('eventual')]);
    expect(answer.headers.get('x-timestore-watermark')).toBeNull();
  });
});

/** An answer that was collected instead of streamed would be larger than the growth that is allowed. */
describe('an answer of millions of rows', () => {
  const rows = Number(process.env.ANSWER_ROWS ?? 2_500_000);

  /** A table with rows that were all flushed, and one that is not. */
  async function newLarge(): Promise<string> {
    const dataset = await newRows();
    const table = await tableOf(ctx, dataset);
    await flush(ctx, dataset);
    await ctx.clickhouse.send({
      settings: { max_partitions_per_insert_block: 0 },
      body: `INSERT INTO ${qualifiedName(table)} (_lane, _seq, _row, timestamp, n, s)
        SELECT 0, 1, number + 3, toDateTime64('2026-05-01 11:00:00', 3, 'UTC') + number / 1000, number, hex(sipHash64(number))
          FROM numbers(${rows - 4})`,
      timeout_ms: 60_000,
    });
    await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: [{ timestamp: at(9), n: -9, s: 'last' }] });
    return dataset;
  }

  /** Memory of the runtimes of this process's Workers, in MiB. */
  function runtime_mib(): number {
    const pages = readdirSync('/proc')
      .filter((name) => /^[0-9]+$/.test(name))
      .flatMap((pid) => {
        try {
          const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
          const [, command = '', rest = ''] = /\((.*)\) (.*)/.exec(stat) ?? [];
          const isOwn = Number(rest.split(' ')[1]) === process.pid && command.startsWith('workerd');
          return isOwn ? [Number(/VmRSS:\s+([0-9]+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])] : [];
        } catch {
          return [];
        }
      });
    return pages.reduce((sum, kib) => sum + kib, 0) / 1024;
  }

  test.each(['ndjson', 'csv', 'parquet'])('as %s goes through the Worker and does not make it grow', async (format) => {
    const dataset = await newLarge();
    const json =
      format === 'csv' ? { sql: 'SELECT * FROM m', dataset, format } : { tableName: 'm', limit: null, format };
    const path = format === 'csv' ? '/v1/sql' : `/v1/datasets/${dataset}/query`;
    await (
      await call(path, { json: { ...json, consistency: 'eventual', ...(format !== 'csv' && { limit: 10 }) } })
    ).arrayBuffer();
    const before = runtime_mib();
    expect(before).toBeGreaterThan(20);
    let most = before;
    let lines = 0;
    let bytes = 0;
    let last: Buffer = Buffer.alloc(0);
    const from = performance.now();
    const answer = await call(path, { json });
    expect(answer.status).toBe(200);
    for await (const chunk of answer.body ?? []) {
      const part = Buffer.from(chunk);
      if (bytes % 20 < 2) most = Math.max(most, runtime_mib());
      bytes += part.length;
      for (let at = part.indexOf(10); at >= 0; at = part.indexOf(10, at + 1)) lines += 1;
      last = part;
    }
    most = Math.max(most, runtime_mib());
    const took_s = (performance.now() - from) / 1000;
    console.log(
      `${format}: ${Math.round(bytes / 2 ** 20)} MiB in ${took_s.toFixed(1)} s, runtime ${Math.round(before)} to ${Math.round(most)} MiB`,
    );
    if (format === 'parquet') expect(last.subarray(-4).toString()).toBe('PAR1');
    else expect(lines).toBe(rows + (format === 'csv' ? 1 : 0));
    expect(most - before).toBeLessThan(96);
  });
});

describe('what goes wrong on the way', () => {
  test.each(['ndjson', 'csv', 'arrow'])(
    'a stream of %s that fails breaks off, and tells nothing of the inside',
    async (format) => {
      const dataset = await newRows();
      const sql =
        'SELECT intDiv(1, toInt64(3000000) - toInt64(number)) AS n, hex(sipHash64(number)) AS h FROM numbers(4000000)';
      const answer = await call('/v1/sql', { json: { sql, dataset, format } });
      expect(answer.status).toBe(200);
      const parts: Buffer[] = [];
      const reading = (async () => {
        for await (const chunk of answer.body ?? []) parts.push(Buffer.from(chunk));
      })();
      await expect(reading).rejects.toThrow();
      const tail = Buffer.concat(parts).subarray(-10_000).toString('latin1');
      expect(tail).not.toMatch(/__exception__|Exception|Code: /);
    },
  );

  test('a long JSON answer that fails breaks off too', async () => {
    const text = 'arrayStringConcat(arrayMap(x -> hex(sipHash64(x + number)), range(60)))';
    const sql = `SELECT ${text} AS h, intDiv(1, toInt64(399999) - toInt64(number)) AS n FROM numbers(400000)`;
    const answer = await call('/v1/sql', { json: { sql } });
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow();
  });

  test('one that fails early has its status', async () => {
    const answer = await call('/v1/sql', {
      json: { sql: 'SELECT intDiv(1, number - 5) FROM numbers(10)', format: 'ndjson' },
    });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ detail: 'Division by zero (ILLEGAL_DIVISION).' });
  });

  test('a client that disconnects in the middle of the rows cancels its query', async () => {
    const marker = `gone-${newDataset()}`;
    const gone = new AbortController();
    const sql = `SELECT number, '${marker}' AS m FROM numbers(1000000000000)`;
    const answer = await call('/v1/sql', { json: { sql, format: 'ndjson' }, signal: gone.signal });
    await answer.body?.getReader().read();
    expect(await running(marker)).toBe(1);
    gone.abort();
    await expect.poll(() => running(marker)).toBe(0);
  });

  test('a client that disconnects before the first row cancels its query', async () => {
    const marker = `gone-${newDataset()}`;
    const sql = `SELECT sum(sipHash64(number)) AS s, '${marker}' AS m FROM numbers(1000000000000)`;
    // A connection that is reset: of one that is only closed, a runtime that has nothing to send learns nothing.
    const { port } = new URL((await call('/health')).url);
    const socket = connect(Number(port), '127.0.0.1').on('error', () => undefined);
    const body = JSON.stringify({ sql });
    socket.write(
      `POST /v1/sql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer local-admin\r\ncontent-type: application/json\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    await expect.poll(() => running(marker)).toBe(1);
    socket.resetAndDestroy();
    await expect.poll(() => running(marker)).toBe(0);
  });

  test('a key has so many queries at once, and its place back when one ends', async () => {
    const marker = `slot-${newDataset()}`;
    const gone = new AbortController();
    const sql = `SELECT sum(sipHash64(number)) AS s, '${marker}' AS m FROM numbers(1000000000000)`;
    const first = strict('/v1/sql', { json: { sql }, signal: gone.signal }).catch(() => undefined);
    await expect.poll(() => running(marker)).toBe(1);
    const second = await strict('/v1/sql', { json: { sql: 'SELECT 1' } });
    expect(second.status).toBe(429);
    expect(second.headers.get('retry-after')).toBe('1');
    expect(await second.json()).toMatchObject({ type: 'urn:timestore:too-many-queries', retryable: true });
    gone.abort();
    await first;
    await expect.poll(async () => (await strict('/v1/sql', { json: { sql: 'SELECT 1' } })).status).toBe(200);
  });

  test.each<[string, object, string]>([
    ['time', { sql: 'SELECT sum(sipHash64(number)) FROM numbers(1000000000000)' }, 'query_timeout_ms'],
    [
      'time of an export',
      { sql: 'SELECT sum(sipHash64(number)) FROM numbers(1000000000000)', format: 'csv' },
      'export_timeout_ms',
    ],
    ['memory', { sql: 'SELECT length(groupArray(number)) FROM numbers(100000000)' }, 'query_memory_bytes_max'],
    ['rows', { sql: 'SELECT number FROM numbers(11)' }, 'query_rows_max'],
    ['length', { sql: `SELECT ${'1,'.repeat(60_000)}1` }, 'sql_chars_max'],
  ])('a query over the limit of %s is told which', async (_, json, limit) => {
    const answer = await strict('/v1/sql', { json });
    expect(answer.status).toBe(413);
    expect(((await answer.json()) as { detail: string }).detail).toContain(limit);
  });

  test('a freshness that cannot be had is a 409 with what a client needs', async () => {
    const dataset = await newRows();
    const table = await tableOf(ctx, dataset);
    await ctx.redis.set(ctx.keys.lease(table, 0), 'another flusher');
    const json = { tableName: 'm', requireFresh: true, maxWaitMs: 50 };
    const answer = await strict(`/v1/datasets/${dataset}/query`, { json });
    expect(answer.status).toBe(409);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await answer.json()).toMatchObject({
      type: 'urn:timestore:stale-read',
      retryable: true,
      retryAfterMs: expect.any(Number),
      required: expect.stringMatching(/^wm1\./),
      current: expect.stringMatching(/^wm1\./),
      lagMs: expect.any(Number),
    });
  });
});

test('a query can be saved under a name, listed, run with other values, replaced and dropped', async () => {
  const dataset = await newRows();
  const path = `/v1/sql/saved/${dataset}/above`;
  const put = (json: object) => call(path, { json, method: 'PUT' });
  const sql = 'SELECT count() AS c FROM m WHERE n > {least:Float64}';
  const saved = await put({ sql, description: 'how many', params: { least: 1 } });
  expect([saved.status, await saved.json()]).toEqual([
    200,
    {
      dataset,
      name: 'above',
      sql,
      description: 'how many',
      params: { least: 1 },
      savedAt: expect.any(String),
      savedBy: 'admin',
    },
  ]);
  const run = async (json: object) => ((await (await call(`${path}/run`, { json })).json()) as { rows: object[] }).rows;
  expect(await run({})).toEqual([{ c: 2 }]);
  expect(await run({ params: { least: 2 }, requireFresh: true })).toEqual([{ c: 1 }]);
  expect(await (await call(`${path}/run`, { json: { format: 'csv' } })).text()).toBe('"c"\n2\n');
  const listed = (await (await call(`/v1/sql/saved?dataset=${dataset}`)).json()) as { queries: { name: string }[] };
  expect(listed.queries.map(({ name }) => name)).toEqual(['above']);
  expect((await put({ sql: 'SELECT 1 AS one' })).status).toBe(200);
  expect(await run({})).toEqual([{ one: 1 }]);
  expect((await call(path)).status).toBe(200);
  expect((await call(path, { method: 'DELETE' })).status).toBe(204);
  expect((await call(path)).status).toBe(404);
  expect((await call(`${path}/run`, { json: {} })).status).toBe(404);
  for (const [json, status] of [
    [{ sql: 'DROP TABLE m' }, 400],
    [{ sql: 'SELECT 1; SELECT 2' }, 400],
    [{}, 400],
  ] as const) {
    expect((await put(json)).status).toBe(status);
  }
  expect((await call('/v1/sql/saved/no-such-dataset/x', { json: { sql: 'SELECT 1' }, method: 'PUT' })).status).toBe(
    404,
  );
});

test('the tables that SQL can name are listed with their columns', async () => {
  const dataset = await newRows();
  const answer = await call(`/v1/sql/schema?dataset=${dataset}`);
  expect(await answer.json()).toEqual({
    next: null,
    tables: [
      {
        dataset,
        table: 'm',
        timestampColumn: 'timestamp',
        columns: [
          { name: 'timestamp', type: 'timestamp', clickhouseType: "DateTime64(9, 'UTC')" },
          { name: 'n', type: 'double', clickhouseType: 'Nullable(Float64)' },
          { name: 's', type: 'string', clickhouseType: 'Nullable(String)' },
        ],
      },
    ],
  });
});

test('a body that nests without end is refused, and nothing fails', async () => {
  for (const nested of ['{"and":[', '{"or":[']) {
    const depth = 20_000;
    const filter = `${nested.repeat(depth)}{"column":"v","op":"isNull"}${']}'.repeat(depth)}`;
    const body = `{"tableName":"m","filters":{"columns":[${filter}]}}`;
    const headers = { 'content-type': 'application/json' };
    const answer = await call('/v1/datasets/any/query', { method: 'POST', headers, body });
    expect([400, 413]).toContain(answer.status);
  }
  const answer = await call('/v1/sql', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: `{"sql":"SELECT {p:Array(UInt8)}","params":{"p":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`,
  });
  expect([400, 413]).toContain(answer.status);
});

test('the read routes need a key, and a body of the documented form', async () => {
  for (const path of ['/v1/sql', '/sql/read', '/v1/datasets/d/query', '/v1/sql/saved/d/q/run']) {
    expect((await call(path, { json: {}, key: null })).status).toBe(401);
    expect((await call(path, { json: {}, key: 'another-key' })).status).toBe(401);
    expect((await call(path, { json: { nonsense: 1 } })).status).toBe(400);
  }
  for (const path of ['/v1/sql/schema', '/v1/sql/saved', '/v1/sql/saved/d/q']) {
    expect((await call(path, { key: null })).status).toBe(401);
  }
});

describe('a method that an address has not', () => {
  const asked = (method: string, path: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(call.url());
      const socket = connect(Number(port), hostname, () => {
        const key = 'authorization: Bearer local-admin';
        socket.write(`${method} ${path} HTTP/1.1\r\nhost: ${hostname}\r\n${key}\r\nconnection: close\r\n\r\n`);
      });
      let text = '';
      socket.setEncoding('utf8').on('data', (part) => {
        text += part;
      });
      socket.on('end', () => resolve(text)).on('error', reject);
    });

  test.each([
    ['TRACE', '/v1/sql', 'POST'],
    ['PATCH', '/v1/admin/datasets', 'GET, HEAD, POST'],
    ['TRACE', '/v1/admin/datasets/demo/tables/readings', 'DELETE, GET, HEAD, PATCH'],
    ['OPTIONS', '/v1/sql/saved/demo/warmest', 'DELETE, GET, HEAD, PUT'],
    ['PROPFIND', '/health', 'GET, HEAD'],
    ['OPTIONS', '/v1/admin/quarantine/discard', 'POST'],
    ['POST', '/openapi.json', 'GET, HEAD'],
    ['DELETE', '/metrics', 'GET, HEAD'],
  ])('%s %s is 405, and Allow says which it has', async (method, path, allowed) => {
    const answer = await asked(method, path);
    expect(answer).toMatch(/^HTTP\/1\.1 405 /);
    expect(answer).toMatch(new RegExp(`^allow: ${allowed}\r$`, 'im'));
    expect(answer).toContain('"type":"urn:timestore:method-not-allowed"');
  });

  test.each([
    ['TRACE', '/v1/nothing'],
    ['GET', '/v1/admin/datasets/demo/nothing'],
    ['GET', '/v1/sql/saved/demo/'],
  ])('%s %s is 404: there is nothing', async (method, path) => {
    expect(await asked(method, path)).toMatch(/^HTTP\/1\.1 404 /);
  });
});
