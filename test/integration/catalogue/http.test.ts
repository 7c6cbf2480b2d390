import { describe, expect } from 'vitest';
import { test } from '../fixtures.ts';
import { useWorker } from '../http/worker.ts';
import { at, newDataset, newInstance } from '../support.ts';

const call = useWorker();
const ctx = newInstance();

const admin = '/v1/admin/datasets';
const rows = (dataset: string, n = 1, table = 'm') =>
  call(`/v1/datasets/${dataset}/tables/${table}/rows`, { json: { timestamp: at(n), v: n } });
const read = async (dataset: string, table = 'm') => {
  const answer = await call(`/v1/datasets/${dataset}/query`, { json: { tableName: table } });
  return answer.status === 200
    ? ((await answer.json()) as { rows: { v: number }[] }).rows.map(({ v }) => v)
    : answer.status;
};
const patch = (path: string, json: object, headers: Record<string, string> = {}) =>
  call(`${admin}/${path}`, { method: 'PATCH', json, headers });
const problem = async (answer: Response) => {
  const { type, detail } = (await answer.json()) as { type: string; detail: string };
  return [answer.status, type.replace('urn:timestore:', ''), detail];
};

test('a dataset and a table: made, read, listed, changed, with a line for each change', async ({ dataset }) => {
  const made = await call(admin, { json: { name: dataset, title: 'Plant seven' } });
  expect([made.status, await made.json()]).toMatchObject([
    201,
    { name: dataset, state: 'active', tables: 0, quota: null },
  ]);
  expect(await problem(await call(admin, { json: { name: dataset } }))).toMatchObject([
    409,
    'conflict',
    expect.stringContaining('already'),
  ]);

  const fields = [{ name: 'site', type: 'string' }];
  const table = await call(`${admin}/${dataset}/tables`, {
    json: { name: 'meters', fields, keyFields: ['site'], lanes: 2, partition: 'month' },
  });
  expect([table.status, await table.json()]).toMatchObject([
    201,
    {
      name: 'meters',
      lanes: 2,
      partition: 'month',
      schema: { keyFields: ['site'], version: 1 },
      inheritsRetention: true,
    },
  ]);
  expect((await call(`${admin}/${dataset}/tables`, { json: { name: 'meters' } })).status).toBe(409);
  await call(`/v1/datasets/${dataset}/tables/meters/rows`, { json: { timestamp: at(1), site: 'a', v: 1 } });

  const listed = (await (await call(`${admin}?search=plant%20SEVEN&limit=1`)).json()) as {
    datasets: object[];
    next: unknown;
  };
  expect(listed.datasets).toHaveLength(1);
  const changed = await patch(dataset, { title: null, quota: { rowsPerDay: 5 } });
  expect(await changed.json()).toMatchObject({ title: null, quota: { rowsPerDay: 5 }, tables: 1 });

  const log = (await (await call(`/v1/admin/audit-log?dataset=${dataset}`)).json()) as {
    lines: { action: string; actor: string; requestId: string; table: string | null }[];
  };
  expect(log.lines.map(({ action }) => action)).toEqual([
    'dataset.change',
    'table.add-fields',
    'table.create',
    'dataset.create',
  ]);
  expect(log.lines.every(({ actor, requestId }) => actor === 'admin' && requestId.length > 0)).toBe(true);
});

test('lists come in pages, and a page begins where the one before ended', async ({ dataset }) => {
  for (const name of ['a', 'b', 'c', 'd', 'e']) await call(`${admin}/${dataset}/tables`, { json: { name } });
  const names: string[] = [];
  let cursor: string | null = '';
  let pages = 0;
  while (cursor !== null) {
    const page = await call(`${admin}/${dataset}/tables?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`);
    const body = (await page.json()) as { tables: { name: string }[]; next: string | null };
    names.push(...body.tables.map(({ name }) => name));
    cursor = body.next;
    pages += 1;
  }
  expect([names, pages]).toEqual([['a', 'b', 'c', 'd', 'e'], 3]);
});

test('If-Match: a change of a resource that has changed meanwhile is rejected, and changes nothing', async ({
  dataset,
}) => {
  await rows(dataset);
  for (const path of [dataset, `${dataset}/tables/m`]) {
    const tag = (await call(`${admin}/${path}`)).headers.get('etag') ?? '';
    expect((await patch(path, { state: 'frozen' }, { 'if-match': tag })).status).toBe(200);
    expect(await problem(await patch(path, { state: 'active' }, { 'if-match': tag }))).toMatchObject([
      412,
      'precondition-failed',
      expect.stringContaining('is now'),
    ]);
    expect(await (await call(`${admin}/${path}`)).json()).toMatchObject({ state: 'frozen' });
    expect((await call(`${admin}/${path}`, { method: 'DELETE', headers: { 'if-match': tag } })).status).toBe(412);
    expect((await patch(path, { state: 'active' }, { 'if-match': '*' })).status).toBe(200);
    expect((await patch(path, { state: 'active' }, { 'if-match': 'W/x' })).status).toBe(400);
  }
});

describe('a state', () => {
  test('frozen: rows are refused from the answer on, reads and retries go on, and thawing lets them in again', async ({
    dataset,
  }) => {
    const once = { 'idempotency-key': 'k-1' };
    const send = (headers = {}) =>
      call(`/v1/datasets/${dataset}/tables/m/rows`, { json: { timestamp: at(1), v: 1 }, headers });
    expect((await send(once)).status).toBe(202);
    for (const path of [dataset, `${dataset}/tables/m`]) {
      expect((await patch(path, { state: 'frozen' })).status).toBe(200);
      expect(await problem(await send())).toMatchObject([409, 'dataset-frozen', expect.stringContaining('cutover')]);
      const wider = await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: { timestamp: at(1), more: 1 } });
      expect(wider.status).toBe(409);
      expect(await (await call(`${admin}/${dataset}/tables/m`)).json()).toMatchObject({ schema: { version: 1 } });
      expect((await send(once)).headers.get('idempotency-replayed')).toBe('true');
      expect(await read(dataset)).toEqual([1]);
      expect((await patch(path, { state: 'active' })).status).toBe(200);
    }
    expect((await send()).status).toBe(202);
    expect(await read(dataset)).toEqual([1, 1]);
  });

  test('of a dataset holds for tables that are not there yet', async ({ dataset }) => {
    await call(admin, { json: { name: dataset } });
    await patch(dataset, { state: 'frozen' });
    expect(await problem(await rows(dataset))).toMatchObject([
      409,
      'dataset-frozen',
      expect.stringContaining('cutover'),
    ]);
    expect((await call(`${admin}/${dataset}/tables`, { json: { name: 'm' } })).status).toBe(409);
    expect(await ctx.postgres.rows('select name from tables where dataset = $1', [dataset])).toEqual([]);
  });

  test('holds after the hot buffer has lost the lanes', async ({ dataset }) => {
    await rows(dataset);
    await call('/v1/admin/flush', { json: { dataset, table: 'm' } });
    await patch(`${dataset}/tables/m`, { state: 'frozen' });
    const own = newInstance({ TIMESTORE_KEY_PREFIX: `http-${process.pid}` });
    await own.redis.del(own.keys.state({ dataset, physical: 'm' }, 0), own.keys.log({ dataset, physical: 'm' }, 0));
    expect(await problem(await rows(dataset, 2))).toMatchObject([
      409,
      'dataset-frozen',
      expect.stringContaining('cutover'),
    ]);
    expect(await read(dataset)).toEqual([1]);
  });

  test('archived: it is read, and left out of lists', async ({ dataset }) => {
    await rows(dataset);
    await patch(dataset, { state: 'archived' });
    expect(await problem(await rows(dataset))).toMatchObject([
      409,
      'dataset-frozen',
      expect.stringContaining('archived'),
    ]);
    expect(await read(dataset)).toEqual([1]);
    const names = async (query: string) =>
      ((await (await call(`${admin}?search=${dataset}${query}`)).json()) as { datasets: { name: string }[] }).datasets;
    expect(await names('')).toEqual([]);
    expect(await names('&state=archived')).toMatchObject([{ name: dataset }]);
  });
});

describe('deleting', () => {
  test('a table is gone for readers at once, comes back within the grace, and is gone for good after it', async ({
    dataset,
  }) => {
    await rows(dataset, 1);
    await call('/v1/admin/flush', { json: { dataset, table: 'm' } });
    await rows(dataset, 2);
    const gone = await call(`${admin}/${dataset}/tables/m?graceSeconds=3600`, { method: 'DELETE' });
    expect([gone.status, await gone.json()]).toMatchObject([202, { state: 'deleting', deleteAt: expect.any(String) }]);
    expect(await read(dataset)).toBe(404);
    expect(await problem(await rows(dataset, 3))).toMatchObject([
      409,
      'dataset-frozen',
      expect.stringContaining('deleted'),
    ]);
    expect(await (await patch(`${dataset}/tables/m`, { state: 'active' })).json()).toMatchObject({ deleteAt: null });
    expect(await read(dataset)).toEqual([1, 2]);
    const jobs = (await (await call(`/v1/admin/jobs?dataset=${dataset}`)).json()) as { jobs: { state: string }[] };
    expect(jobs.jobs.map(({ state }) => state)).toEqual(['cancelled']);

    await call(`${admin}/${dataset}/tables/m?graceSeconds=0`, { method: 'DELETE' });
    await expect.poll(async () => (await call(`${admin}/${dataset}/tables/m`)).status).toBe(404);
    const left = await ctx.clickhouse.rows('SELECT name FROM system.tables WHERE database = {d:String}', {
      d: `ts_${dataset}`,
    });
    expect(left).toEqual([]);
    expect(await ctx.postgres.rows('select id from manifests where dataset = $1', [dataset])).toEqual([]);
    // The name is free: what comes now is another table, and nothing of the old one is in it.
    expect((await rows(dataset, 4)).status).toBe(202);
    expect(await read(dataset)).toEqual([4]);
    expect(await (await call(`${admin}/${dataset}/tables/m`)).json()).toMatchObject({ state: 'active' });
  });

  test('a dataset takes its tables along, and its name is free afterwards', async ({ dataset }) => {
    for (const table of ['m', 'n']) await rows(dataset, 1, table);
    await call(`/v1/sql/saved/${dataset}/q`, { method: 'PUT', json: { sql: 'SELECT 1 AS x FROM m' } });
    await patch(dataset, { quota: { rowsPerDay: 3 } });
    await call(`${admin}/${dataset}?graceSeconds=0`, { method: 'DELETE' });
    await expect.poll(async () => (await call(`${admin}/${dataset}`)).status).toBe(404);
    expect(
      await ctx.clickhouse.rows('SELECT name FROM system.tables WHERE database = {d:String}', { d: `ts_${dataset}` }),
    ).toEqual([]);
    expect((await rows(dataset, 5)).status).toBe(202);
    expect(await read(dataset)).toEqual([5]);
    expect(await (await call(`${admin}/${dataset}`)).json()).toMatchObject({ state: 'active', tables: 1, quota: null });
  });
});

test('the history of a schema has each version with what it added', async ({ dataset }) => {
  await rows(dataset);
  await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: { timestamp: at(1), a: 'x', b: true } });
  const { versions, next } = (await (await call(`${admin}/${dataset}/tables/m/schema?limit=1`)).json()) as {
    versions: { version: number; added: { name: string }[]; fields: object[] }[];
    next: string | null;
  };
  expect(versions).toMatchObject([{ version: 2, added: [{ name: 'a' }, { name: 'b' }] }]);
  expect(await (await call(`${admin}/${dataset}/tables/m/schema?cursor=${next}`)).json()).toMatchObject({
    versions: [
      {
        version: 1,
        added: [
          { name: 'timestamp', type: 'timestamp' },
          { name: 'v', type: 'double' },
        ],
      },
    ],
    next: null,
  });
});

test('manifests of a table come in pages, the newest first', async ({ dataset }) => {
  for (const n of [1, 2, 3]) {
    await rows(dataset, n);
    await call('/v1/admin/flush', { json: { dataset, table: 'm' } });
  }
  const page = async (query: string) =>
    (await (await call(`${admin}/${dataset}/tables/m/manifests${query}`)).json()) as {
      manifests: { sequences: { from: number }; rows: number; partitions: object[] }[];
      next: string | null;
    };
  const first = await page('?limit=2');
  expect(first.manifests).toMatchObject([
    { sequences: { from: 3, to: 3 }, rows: 1, partitions: [{ partition: '20260501', rows: 1, timeFrom: at(3) }] },
    { sequences: { from: 2 } },
  ]);
  expect((await page(`?cursor=${first.next}`)).manifests).toMatchObject([{ sequences: { from: 1 } }]);
});

test('storage targets name volumes, and what rows take of them', async ({ dataset }) => {
  await rows(dataset);
  await call('/v1/admin/flush', { json: { dataset, table: 'm' } });
  const { targets } = (await (await call('/v1/admin/storage-targets')).json()) as {
    targets: { kind: string; volumes: { name: string; usedBytes: number }[] }[];
  };
  expect(targets.map(({ kind }) => kind)).toEqual(['clickhouse', 's3']);
  expect(targets[0]?.volumes.map(({ name }) => name)).toEqual(['default', 'cold']);
  expect(targets[0]?.volumes[0]?.usedBytes).toBeGreaterThan(0);
});

test('a denied request is recorded, those of one kind within a second on one line', async ({ dataset }) => {
  const made = await call('/v1/admin/keys', { json: { name: 'k', scopes: { query: [newDataset()] } } });
  const { id, key } = (await made.json()) as { id: string; key: string };
  await Promise.all([1, 2, 3].map(() => call(`/v1/datasets/${dataset}/query`, { json: { tableName: 'm' }, key })));
  await call(admin, { key });
  const lines = async () =>
    (
      (await (await call(`/v1/admin/audit-log?actor=${id}&outcome=refused`)).json()) as {
        lines: Record<string, unknown>[];
      }
    ).lines;
  await expect.poll(async () => (await lines()).reduce((sum, { count }) => sum + Number(count), 0)).toBe(4);
  expect(await lines()).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ dataset, action: 'POST /v1/datasets/:dataset/query', detail: { code: 'not-found' } }),
      expect.objectContaining({ action: 'GET /v1/admin/datasets', detail: { code: 'forbidden' } }),
    ]),
  );
});

describe('bad input is one clear problem, and changes nothing', () => {
  test.each<[string, string, Parameters<typeof call>[1], number, RegExp]>([
    ['a name that is none', admin, { json: { name: 'A b' } }, 400, /name/],
    ['a member that nobody knows', admin, { json: { name: 'x', titel: 'y' } }, 400, /titel/],
    ['a quota below nothing', admin, { json: { name: 'x', quota: { rowsPerDay: -1 } } }, 400, /rowsPerDay/],
    [
      'days the wrong way round',
      admin,
      { json: { name: 'x', retention: { totalDays: 1, hotDays: 2 } } },
      400,
      /less than/,
    ],
    ['a limit beyond the most', `${admin}?limit=1001`, {}, 400, /1000/],
    ['a state that is none', `${admin}?state=gone`, {}, 400, /state/],
    ['a parameter that nobody knows', `${admin}?page=2`, {}, 400, /page/],
    ['nothing to change', `${admin}/@`, { method: 'PATCH', json: {} }, 400, /at least one of title/],
    ['a state that is not set', `${admin}/@`, { method: 'PATCH', json: { state: 'deleting' } }, 400, /state/],
    [
      'a dataset that is not there',
      `${admin}/never-made`,
      { method: 'PATCH', json: { title: 'x' } },
      404,
      /Dataset \S+ not found/,
    ],
    [
      'a dataset to delete that is not there',
      `${admin}/never-made`,
      { method: 'DELETE' },
      404,
      /Dataset \S+ not found/,
    ],
    ['a grace that is no number', `${admin}/@?graceSeconds=soon`, { method: 'DELETE' }, 400, /graceSeconds/],
    ['too many lanes', `${admin}/@/tables`, { json: { name: 'x', lanes: 1_000 } }, 400, /lanes_max/],
    ['a key that is no field', `${admin}/@/tables`, { json: { name: 'x', keyFields: ['y'] } }, 422, /keyFields/],
    ['a table that is not there', `${admin}/@/tables/never`, {}, 404, /Table \S+ not found/],
    ['a schema of nothing', `${admin}/@/tables/never/schema`, {}, 404, /Table \S+ not found/],
    ['a cursor of another list', `${admin}/@/tables/m/manifests?cursor=x`, {}, 400, /cursor/],
    ['a cursor that is no number', '/v1/admin/audit-log?cursor=x', {}, 400, /cursor/],
    ['a time that is none', '/v1/admin/audit-log?from=yesterday', {}, 400, /from/],
    ['a job that is not there', '/v1/admin/jobs/x', {}, 404, /Job \S+ not found/],
    ['a job to retry that is not there', '/v1/admin/jobs/x/retry', { method: 'POST' }, 404, /Job \S+ not found/],
    ['a kind of job that is none', '/v1/admin/jobs?kind=x', {}, 400, /kind/],
    ['a deletion of everything', `${admin}/@/tables/m/deletions`, { json: {} }, 400, /time range or a filter/],
    [
      'a deletion by a field that is none',
      `${admin}/@/tables/m/deletions`,
      { json: { filters: { columns: [{ column: 'nope', op: 'eq', value: 1 }] } } },
      400,
      /no field nope/,
    ],
    [
      'a correction of the timestamp',
      `${admin}/@/tables/m/corrections`,
      { json: { rows: { timeRange: { start: at(1) } }, set: { timestamp: at(2) } } },
      400,
      /sort key/,
    ],
    [
      'a correction to another type',
      `${admin}/@/tables/m/corrections`,
      { json: { rows: { timeRange: { start: at(1) } }, set: { v: 'many' } } },
      400,
      /set: v: double does not take a string: "many"/,
    ],
  ])('%s', async (_name, path, init, status, says) => {
    const dataset = newDataset();
    await rows(dataset);
    const state = async () => [
      await (await call(`${admin}/${dataset}`)).json(),
      await (await call(`${admin}/${dataset}/tables`)).json(),
    ];
    const before = await state();
    const answer = await call(path.replace('@', dataset), init);
    const [code, , detail] = await problem(answer);
    expect([code, detail]).toEqual([status, expect.stringMatching(says)]);
    expect(await state()).toEqual(before);
  });
});
