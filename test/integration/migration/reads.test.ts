import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { changeDataset } from '../../../src/catalog/datasets.ts';
import { applyReadMode, type Reads, readMode } from '../../../src/catalog/read-routing.ts';
import { StoreError } from '../../../src/core/errors.ts';
import { recordDifference } from '../../../src/operations/takeover/differences.ts';
import { shadowRead } from '../../../src/operations/takeover/shadow-reads.ts';
import { queryTable } from '../../../src/query/execution/query-table.ts';
import { type CountingProxy, startCountingProxy } from '../../bench/counting-proxy.ts';
import { builtWorker } from '../../built-worker.ts';
import { startMiniflare } from '../http/miniflare.ts';
import { at, everyone, newDataset, newInstance, send } from '../support.ts';
import { type Asked, knowing, useOrigin } from './origin.ts';

const origin = useOrigin();
const prefix = { TIMESTORE_KEY_PREFIX: `reads-${process.pid}` };
let miniflare: ReturnType<typeof startMiniflare>;
let base: URL;
/** What requests of the Worker to ClickHouse wait for. */
let held = Promise.resolve();
let clickhouse: CountingProxy;
beforeAll(async () => {
  clickhouse = await startCountingProxy(inject('env').CLICKHOUSE_URL ?? '', () => held);
  const limits = { TIMESTORE_ORIGIN_TIMEOUT_MS: '1500', TIMESTORE_COMPARED_BYTES_MAX: '20000' };
  const bindings = { ...inject('env'), ...prefix, ...knowing(origin), ...limits, CLICKHOUSE_URL: clickhouse.url };
  miniflare = startMiniflare({ build: await builtWorker(), bindings });
  base = await miniflare.ready;
});
afterAll(async () => {
  await miniflare?.dispose();
  await clickhouse?.stop();
});

let ctx: ReturnType<typeof newInstance>;
beforeEach(() => {
  ctx = newInstance({ ...prefix, ...knowing(origin) });
  origin.answer = (_, response) => json(response, { rows: [] });
});

const json = (response: ServerResponse, body: object, status = 200) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

async function call(path: string, body?: unknown, { key = 'local-admin', method = 'POST', headers = {} } = {}) {
  return await fetch(new URL(path, base), {
    method: body === undefined && method === 'POST' ? 'GET' : method,
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
  });
}

const ask = (dataset: string, body: unknown = { tableName: 'm' }, more = {}) =>
  call(`/v1/datasets/${dataset}/query`, body, more);

async function reading(reads: Reads, rows: object[] = []): Promise<string> {
  const dataset = newDataset();
  await call('/v1/admin/datasets', { name: dataset });
  if (rows.length > 0) await send(ctx, dataset, rows);
  const changed = await call(
    `/v1/admin/datasets/${dataset}`,
    { migration: { reads, mirror: false } },
    { method: 'PATCH' },
  );
  expect(await changed.json()).toMatchObject({ migration: { reads, mirror: false } });
  return dataset;
}

const comparisons = async (dataset: string) =>
  (
    (await (await call(`/v1/admin/datasets/${dataset}/comparisons`)).json()) as {
      comparisons: Record<string, unknown>[];
    }
  ).comparisons;

/** How answers of a dataset have compared, by the metrics. */
async function counted(dataset: string): Promise<Record<string, number>> {
  const text = await (await call('/metrics')).text();
  const found = text.matchAll(/timestore_read_compared_total\{dataset="([^"]+)",outcome="([^"]+)"\} (\d+)/g);
  return Object.fromEntries(
    [...found].filter(([, of]) => of === dataset).map(([, , outcome, n]) => [outcome, Number(n)]),
  );
}

describe('reads that the original answers', () => {
  test('go there as they came and come back as they are, also of tables that are not here', async () => {
    const dataset = await reading('off');
    origin.answer = (_, response) =>
      response
        .writeHead(418, { 'content-type': 'application/x-ndjson', 'x-timestore-cursor': 'theirs', 'x-other': '1' })
        .end('{"a":1}\n');
    const body = '{ "tableName": "elsewhere", "what nobody here knows": 1.50 }';
    for (const path of [`/v1/datasets/${dataset}/query`, `/datasets/${dataset}/query`]) {
      const answer = await call(path, body, { headers: { accept: 'application/x-ndjson' } });
      expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([
        418,
        'application/x-ndjson',
        '{"a":1}\n',
      ]);
      expect(answer.headers.get('x-timestore-answered-by')).toBe('origin');
      expect([answer.headers.get('x-timestore-cursor'), answer.headers.get('x-other')]).toEqual(['theirs', null]);
      const asked = origin.asked.at(-1) as Asked;
      expect([asked.path, asked.text, asked.headers.accept]).toEqual([
        `/datasets/${dataset}/query`,
        body,
        'application/x-ndjson',
      ]);
    }
  });

  test('are streamed', async () => {
    const dataset = await reading('off');
    let end = () => {};
    origin.answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' }).write('first\n');
      end = () => void response.end('last\n');
    };
    const answer = await ask(dataset);
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
    const text = async () => new TextDecoder().decode((await reader.read()).value);
    expect(await text()).toBe('first\n');
    end();
    expect(await text()).toBe('last\n');
    expect((await reader.read()).done).toBe(true);
  });

  test('that break off there break off here', async () => {
    const dataset = await reading('off');
    origin.answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' }).write('first\n', () => response.destroy());
    };
    const answer = await ask(dataset);
    await expect(answer.text()).rejects.toThrow();
  });

  test('report that it is unavailable, or late', async () => {
    const dataset = await reading('off');
    for (const fail of [(response: ServerResponse) => response.destroy(), () => undefined]) {
      origin.answer = (_, response) => fail(response);
      const answer = await ask(dataset);
      expect([answer.status, await answer.json()]).toMatchObject([
        503,
        { type: 'urn:timestore:unavailable', retryable: true },
      ]);
    }
    origin.answer = (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end();
    expect((await ask(dataset)).status).toBe(503);
  });

  test('ask for a key of this deployment first, and never answer one that reads some rows only', async () => {
    const dataset = await reading('off');
    const before = origin.asked.length;
    const made = async (body: object) =>
      ((await (await call('/v1/admin/keys', { name: 'k', ...body })).json()) as { key: string }).key;
    const query = [dataset];
    expect((await ask(dataset, {}, { key: 'nobody' })).status).toBe(401);
    expect((await ask(dataset, {}, { key: await made({ scopes: { ingest: query } }) })).status).toBe(403);
    expect((await ask(dataset, {}, { key: await made({ scopes: { query: [newDataset()] } }) })).status).toBe(404);
    const filtered = await made({ scopes: { query }, rowFilter: { column: 'tenant', value: 'a' } });
    for (const reads of ['off', 'compare'] as const) {
      await changeDataset(ctx, dataset, { migration: { reads, mirror: false } }, undefined);
      const answer = await ask(dataset, { tableName: 'm' }, { key: filtered });
      expect([answer.status, await answer.json()]).toMatchObject([
        403,
        { type: 'urn:timestore:forbidden', detail: expect.stringContaining('cannot apply the row filter of this key') },
      ]);
    }
    expect(origin.asked.length).toBe(before);
    expect((await ask(dataset, {}, { key: await made({ scopes: { query } }) })).status).toBe(200);
  });

  test('are answered here again when they are switched on', async () => {
    const dataset = await reading('off', [{ timestamp: at(1), v: 1 }]);
    expect(await (await ask(dataset)).json()).toEqual({ rows: [] });
    await call(`/v1/admin/datasets/${dataset}`, { migration: null }, { method: 'PATCH' });
    const answer = await ask(dataset);
    expect([answer.headers.get('x-timestore-answered-by'), await answer.json()]).toMatchObject([
      null,
      { rows: [{ timestamp: at(1), v: 1 }] },
    ]);
    expect(await (await call(`/v1/admin/datasets/${dataset}`)).json()).toMatchObject({ migration: null });
  });
});

describe('reads that are compared', () => {
  const rows = [1, 2, 3].map((v) => ({ timestamp: at(v), v, s: `s${v}` }));

  test('are answered by the original without waiting, and equal ones are counted', async () => {
    const dataset = await reading('compare', rows);
    const theirs = rows.map(({ timestamp, ...rest }) => ({
      ...rest,
      timestamp: timestamp.replace('T', ' ').replace('Z', ''),
    }));
    origin.answer = (_, response) => json(response, { rows: theirs.reverse() });
    const hold = Promise.withResolvers<void>();
    held = hold.promise;
    clickhouse.take();
    expect(await (await ask(dataset)).json()).toEqual({ rows: theirs });
    await expect.poll(() => clickhouse.take().requests).toBeGreaterThan(0);
    hold.resolve();
    await expect.poll(() => counted(dataset)).toEqual({ equal: 1 });
    expect(await comparisons(dataset)).toEqual([]);
  });

  test('that differ are recorded, with the rows of each side', async () => {
    const dataset = await reading('compare', rows);
    const [first, ...others] = rows;
    origin.answer = (_, response) => json(response, { rows: [{ ...first, v: 1.5 }, ...others] });
    const query = { tableName: 'm', orderBy: [{ column: 'v' }] };
    await ask(dataset, query);
    await expect.poll(() => counted(dataset)).toEqual({ different: 1 });
    expect(await comparisons(dataset)).toEqual([
      {
        at: expect.any(String),
        table: 'm',
        requestId: expect.any(String),
        query: JSON.stringify(query),
        reason: 'rows',
        fields: ['v'],
        counts: { origin: 3, here: 3, originOnly: 1, hereOnly: 1 },
        originOnly: [expect.objectContaining({ v: 1.5 })],
        hereOnly: [expect.objectContaining({ v: 1 })],
      },
    ]);
    origin.answer = (_, response) => json(response, { rows: [...others, first] });
    await ask(dataset, query);
    await expect.poll(() => counted(dataset)).toEqual({ different: 2 });
    expect((await comparisons(dataset))[0]).toMatchObject({ reason: 'order', fields: ['v'] });
    await ask(dataset, { tableName: 'elsewhere' });
    await expect.poll(() => counted(dataset)).toEqual({ different: 3 });
    expect((await comparisons(dataset))[0]).toMatchObject({ reason: 'refused', table: 'elsewhere' });
  });

  test('are compared in the form of the route that was asked', async () => {
    const dataset = await reading('compare', rows);
    const query = {
      tableName: 'm',
      timeRange: { start: '2026-05-01', end: '2026-05-02' },
      downsample: { intervalUnit: 'day', aggregations: [{ fn: 'count', alias: 'n' }] },
    };
    origin.answer = (_, response) => json(response, { rows: [{ timestamp: '2026-05-01 00:00:00.000', n: '3' }] });
    await call(`/datasets/${dataset}/query`, query);
    await expect.poll(() => counted(dataset)).toEqual({ equal: 1 });
    await call(`/v1/datasets/${dataset}/query`, query);
    await expect.poll(() => counted(dataset)).toEqual({ equal: 1, different: 1 });
    expect((await comparisons(dataset))[0]).toMatchObject({ reason: 'refused', table: '' });
  });

  test('that are too long, or no JSON, or refused there, are counted and not compared', async () => {
    const dataset = await reading('compare', rows);
    origin.answer = (_, response) => json(response, { rows: [{ s: 'x'.repeat(30_000) }] });
    expect((await (await ask(dataset)).text()).length).toBeGreaterThan(30_000);
    await expect.poll(() => counted(dataset)).toEqual({ 'too-large': 1 });
    origin.answer = (_, response) => response.writeHead(200, { 'content-type': 'text/csv' }).end('v\n1\n');
    await ask(dataset);
    origin.answer = (_, response) => json(response, { title: 'no' }, 400);
    expect((await ask(dataset)).status).toBe(400);
    await expect.poll(() => counted(dataset)).toEqual({ 'too-large': 1, 'not-comparable': 2 });
    origin.answer = (_, response) => response.destroy();
    expect((await ask(dataset)).status).toBe(503);
  });

  test('are logged with tables, counts and fields, and without values', async () => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 123456 }]);
    const text = Promise.resolve(JSON.stringify({ rows: [{ timestamp: at(1), v: 654321 }] }));
    const there = { status: 200, type: 'application/json', text };
    await shadowRead(ctx, dataset, '{"tableName":"m"}', there, (body) =>
      queryTable(ctx, everyone, dataset, body, { format: 'json', signal: new AbortController().signal }),
    );
    const [event] = ctx.events.filter((each) => each.event === 'read-compared');
    expect(event).toEqual({
      event: 'read-compared',
      dataset,
      table: 'm',
      outcome: 'different',
      reason: 'rows',
      fields: ['v'],
      counts: { origin: 1, here: 1, originOnly: 1, hereOnly: 1 },
    });
  });

  test('are recorded up to a limit, the newest ones, by pages', async () => {
    const dataset = await reading('compare');
    const counts = { origin: 1, here: 0, originOnly: 1, hereOnly: 0 };
    for (let n = 0; n < 103; n += 1) {
      const found = { table: `t${n}`, query: '{}', reason: 'rows' as const, fields: [], counts };
      const originOnly = Array.from({ length: 12 }, () => ({ n: 2n ** 60n }));
      await recordDifference(ctx, dataset, { ...found, originOnly, hereOnly: [] });
    }
    const page = async (rest: string) =>
      (await (await call(`/v1/admin/datasets/${dataset}/comparisons${rest}`)).json()) as {
        comparisons: { table: string; originOnly: object[] }[];
        next: string | null;
      };
    const first = await page('?limit=60');
    const rest = await page(`?limit=60&cursor=${first.next}`);
    const all = [...first.comparisons, ...rest.comparisons];
    expect(all.map(({ table }) => table)).toEqual(Array.from({ length: 100 }, (_, n) => `t${102 - n}`));
    expect([rest.next, all[0]?.originOnly]).toEqual([
      null,
      Array.from({ length: 10 }, () => ({ n: String(2n ** 60n) })),
    ]);
  });
});

describe('who answers', () => {
  test('is known without Postgres, by instances that have not seen the dataset too', async () => {
    const dataset = await reading('off');
    const away = () => Promise.reject(new StoreError('postgres', 'did not answer', undefined));
    const other = { ...newInstance({ ...prefix, ...knowing(origin) }), postgres: { rows: away, transaction: away } };
    expect(await readMode(other, dataset)).toBe('off');
    // What an instance has seen it goes by for a while.
    await changeDataset(ctx, dataset, { migration: null }, undefined);
    expect(await readMode(other, dataset)).toBe('off');
    expect(await readMode({ ...other, now: () => Date.now() + 11_000 }, dataset)).toBe('on');
    expect(await readMode(newInstance(prefix), dataset)).toBe('on');
  });

  test('is looked up in Postgres when the hot buffer has lost it, and nothing older comes back', async () => {
    const dataset = await reading('off');
    await ctx.redis.hdel(ctx.keys.reads, dataset);
    const slow = newInstance({ ...prefix, ...knowing(origin) });
    const { rows } = slow.postgres;
    slow.postgres.rows = async <Row>(text: string, params?: unknown[]) => {
      const read = await rows<Row>(text, params);
      if (text.includes("migration->>'reads'")) {
        slow.postgres.rows = rows;
        await changeDataset(ctx, dataset, { migration: { reads: 'compare', mirror: false } }, undefined);
      }
      return read;
    };
    expect(await readMode(slow, dataset)).toBe('off');
    expect(await readMode(newInstance({ ...prefix, ...knowing(origin) }), dataset)).toBe('compare');
    await applyReadMode(ctx, dataset);
    expect(await readMode(ctx, dataset)).toBe('compare');
  });

  test('neither side, once the dataset is being deleted', async () => {
    const dataset = await reading('off');
    await call(`/v1/admin/datasets/${dataset}`, undefined, { method: 'DELETE' });
    expect((await ask(dataset)).status).toBe(404);
  });
});
