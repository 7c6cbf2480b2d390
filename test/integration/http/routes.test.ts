import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, inject } from 'vitest';
import { test } from '../fixtures.ts';
import { at, clickhouseAt, newDataset } from '../support.ts';
import { useWorker } from './worker.ts';

const call = useWorker();

const rowsPath = (dataset: string) => `/v1/datasets/${dataset}/tables/m/rows`;
const queryPath = (dataset: string) => `/v1/datasets/${dataset}/query`;

test('a row goes the whole way over HTTP: sent, read at once, flushed, read again', async ({ dataset }) => {
  const sent = await call(rowsPath(dataset), { json: { timestamp: at(1), v: 1 } });
  expect(sent.status).toBe(202);
  const accepted = (await sent.json()) as Record<string, unknown>;
  expect(accepted).toMatchObject({ accepted: 1, rejected: 0, quarantined: 0, errors: [], replayed: false });

  const before = await call(queryPath(dataset), { json: { tableName: 'm' } });
  expect(before.status).toBe(200);
  expect(before.headers.get('x-timestore-freshness-mode')).toBe('replica+hot-buffer');
  expect(Number(before.headers.get('x-timestore-replica-age-ms'))).toBeGreaterThanOrEqual(0);
  expect(before.headers.get('x-timestore-watermark')).toBe(accepted.watermark);
  expect(await before.json()).toEqual({
    rows: [{ timestamp: at(1), v: 1 }],
    columns: ['timestamp', 'v'],
    types: ["DateTime64(9, 'UTC')", 'Nullable(Float64)'],
    mode: 'raw',
    warnings: [],
    cursor: null,
    statistics: { rows: 1, elapsedMs: expect.any(Number), rowsRead: 1, tailRows: 1 },
    streaming: {
      enabled: true,
      bufferState: 'ready',
      rows: 1,
      fresh: true,
      exactness: 'validated',
      watermark: accepted.watermark,
      latestTimestamp: at(1),
    },
    sources: { published: { rows: 0, partitions: 0 }, hotBuffer: { rows: 1 } },
    latest_ingest_watermark: accepted.watermark,
  });

  const flushed = await call('/v1/admin/flush', { json: { dataset, table: 'm' } });
  expect([flushed.status, await flushed.json()]).toEqual([200, { rows: 1 }]);

  const after = await call(queryPath(dataset), { json: { tableName: 'm' } });
  expect(after.headers.get('x-timestore-freshness-mode')).toBe('replica-only');
  expect(after.headers.get('x-timestore-replica-age-ms')).toBe('0');
  expect(after.headers.get('x-timestore-watermark')).toBe(accepted.watermark);
  expect(await after.json()).toMatchObject({
    rows: [{ timestamp: at(1), v: 1 }],
    sources: { published: { rows: 1, partitions: 1 }, hotBuffer: { rows: 0 } },
  });
});

test('rows come as an object, an array or by line, and a repeated request says so', async ({ dataset }) => {
  await call(rowsPath(dataset), { json: { timestamp: at(1) } });
  await call(rowsPath(dataset), { json: [{ timestamp: at(2) }, { timestamp: at(3) }] });
  const byLine = {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson; charset=utf-8', 'idempotency-key': 'k-1' },
    body: `{"timestamp":"${at(4)}"}\n\n{"timestamp":"${at(5)}"}\r\n`,
  };
  const first = await call(rowsPath(dataset), byLine);
  expect(first.headers.get('idempotency-replayed')).toBeNull();
  const again = await call(rowsPath(dataset), byLine);
  expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([202, 'true']);
  expect(await again.json()).toEqual({ ...((await first.json()) as object), replayed: true });
  const { rows } = (await (await call(queryPath(dataset), { json: { tableName: 'm' } })).json()) as { rows: unknown[] };
  expect(rows).toEqual([1, 2, 3, 4, 5].map((n) => ({ timestamp: at(n) })));
});

describe('a compressed body', () => {
  const text = (n: number) => `timestamp,v\n${at(n)},${n}\n`;

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['zstd', zstdCompressSync],
  ])('%s is unpacked', async (encoding, compress) => {
    const dataset = newDataset();
    const headers = { 'content-type': 'text/csv', 'content-encoding': encoding };
    const sent = await call(rowsPath(dataset), { method: 'POST', body: new Uint8Array(compress(text(1))), headers });
    expect(sent.status).toBe(202);
    const { rows } = (await (await call(queryPath(dataset), { json: { tableName: 'm' } })).json()) as {
      rows: unknown[];
    };
    expect(rows).toEqual([{ timestamp: at(1), v: 1 }]);
    const broken = await call(rowsPath(dataset), { method: 'POST', body: text(1), headers });
    expect([broken.status, await broken.json()]).toMatchObject([400, { type: 'urn:timestore:malformed-body' }]);
  });

  test.each([
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ])('%s that unpacks to more than the limit is refused before it fills the memory', async (encoding, compress) => {
    const bomb = new Uint8Array(compress(Buffer.alloc(64 * 1024 * 1024, 0x20)));
    const headers = { 'content-type': 'application/json', 'content-encoding': encoding };
    const answer = await call(rowsPath(newDataset()), { method: 'POST', body: bomb, headers });
    expect([answer.status, await answer.json()]).toMatchObject([
      413,
      { detail: expect.stringContaining('body_bytes_max') },
    ]);
  });

  test('an unknown encoding is rejected by name', async () => {
    const headers = { 'content-type': 'text/csv', 'content-encoding': 'br' };
    expect((await call(rowsPath(newDataset()), { method: 'POST', body: text(1), headers })).status).toBe(415);
  });
});

test('a receipt shows the progress of a batch', async ({ dataset }) => {
  const sent = await call(rowsPath(dataset), { json: { timestamp: at(1) } });
  const { batchId } = (await sent.json()) as { batchId: string };
  const receipt = async () => await (await call(`/v1/receipts/${batchId}`)).json();
  expect(await receipt()).toEqual({
    batchId,
    dataset,
    table: 'm',
    state: 'buffered',
    manifest: null,
    quarantined: null,
  });
  await call('/v1/admin/flush', { json: { dataset, table: 'm' } });
  expect(await receipt()).toMatchObject({
    state: 'verified',
    manifest: expect.stringContaining(dataset),
    quarantined: 0,
  });
  expect((await call('/v1/receipts/nothing')).status).toBe(404);
  expect((await call(`/v1/receipts/${batchId}`, { key: null })).status).toBe(401);
});

test('ack=flushed answers when ClickHouse has the rows', async ({ dataset }) => {
  const sent = await call(`${rowsPath(dataset)}?ack=flushed`, { json: { timestamp: at(1) } });
  expect([sent.status, await sent.json()]).toMatchObject([200, { accepted: 1 }]);
  const answer = await call(queryPath(dataset), { json: { tableName: 'm' } });
  expect(answer.headers.get('x-timestore-freshness-mode')).toBe('replica-only');
  expect((await call(`${rowsPath(dataset)}?ack=soon`, { json: { timestamp: at(1) } })).status).toBe(400);
});

test.each([
  ['without a body', { method: 'POST' }],
  ['with an empty one', { json: {} }],
])('a flush %s takes every table with pending rows', async (_, request) => {
  const [one, other] = [newDataset(), newDataset()];
  await call(rowsPath(one), { json: { timestamp: at(1) } });
  await call(rowsPath(other), { json: { timestamp: at(1) } });
  expect((await call('/v1/admin/flush', request)).status).toBe(200);
  for (const dataset of [one, other]) {
    const answer = await call(queryPath(dataset), { json: { tableName: 'm' } });
    expect(answer.headers.get('x-timestore-freshness-mode')).toBe('replica-only');
  }
});

test.each([
  ['table', { dataset: 'd' }],
  ['dataset', { table: 'm' }],
])('a flush of a table names both, and says when the %s is not there', async (missing, json) => {
  const answer = await call('/v1/admin/flush', { json });
  expect(answer.status).toBe(400);
  expect(await answer.json()).toMatchObject({
    detail: `${missing}: dataset and table must be sent together, or neither.`,
  });
});

test('the cron trigger flushes what is pending', async ({ dataset }) => {
  await call(rowsPath(dataset), { json: { timestamp: at(1) } });
  await call.fireCron();
  const answer = await call(queryPath(dataset), { json: { tableName: 'm' } });
  expect(answer.headers.get('x-timestore-freshness-mode')).toBe('replica-only');
});

describe('whatever goes wrong is a problem document that says what to do', () => {
  const dataset = newDataset();
  const json = { timestamp: at(1) };
  test.each<[string, string, Parameters<typeof call>[1], number, string]>([
    ['no key', rowsPath(dataset), { json, key: null }, 401, 'unauthenticated'],
    ['another key', rowsPath(dataset), { json, key: 'wrong-key' }, 401, 'unauthenticated'],
    ['an unknown route', '/v1/nothing', {}, 404, 'not-found'],
    ['a table that is not there', queryPath(dataset), { json: { tableName: 'm' } }, 404, 'not-found'],
    ['a name that is no slug', '/v1/datasets/Bad.Name/tables/m/rows', { json }, 400, 'invalid-request'],
    [
      'an empty body',
      rowsPath(dataset),
      { method: 'POST', headers: { 'content-type': 'application/json' } },
      400,
      'malformed-body',
    ],
    [
      'broken JSON',
      rowsPath(dataset),
      { method: 'POST', body: '{"a":', headers: { 'content-type': 'application/json' } },
      400,
      'malformed-body',
    ],
    [
      'a body that is not UTF-8',
      rowsPath(dataset),
      { method: 'POST', body: new Uint8Array([0x7b, 0xff]), headers: { 'content-type': 'application/json' } },
      400,
      'malformed-body',
    ],
    [
      'an unknown content type',
      rowsPath(dataset),
      { method: 'POST', body: 'a=1', headers: { 'content-type': 'text/plain' } },
      415,
      'unsupported-media-type',
    ],
    ['rows without a timestamp', rowsPath(dataset), { json: { v: 1 } }, 422, 'rows-refused'],
    [
      'a member of the query nobody knows',
      queryPath(dataset),
      { json: { tableName: 'm', limt: 1 } },
      400,
      'invalid-request',
    ],
    ['a key with a space', rowsPath(dataset), { json, headers: { 'idempotency-key': 'a b' } }, 400, 'invalid-request'],
  ])('%s', async (_, path, init, status, code) => {
    const answer = await call(path, { ...init, headers: { 'x-request-id': 'my-id', ...(init?.headers as object) } });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(answer.headers.get('x-request-id')).toBe('my-id');
    const body = (await answer.json()) as Record<string, unknown>;
    expect(body).toMatchObject({
      type: `urn:timestore:${code}`,
      status,
      requestId: 'my-id',
      title: expect.any(String),
      detail: expect.stringMatching(/\.$/),
      retryable: expect.any(Boolean),
    });
  });
});

describe('with a small limit for bodies', () => {
  const tight = useWorker({ TIMESTORE_BODY_BYTES_MAX: '1000' });

  test.each([
    ['with its length', (bytes: Uint8Array<ArrayBuffer>) => bytes],
    ['streamed, without', (bytes: Uint8Array<ArrayBuffer>) => new Blob([bytes]).stream()],
  ])('a body over it is refused by its name: %s', async (_, bodyOf) => {
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      duplex: 'half',
      body: bodyOf(new Uint8Array(1001).fill(0x20)),
    };
    const answer = await tight(rowsPath(newDataset()), init);
    expect([answer.status, await answer.json()]).toMatchObject([
      413,
      { type: 'urn:timestore:limit-exceeded', detail: expect.stringContaining('body_bytes_max') },
    ]);
  });
});

test('a request id that is none of ours is replaced', async () => {
  const answer = await call('/health', { headers: { 'x-request-id': 'a b<script>' } });
  expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
});

test('health and readiness need no key', async () => {
  expect(await (await call('/health', { key: null })).json()).toEqual({ status: 'ok' });
  const ready = await call('/ready', { key: null });
  expect(ready.status).toBe(200);
  const store = { ok: true, latencyMs: expect.any(Number) };
  expect(await ready.json()).toEqual({
    status: 'ok',
    stores: {
      redis: store,
      clickhouse: { ...store, kind: 'server', version: expect.stringMatching(/^\d+\.\d+/) },
      postgres: store,
      s3: store,
    },
    warnings: [],
  });
});

test('asking for readiness again and again costs the stores one answer: an instance keeps what it knows', async () => {
  const ready = async () => await (await call('/ready', { key: null })).text();
  // The same latencies to a tenth of a millisecond: the second was not measured.
  await expect.poll(async () => new Set([await ready(), await ready()]).size).toBe(1);
});

test('the description names every route, and its page loads nothing from elsewhere', async () => {
  const document = (await (await call('/openapi.json', { key: null })).json()) as {
    openapi: string;
    paths: Record<string, Record<string, { responses: object; requestBody?: object }>>;
    components: { schemas: Record<string, unknown> };
  };
  expect(document.openapi).toMatch(/^3\.1/);
  expect(Object.keys(document.paths).sort()).toEqual([
    '/datasets/{dataset}/ingest',
    '/datasets/{dataset}/query',
    '/health',
    '/metrics',
    '/ping/{token}',
    '/ping/{token}/{signal}',
    '/ready',
    '/sql/read',
    '/v1/admin/audit',
    '/v1/admin/audit-log',
    '/v1/admin/backups',
    '/v1/admin/backups/{id}',
    '/v1/admin/backups/{id}/restore',
    '/v1/admin/datasets',
    '/v1/admin/datasets/{dataset}',
    '/v1/admin/datasets/{dataset}/comparisons',
    '/v1/admin/datasets/{dataset}/tables',
    '/v1/admin/datasets/{dataset}/tables/{table}',
    '/v1/admin/datasets/{dataset}/tables/{table}/comparisons',
    '/v1/admin/datasets/{dataset}/tables/{table}/corrections',
    '/v1/admin/datasets/{dataset}/tables/{table}/deletions',
    '/v1/admin/datasets/{dataset}/tables/{table}/export-schedule',
    '/v1/admin/datasets/{dataset}/tables/{table}/exports',
    '/v1/admin/datasets/{dataset}/tables/{table}/imports',
    '/v1/admin/datasets/{dataset}/tables/{table}/manifests',
    '/v1/admin/datasets/{dataset}/tables/{table}/schema',
    '/v1/admin/datasets/{dataset}/uploads',
    '/v1/admin/export-schedules',
    '/v1/admin/exports',
    '/v1/admin/exports/{id}',
    '/v1/admin/flush',
    '/v1/admin/imports/{id}',
    '/v1/admin/jobs',
    '/v1/admin/jobs/{id}',
    '/v1/admin/jobs/{id}/retry',
    '/v1/admin/keys',
    '/v1/admin/keys/{id}',
    '/v1/admin/keys/{id}/rotate',
    '/v1/admin/quarantine/discard',
    '/v1/admin/quarantine/replay',
    '/v1/admin/quarantine/{dataset}',
    '/v1/admin/reconcile',
    '/v1/admin/storage-targets',
    '/v1/admin/webhooks',
    '/v1/admin/webhooks/{id}',
    '/v1/admin/webhooks/{id}/deliveries',
    '/v1/admin/webhooks/{id}/test',
    '/v1/datasets/{dataset}/ingest',
    '/v1/datasets/{dataset}/query',
    '/v1/datasets/{dataset}/tables/{table}/rows',
    '/v1/monitor/alert-events',
    '/v1/monitor/alerts',
    '/v1/monitor/alerts/{rule}/{fingerprint}/ack',
    '/v1/monitor/apply',
    '/v1/monitor/availability',
    '/v1/monitor/channels',
    '/v1/monitor/channels/{id}',
    '/v1/monitor/channels/{id}/test',
    '/v1/monitor/deliveries',
    '/v1/monitor/incidents',
    '/v1/monitor/incidents/{id}',
    '/v1/monitor/incidents/{id}/updates',
    '/v1/monitor/maintenances',
    '/v1/monitor/maintenances/{id}',
    '/v1/monitor/metrics',
    '/v1/monitor/pages',
    '/v1/monitor/pages/{id}',
    '/v1/monitor/relations',
    '/v1/monitor/relations/{id}',
    '/v1/monitor/rules',
    '/v1/monitor/rules/{id}',
    '/v1/monitor/schema',
    '/v1/monitor/secrets',
    '/v1/monitor/secrets/{name}',
    '/v1/monitor/services',
    '/v1/monitor/services/{id}',
    '/v1/monitor/services/{id}/check',
    '/v1/monitor/services/{id}/history',
    '/v1/monitor/services/{id}/ping-token',
    '/v1/monitor/setup',
    '/v1/monitor/silences',
    '/v1/monitor/silences/{id}',
    '/v1/monitor/slo',
    '/v1/monitor/slos',
    '/v1/monitor/slos/{id}',
    '/v1/monitor/status',
    '/v1/monitor/storage',
    '/v1/queries/{id}',
    '/v1/receipts/{batchId}',
    '/v1/sql',
    '/v1/sql/saved',
    '/v1/sql/saved/{dataset}/{name}',
    '/v1/sql/saved/{dataset}/{name}/run',
    '/v1/sql/schema',
  ]);
  const rows = document.paths['/v1/datasets/{dataset}/tables/{table}/rows']?.post;
  expect(Object.keys(rows?.responses ?? {})).toEqual(
    expect.arrayContaining(['202', '400', '401', '413', '415', '422', '429', '503']),
  );
  expect(document.components.schemas).toHaveProperty('Accepted');
  const page = await call('/docs/api', { key: null });
  const html = await page.text();
  expect(page.headers.get('content-security-policy')).toContain("default-src 'self'");
  for (const [, path = ''] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
    expect(path).toMatch(/^\/docs\//);
    const file = await call(path, { key: null });
    expect([path, file.status]).toEqual([path, 200]);
  }
});

describe('as it is deployed', () => {
  const key = 'a-key-of-its-own';
  const deployed = useWorker({
    TIMESTORE_LOCAL: undefined,
    TIMESTORE_ADMIN_KEY: key,
    TIMESTORE_KEY_PREFIX: `deployed-${process.pid}`,
  });

  test('a webhook is at the name of a public host, however an address is written', async () => {
    const make = (url: string) => deployed('/v1/admin/webhooks', { key, json: { url } });
    const refused = [
      'https://127.0.0.1/',
      'https://2130706433/',
      'https://0x7f.1/',
      'https://0177.0.0.1/',
      'https://１２７.0.0.1/',
      'https://[::ffff:127.0.0.1]/',
      'https://[fd00:ec2::254]/',
      'https://localhost./',
      'https://redis/',
      'https://metadata.google.internal/',
      'https://ⓛocalhost/',
      'https://hooks.example.com:8443/',
      'https://user:secret@hooks.example.com/',
      'http://hooks.example.com/',
      'http://127.0.0.1:9/',
    ];
    for (const url of refused) {
      const answer = await make(url);
      const text = await answer.text();
      expect([url, answer.status, text], url).toEqual([url, 400, expect.stringContaining('url: ')]);
      expect(text).not.toContain('secret');
    }
    const made = await make('https://hooks.example.com/timestore');
    expect(made.status).toBe(201);
    const { id } = (await made.json()) as { id: string };
    expect((await deployed(`/v1/admin/webhooks/${id}`, { key, method: 'DELETE' })).status).toBe(204);
  });
});

describe('with an environment that is not complete', () => {
  const broken = useWorker({ CLICKHOUSE_URL: undefined, DATABASE_URL: 'not a url', TIMESTORE_TRIGGER_ROWS: 'many' });

  test('everything missing and malformed is named at once, and no value is shown', async () => {
    const answer = await broken('/ready', { key: null });
    expect(answer.status).toBe(503);
    const { type, detail } = (await answer.json()) as { type: string; detail: string };
    expect(type).toBe('urn:timestore:misconfigured');
    for (const name of ['CLICKHOUSE_URL', 'DATABASE_URL', 'TIMESTORE_TRIGGER_ROWS']) expect(detail).toContain(name);
    expect(detail).not.toContain('not a url');
    expect((await broken('/health', { key: null })).status).toBe(200);
  });
});

describe('with unavailable stores', () => {
  const withoutRedis = useWorker({ UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:1' });
  const withoutOthers = useWorker({ S3_ENDPOINT: 'http://127.0.0.1:1', NEON_FETCH_ENDPOINT: 'http://127.0.0.1:1/sql' });

  test('[elsewhere 18] without the hot buffer it is not ready, and a write says when to come again', async () => {
    const ready = await withoutRedis('/ready', { key: null });
    expect([ready.status, await ready.json()]).toMatchObject([
      503,
      { status: 'unavailable', stores: { redis: { ok: false } } },
    ]);
    const sent = await withoutRedis(rowsPath(newDataset()), { json: { timestamp: at(1) } });
    expect(sent.status).toBe(503);
    expect(Number(sent.headers.get('retry-after'))).toBeGreaterThan(0);
    const text = await sent.text();
    for (const secret of Object.entries(inject('env')).filter(([name]) => /TOKEN|PASSWORD|SECRET/.test(name))) {
      expect(text).not.toContain(secret[1]);
    }
  });

  const withoutClickHouse = useWorker(clickhouseAt('http://127.0.0.1:1'));

  test('without ClickHouse rows are accepted, and the answer to a client that waits for it says so', async ({
    dataset,
  }) => {
    await call(rowsPath(dataset), { json: { timestamp: at(1) } });
    expect((await withoutClickHouse(rowsPath(dataset), { json: { timestamp: at(2) } })).status).toBe(202);
    const waited = await withoutClickHouse(`${rowsPath(dataset)}?ack=flushed`, { json: { timestamp: at(3) } });
    expect([waited.status, await waited.json()]).toMatchObject([503, { accepted: 1, retryable: true }]);
    expect((await withoutClickHouse('/v1/admin/flush', { json: { dataset, table: 'm' } })).status).toBe(503);
    expect((await withoutClickHouse(queryPath(dataset), { json: { tableName: 'm' } })).status).toBe(503);
    expect(await (await call('/v1/admin/flush', { json: { dataset, table: 'm' } })).json()).toEqual({ rows: 3 });
  });

  test('without Postgres and S3 it is degraded, and known tables go on', async ({ dataset }) => {
    await call(rowsPath(dataset), { json: { timestamp: at(1) } });
    const ready = await withoutOthers('/ready', { key: null });
    expect([ready.status, await ready.json()]).toMatchObject([
      200,
      { status: 'degraded', stores: { redis: { ok: true }, postgres: { ok: false }, s3: { ok: false } } },
    ]);
    expect((await withoutOthers(rowsPath(dataset), { json: { timestamp: at(2) } })).status).toBe(202);
    const flushed = await withoutOthers('/v1/admin/flush', { json: { dataset, table: 'm' } });
    expect([flushed.status, await flushed.json()]).toEqual([200, { rows: 2 }]);
  });
});

test('a deployment that knows no other system to take datasets over from answers by itself, and refuses anything else', async ({
  dataset,
}) => {
  await call(rowsPath(dataset), { json: { timestamp: at(1), v: 1 } });
  const change = async (migration: object | null) =>
    await call(`/v1/admin/datasets/${dataset}`, { json: { migration }, method: 'PATCH' });
  for (const migration of [
    { reads: 'off', mirror: false },
    { reads: 'compare', mirror: false },
    { reads: 'on', mirror: true },
  ]) {
    const refused = await change(migration);
    expect([refused.status, await refused.json()]).toMatchObject([
      400,
      { type: 'urn:timestore:invalid-request', detail: expect.stringContaining('TIMESTORE_ORIGIN_URL') },
    ]);
  }
  expect((await change({ reads: 'off' })).status).toBe(400);
  for (const migration of [{ reads: 'on', mirror: false }, null]) {
    expect(await (await change(migration)).json()).toMatchObject({ migration });
  }
  const answer = await call(queryPath(dataset), { json: { tableName: 'm' } });
  expect([answer.headers.get('x-timestore-answered-by'), await answer.json()]).toMatchObject([
    null,
    { rows: [{ v: 1 }] },
  ]);
  expect(await (await call(`/v1/admin/datasets/${dataset}/comparisons`)).json()).toEqual({
    comparisons: [],
    next: null,
  });
  expect((await call(`/v1/admin/datasets/${newDataset()}/comparisons`)).status).toBe(404);
});
