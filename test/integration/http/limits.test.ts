import { describe, expect } from 'vitest';
import { noteStored, readUsage, setQuota } from '../../../src/buffer/quota.ts';
import { test } from '../fixtures.ts';
import { at, newDataset, newInstance, send } from '../support.ts';
import { useWorker } from './worker.ts';

const tablesMax = 5;
const call = useWorker({ TIMESTORE_DATASET_TABLES_MAX: String(tablesMax) });

const post = (dataset: string, n: number, more: object = {}) => {
  const json = Array.from({ length: n }, (_, v) => ({ timestamp: at(1), v }));
  return call(`/v1/datasets/${dataset}/tables/m/rows`, { json, ...more });
};
const limit = (dataset: string, quota: object | null) =>
  call(`/v1/admin/datasets/${dataset}`, { method: 'PATCH', json: { quota } });

describe('the tables of a dataset', () => {
  const write = (dataset: string, table: string) =>
    call(`/v1/datasets/${dataset}/tables/${table}/rows`, { json: { timestamp: at(1), v: 1 } });
  const create = (dataset: string, name: string) => call(`/v1/admin/datasets/${dataset}/tables`, { json: { name } });

  test('are as many as it may have and no more, however many are made at once', async ({ dataset }) => {
    const made = await Promise.all(
      Array.from({ length: 24 }, (_, i) => (i % 2 === 0 ? write(dataset, `t${i}`) : create(dataset, `t${i}`))),
    );
    expect(made.filter(({ status }) => status < 300)).toHaveLength(tablesMax);
    for (const answer of made.filter(({ status }) => status >= 300)) {
      expect(answer.status).toBe(413);
      expect(await answer.json()).toMatchObject({
        type: 'urn:timestore:limit-exceeded',
        retryable: false,
        detail: expect.stringContaining('dataset_tables_max'),
      });
    }
    const { tables } = (await (await call(`/v1/admin/datasets/${dataset}/tables`)).json()) as {
      tables: { name: string }[];
    };
    expect(tables).toHaveLength(tablesMax);

    // Those that are there take rows, and what does not fit them goes into the quarantine, which does not count.
    const [{ name } = { name: '' }] = tables;
    expect((await write(dataset, name)).status).toBe(202);
    const wrong = { json: { timestamp: 'never' } };
    expect((await call(`/v1/datasets/${dataset}/tables/${name}/rows?onError=quarantine`, wrong)).status).toBe(202);

    // A table that is gone for good makes room.
    await call(`/v1/admin/datasets/${dataset}/tables/${name}?graceSeconds=0`, { method: 'DELETE' });
    await expect.poll(async () => (await write(dataset, 'next')).status).toBe(202);
    expect((await write(dataset, 'one-more')).status).toBe(413);
  });
});

describe('a quota', () => {
  test('takes exactly as many rows as it says, however many come at once, and says what is left', async ({
    dataset,
  }) => {
    await call('/v1/admin/datasets', { json: { name: dataset, quota: { rowsPerDay: 10 } } });
    await post(dataset, 0).then((answer) => answer.text());
    const answers = await Promise.all(Array.from({ length: 8 }, () => post(dataset, 3)));
    expect(answers.map(({ status }) => status).sort()).toEqual([202, 202, 202, 429, 429, 429, 429, 429]);
    const taken = answers.filter(({ status }) => status === 202);
    expect(
      taken.map(({ headers }) => headers.get('ratelimit')?.match(/"rowsPerDay";r=(\d+);t=\d+/)?.[1]).sort(),
    ).toEqual(['1', '4', '7']);
    expect(taken[0]?.headers.get('ratelimit-policy')).toBe('"rowsPerDay";q=10;w=86400');
    const refused = answers.find(({ status }) => status === 429);
    expect(refused?.headers.get('ratelimit')).toMatch(/"rowsPerDay";r=\d;t=\d+/);
    expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused?.json()).toMatchObject({
      type: 'urn:timestore:quota-exceeded',
      quota: 'rowsPerDay',
      limit: 10,
      retryable: true,
    });
    const { rows } = (await (await call(`/v1/datasets/${dataset}/query`, { json: { tableName: 'm' } })).json()) as {
      rows: unknown[];
    };
    expect(rows).toHaveLength(9);
    expect((await post(dataset, 1)).status).toBe(202);
    expect(await (await call(`/v1/admin/datasets/${dataset}`)).json()).toMatchObject({
      usage: { rowsToday: 10, bytesToday: expect.any(Number) },
    });
  });

  test('does not charge a request again that was accepted before, and lets it be repeated when nothing is left', async ({
    dataset,
  }) => {
    await call('/v1/admin/datasets', { json: { name: dataset, quota: { rowsPerDay: 2 } } });
    const headers = { 'idempotency-key': 'k' };
    expect((await post(dataset, 2, { headers })).status).toBe(202);
    expect((await post(dataset, 2, { headers })).headers.get('idempotency-replayed')).toBe('true');
    expect((await post(dataset, 1)).status).toBe(429);
  });

  test('of bytes and of storage hold as well, and go when they are lifted', async ({ dataset }) => {
    await post(dataset, 1);
    for (const quota of [{ bytesPerDay: 100 }, { storageBytes: 100 }]) {
      await limit(dataset, quota);
      expect(await (await post(dataset, 20)).json()).toMatchObject({ quota: Object.keys(quota)[0], limit: 100 });
      await limit(dataset, null);
      expect((await post(dataset, 20)).status).toBe(202);
    }
  });

  test('holds after the hot buffer has lost it', async ({ dataset }) => {
    await call('/v1/admin/datasets', { json: { name: dataset, quota: { rowsPerDay: 0 } } });
    expect((await post(dataset, 1)).status).toBe(429);
    const own = newInstance({ TIMESTORE_KEY_PREFIX: `http-${process.pid}` });
    await own.redis.del(own.keys.quota(dataset), own.keys.state({ dataset, physical: 'm' }, 0));
    expect((await post(dataset, 1)).status).toBe(429);
  });

  test('of a request in chunks is charged as a whole with the first', async () => {
    const ctx = newInstance({ TIMESTORE_CHUNK_BYTES_MAX: '200' });
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 0 }]);
    await setQuota(ctx, dataset, 9, { rowsPerDay: 10 });
    const rows = Array.from({ length: 11 }, (_, v) => ({ timestamp: at(1), v }));
    await expect(send(ctx, dataset, rows)).rejects.toMatchObject({ code: 'quota-exceeded' });
    const { accepted } = await send(ctx, dataset, rows.slice(1));
    expect(accepted.chunks).toBeGreaterThan(1);
    expect(await readUsage(ctx, dataset)).toMatchObject({ rowsToday: 10 });
  });

  test('starts again each day, and storage uses the size that ClickHouse last reported', async () => {
    const ctx = newInstance();
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 0 }]);
    await setQuota(ctx, dataset, 9, { rowsPerDay: 1, storageBytes: 1_000 });
    await send(ctx, dataset, [{ timestamp: at(1), v: 0 }]);
    await expect(send(ctx, dataset, [{ timestamp: at(1), v: 0 }])).rejects.toMatchObject({ code: 'quota-exceeded' });
    const day = Math.floor(Date.now() / 86_400_000) - 1;
    await ctx.redis.hset(ctx.keys.quota(dataset), { day });
    await send(ctx, dataset, [{ timestamp: at(1), v: 0 }]);
    const before = await readUsage(ctx, dataset);
    await ctx.redis.hset(ctx.keys.quota(dataset), { day });
    await noteStored(ctx, dataset, 990, before);
    expect(await readUsage(ctx, dataset)).toMatchObject({ storedBytes: 990, bytesSince: 0 });
    await expect(send(ctx, dataset, [{ timestamp: at(1), v: 0 }])).rejects.toMatchObject({
      extra: { quota: 'storageBytes', left: 10 },
    });
  });
});

describe('the rate of a key', () => {
  const limited = useWorker({ TIMESTORE_KEY_PREFIX: `rate-${process.pid}` }, { rateLimit: 5 });
  const statuses = async (key: string, n: number) => {
    const dataset = newDataset();
    const answers: Response[] = [];
    for (let i = 0; i < n; i += 1) answers.push(await limited(`/v1/datasets/${dataset}/query`, { json: {}, key }));
    return answers;
  };
  const make = async () => {
    const made = await limited('/v1/admin/keys', { json: { name: 'k', scopes: { query: '*' } } });
    return ((await made.json()) as { key: string }).key;
  };

  test('is limited for each key by itself; the deployment’s own has no limit', async () => {
    const [one, other] = [await make(), await make()];
    // Looking a new key up is counted, too, by where it comes from: see below.
    const answers = await statuses(one, 7);
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404, 429, 429]);
    const refused = answers.at(-1);
    expect(refused?.headers.get('retry-after')).toBe('60');
    expect(refused?.headers.get('ratelimit')).toBe('"requests";r=0;t=60');
    expect(await refused?.json()).toMatchObject({ type: 'urn:timestore:too-many-requests', retryable: true });
    expect((await statuses(other, 2)).map(({ status }) => status)).toEqual([404, 404]);
    expect((await statuses('local-admin', 8)).every(({ status }) => status === 404)).toBe(true);
  });

  test('of unknown keys are limited before a request to a store', async () => {
    const found: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      const [answer] = await statuses(`ts_${String(i).padStart(16, '0')}_${'x'.repeat(43)}`, 1);
      found.push(answer?.status ?? 0);
    }
    expect(found.at(-1)).toBe(429);
    expect(found.filter((status) => status === 401).length).toBeLessThanOrEqual(5);
  });
});

describe('pages of other origins', () => {
  const shared = useWorker({ TIMESTORE_CORS_ORIGINS: 'https://app.example.com, https://b.example.com' });

  test('may use the API where the deployment names them, and no others', async () => {
    const ask = (origin: string) => shared('/v1/datasets/x/query', { json: {}, headers: { origin } });
    const answer = await ask('https://b.example.com');
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://b.example.com');
    expect(answer.headers.get('access-control-expose-headers')).toContain('x-timestore-watermark');
    expect((await ask('https://c.example.com')).headers.get('access-control-allow-origin')).toBeNull();
    const before = await shared('/v1/datasets/x/query', {
      method: 'OPTIONS',
      key: null,
      headers: {
        origin: 'https://app.example.com',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type,idempotency-key',
      },
    });
    expect(before.status).toBe(204);
    expect(before.headers.get('access-control-allow-headers')).toContain('idempotency-key');
    // Also what is refused can be read by the page.
    const refused = await shared('/v1/admin/datasets', { key: null, headers: { origin: 'https://app.example.com' } });
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([
      401,
      'https://app.example.com',
    ]);
  });

  const open = useWorker({ TIMESTORE_CORS_ORIGINS: '*' });

  test('of any origin may where it says so', async () => {
    const answer = await open('/v1/datasets/x/query', { json: {}, headers: { origin: 'https://any.example.com' } });
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
  });

  test('have nothing where it names none', async () => {
    const answer = await call('/v1/datasets/x/query', { json: {}, headers: { origin: 'https://app.example.com' } });
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe('requests of a key at once', () => {
  const narrow = useWorker({ TIMESTORE_KEY_PREFIX: `once-${process.pid}`, TIMESTORE_REQUESTS_PER_KEY_MAX: '2' });

  test('are limited on an instance, and further requests get status 429', async () => {
    const made = await narrow('/v1/admin/keys', { json: { name: 'k', scopes: { admin: '*', ingest: '*' } } });
    const { key } = (await made.json()) as { key: string };
    const path = `/v1/datasets/${newDataset()}/tables/m/rows?ack=flushed`;
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => narrow(path, { json: { timestamp: at(1), v: 1 }, key })),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(2);
    expect(statuses.filter((status) => status === 429)).toHaveLength(6);
    const refused = answers.find(({ status }) => status === 429);
    expect(await refused?.json()).toMatchObject({ detail: expect.stringContaining('requests_per_key_max') });
    expect((await narrow(path, { json: { timestamp: at(1), v: 1 }, key })).status).toBe(200);
  });
});
