import { beforeAll, describe, expect, test } from 'vitest';
import { createKey } from '../../../src/keys/manage-keys.ts';
import { at, newDataset, newInstance } from '../support.ts';
import { monitorOperations, openAlert } from './monitor-operations.ts';
import { useWorker } from './worker.ts';

const prefix = `authorisation-${process.pid}`;
const call = useWorker({ TIMESTORE_KEY_PREFIX: prefix });
const ctx = newInstance();

type Scope = 'ingest' | 'query' | 'sql' | 'admin';

/**
 * A request of each operation, over the dataset it is given. `names`: it names one, which a key has to list; `all`: it is
 * of all datasets at once; `lists`: it answers what of them the key may see.
 */
type Operation = {
  scopes: Scope[];
  of: 'names' | 'all' | 'lists';
  request(dataset: string): { path: string; method?: string; json?: unknown };
};

const rows = { timestamp: at(1), v: 1 };
const sql = { sql: 'SELECT count() AS c FROM m' };
const key = { name: 'k', scopes: { ingest: '*' } };

const operations: Record<string, Operation> = {
  'post /v1/datasets/{dataset}/tables/{table}/rows': {
    scopes: ['ingest'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/datasets/${dataset}/tables/m/rows`, json: rows }),
  },
  'get /v1/receipts/{batchId}': {
    scopes: ['ingest', 'query'],
    of: 'names',
    request: (dataset) => {
      const place = JSON.stringify([dataset, 'm', 0, '0000', 1, 'x']);
      return { path: `/v1/receipts/${Buffer.from(place).toString('base64url')}`, method: 'GET' };
    },
  },
  'delete /v1/queries/{id}': {
    scopes: ['query', 'sql'],
    of: 'names',
    request: () => ({ path: '/v1/queries/nothing', method: 'DELETE' }),
  },
  ...Object.fromEntries(
    ['/v1/datasets', '/datasets'].flatMap((begin): [string, Operation][] => [
      [
        `post ${begin}/{dataset}/ingest`,
        {
          scopes: ['ingest'],
          of: 'names',
          request: (dataset) => ({ path: `${begin}/${dataset}/ingest`, json: { tableName: 'm', rows: [rows] } }),
        },
      ],
      [
        `post ${begin}/{dataset}/query`,
        {
          scopes: ['query'],
          of: 'names',
          request: (dataset) => ({ path: `${begin}/${dataset}/query`, json: { tableName: 'm' } }),
        },
      ],
    ]),
  ),
  ...Object.fromEntries(
    ['/v1/sql', '/sql/read'].map((path): [string, Operation] => [
      `post ${path}`,
      { scopes: ['sql'], of: 'names', request: (dataset) => ({ path, json: { ...sql, dataset } }) },
    ]),
  ),
  'get /v1/sql/schema': {
    scopes: ['sql'],
    of: 'lists',
    request: () => ({ path: '/v1/sql/schema', method: 'GET' }),
  },
  'get /v1/sql/saved': {
    scopes: ['sql'],
    of: 'lists',
    request: () => ({ path: '/v1/sql/saved', method: 'GET' }),
  },
  'put /v1/sql/saved/{dataset}/{name}': {
    scopes: ['sql'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/sql/saved/${dataset}/q`, method: 'PUT', json: sql }),
  },
  'get /v1/sql/saved/{dataset}/{name}': {
    scopes: ['sql'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/sql/saved/${dataset}/q`, method: 'GET' }),
  },
  'post /v1/sql/saved/{dataset}/{name}/run': {
    scopes: ['sql'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/sql/saved/${dataset}/q/run`, json: {} }),
  },
  'delete /v1/sql/saved/{dataset}/{name}': {
    scopes: ['sql'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/sql/saved/${dataset}/q`, method: 'DELETE' }),
  },
  'post /v1/admin/flush': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: '/v1/admin/flush', json: { dataset, table: 'm' } }),
  },
  'patch /v1/admin/datasets/{dataset}/tables/{table}': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/admin/datasets/${dataset}/tables/m`, method: 'PATCH', json: { lanes: 1 } }),
  },
  ...Object.fromEntries(
    (
      [
        ['get', '', undefined],
        ['patch', '', { title: 'x' }],
        ['delete', '?graceSeconds=3600', undefined],
        ['get', '/comparisons', undefined],
        ['get', '/tables', undefined],
        ['post', '/tables', { name: 'n' }],
        ['get', '/tables/m', undefined],
        ['delete', '/tables/m?graceSeconds=3600', undefined],
        ['get', '/tables/m/schema', undefined],
        ['get', '/tables/m/manifests', undefined],
        ['post', '/tables/m/deletions', { timeRange: { start: at(50) } }],
        ['post', '/tables/m/exports', {}],
        ['post', '/uploads', { name: 'x.csv' }],
        ['put', '/tables/m/export-schedule', { hour: 3 }],
        ['delete', '/tables/m/export-schedule', undefined],
        ['post', '/tables/m/corrections', { rows: { timeRange: { start: at(50) } }, set: { v: 2 } }],
      ] as const
    ).map(([method, rest, json]): [string, Operation] => [
      `${method} /v1/admin/datasets/{dataset}${rest.replace(/\?.*/, '').replace('/m', '/{table}')}`,
      {
        scopes: ['admin'],
        of: 'names',
        request: (dataset) => ({
          path: `/v1/admin/datasets/${dataset}${rest}`,
          method: method.toUpperCase(),
          ...(json !== undefined && { json }),
        }),
      },
    ]),
  ),
  'get /v1/admin/datasets': {
    scopes: ['admin'],
    of: 'lists',
    request: () => ({ path: '/v1/admin/datasets?limit=1000', method: 'GET' }),
  },
  'post /v1/admin/datasets': {
    scopes: ['admin'],
    of: 'names',
    // For its own: taken already, which who may make it is told.
    request: (dataset) => ({ path: '/v1/admin/datasets', json: { name: dataset } }),
  },
  'post /v1/admin/reconcile': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: '/v1/admin/reconcile', json: { dataset, table: 'm' } }),
  },
  'get /v1/admin/reconcile': {
    scopes: ['admin'],
    of: 'lists',
    request: () => ({ path: '/v1/admin/reconcile', method: 'GET' }),
  },
  'get /v1/admin/jobs': {
    scopes: ['admin'],
    of: 'lists',
    request: () => ({ path: '/v1/admin/jobs?limit=1000', method: 'GET' }),
  },
  'get /v1/admin/jobs/{id}': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/admin/jobs/of-${dataset}`, method: 'GET' }),
  },
  'post /v1/admin/jobs/{id}/retry': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/admin/jobs/of-${dataset}/retry`, method: 'POST' }),
  },
  'get /v1/admin/exports': {
    scopes: ['admin'],
    of: 'lists',
    request: () => ({ path: '/v1/admin/exports?limit=1000', method: 'GET' }),
  },
  'get /v1/admin/exports/{id}': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/admin/exports/of-${dataset}`, method: 'GET' }),
  },
  'post /v1/admin/datasets/{dataset}/tables/{table}/imports': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({
      path: `/v1/admin/datasets/${dataset}/tables/m/imports`,
      json: { objects: [`imports/${dataset}/none.csv`] },
    }),
  },
  'post /v1/admin/datasets/{dataset}/tables/{table}/comparisons': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({
      path: `/v1/admin/datasets/${dataset}/tables/m/comparisons`,
      json: { objects: [`imports/${dataset}/none.csv`] },
    }),
  },
  'get /v1/admin/imports/{id}': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/admin/imports/import-of-${dataset}`, method: 'GET' }),
  },
  'delete /v1/admin/exports/{id}': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/admin/exports/of-${dataset}`, method: 'DELETE' }),
  },
  'get /v1/admin/export-schedules': {
    scopes: ['admin'],
    of: 'lists',
    request: () => ({ path: '/v1/admin/export-schedules', method: 'GET' }),
  },
  'get /v1/admin/webhooks': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/webhooks', method: 'GET' }),
  },
  'post /v1/admin/webhooks': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/webhooks', json: { url: 'http://127.0.0.1:9/', datasets: ['no-such'] } }),
  },
  'delete /v1/admin/webhooks/{id}': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/webhooks/none', method: 'DELETE' }),
  },
  'post /v1/admin/webhooks/{id}/test': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/webhooks/none/test', method: 'POST' }),
  },
  'get /v1/admin/webhooks/{id}/deliveries': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/webhooks/none/deliveries', method: 'GET' }),
  },
  'get /v1/admin/audit-log': {
    scopes: ['admin'],
    of: 'lists',
    request: () => ({ path: '/v1/admin/audit-log?limit=1000', method: 'GET' }),
  },
  ...monitorOperations,
  'get /v1/admin/storage-targets': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/storage-targets', method: 'GET' }),
  },
  'get /v1/admin/backups': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/backups', method: 'GET' }),
  },
  'post /v1/admin/backups': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/backups', json: { datasets: ['no-such'] } }),
  },
  'get /v1/admin/backups/{id}': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/backups/none', method: 'GET' }),
  },
  'post /v1/admin/backups/{id}/restore': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/backups/none/restore', json: {} }),
  },
  'get /v1/admin/quarantine/{dataset}': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: `/v1/admin/quarantine/${dataset}`, method: 'GET' }),
  },
  'post /v1/admin/quarantine/replay': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: '/v1/admin/quarantine/replay', json: { dataset } }),
  },
  'post /v1/admin/quarantine/discard': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: '/v1/admin/quarantine/discard', json: { dataset, ids: ['x'] } }),
  },
  'post /v1/admin/audit': {
    scopes: ['admin'],
    of: 'names',
    request: (dataset) => ({ path: '/v1/admin/audit', json: { dataset, table: 'm' } }),
  },
  'get /v1/admin/audit': {
    scopes: ['admin'],
    of: 'lists',
    request: () => ({ path: '/v1/admin/audit', method: 'GET' }),
  },
  'get /metrics': { scopes: ['admin'], of: 'all', request: () => ({ path: '/metrics', method: 'GET' }) },
  'post /v1/admin/keys': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/keys', json: key }),
  },
  'get /v1/admin/keys': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/keys', method: 'GET' }),
  },
  'get /v1/admin/keys/{id}': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/keys/0000000000000000', method: 'GET' }),
  },
  'post /v1/admin/keys/{id}/rotate': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/keys/0000000000000000/rotate', json: {} }),
  },
  'delete /v1/admin/keys/{id}': {
    scopes: ['admin'],
    of: 'all',
    request: () => ({ path: '/v1/admin/keys/0000000000000000', method: 'DELETE' }),
  },
};

async function make(scopes: object, more: object = {}): Promise<{ id: string; key: string }> {
  const answer = await call('/v1/admin/keys', { json: { name: 'of a test', scopes, ...more } });
  expect(answer.status).toBe(201);
  return (await answer.json()) as { id: string; key: string };
}

async function ask(operation: Operation, dataset: string, as: string | null) {
  const { path, ...init } = operation.request(dataset);
  const answer = await call(path, { ...init, key: as });
  const text = await answer.text();
  return { status: answer.status, text, headers: answer.headers };
}

const problemOf = ({ text }: { text: string }) => {
  const { type, detail } = JSON.parse(text) as { type: string; detail: string };
  return { code: type.replace('urn:timestore:', ''), detail };
};

const there = newDataset();
const own = newDataset();
const never = newDataset();
let revoked = '';
let expired = '';
const ofOwn: Partial<Record<Scope, string>> = {};
const otherScopes: Partial<Record<Scope, string>> = {};

beforeAll(async () => {
  for (const dataset of [there, own]) {
    await openAlert(ctx, prefix, dataset);
    await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: rows });
    await call(`/v1/datasets/${dataset}/tables/m/rows?onError=quarantine`, { json: { timestamp: 'never' } });
    // A job that failed, of another deployment, so that nobody works on it.
    await ctx.postgres.rows(
      `insert into jobs (id, kind, dataset, "table", state, request, actor, request_id, buffer)
       values ($1, 'delete-rows', $2, 'm', 'failed', '{}', 'x', '', 'nobody')`,
      [`of-${dataset}`, dataset],
    );
    await ctx.postgres.rows(
      `insert into jobs (id, kind, dataset, "table", state, request, actor, request_id, buffer)
       values ($1, 'import', $2, 'm', 'failed', '{"objects": []}', 'x', '', 'nobody')`,
      [`import-of-${dataset}`, dataset],
    );
    await ctx.postgres.rows(
      `insert into exports (id, dataset, "table", format, watermark, columns, rows, bytes, objects, actor)
       values ($1, $2, 'm', 'csv', '', '[]', 0, 0, '[]', 'x')`,
      [`of-${dataset}`, dataset],
    );
  }
  const all = { ingest: '*', query: '*', sql: '*', admin: '*' };
  const gone = await make(all);
  revoked = gone.key;
  await call(`/v1/admin/keys/${gone.id}`, { method: 'DELETE' });
  const old = await make(all);
  expired = old.key;
  await ctx.postgres.rows(`update api_keys set expires_at = now() - interval '1 second' where id = $1`, [old.id]);
  for (const scope of ['ingest', 'query', 'sql', 'admin'] as const) {
    ofOwn[scope] = (await make({ [scope]: [own] })).key;
    const { [scope]: _, ...others } = all;
    otherScopes[scope] = (await make(others)).key;
  }
  await call(`/v1/sql/saved/${there}/q`, { method: 'PUT', json: sql });
  await call(`/v1/sql/saved/${own}/q`, { method: 'PUT', json: sql, key: ofOwn.sql ?? '' });
});

test('every operation that asks for a key is among those tried here', async () => {
  const document = (await (await call('/openapi.json', { key: null })).json()) as {
    paths: Record<string, Record<string, { security?: unknown[] }>>;
  };
  const guarded = Object.entries(document.paths).flatMap(([path, methods]) => {
    return Object.entries(methods).flatMap(([method, { security }]) =>
      security?.length === 0 ? [] : [`${method} ${path}`],
    );
  });
  expect(Object.keys(operations).sort()).toEqual(guarded.sort());
});

describe.each(Object.entries(operations))('%s', (_, operation) => {
  const [scope = 'admin'] = operation.scopes;

  test.each([
    ['no key', () => null],
    ['a key that nobody has made', () => `ts_0123456789abcdef_${'x'.repeat(43)}`],
    ['what is no key', () => 'local-admim'],
    ['a revoked key', () => revoked],
    ['an expired key', () => expired],
  ])('refuses %s', async (_name, as) => {
    const answer = await ask(operation, there, as());
    expect(answer.status, answer.text).toBe(401);
    expect(problemOf(answer).code).toBe('unauthenticated');
    expect(answer.headers.get('www-authenticate')).toBe('Bearer');
  });

  test('refuses a key with all scopes but its own', async () => {
    const others: Partial<Record<Scope, '*'>> = { ingest: '*', query: '*', sql: '*', admin: '*' };
    for (const each of operation.scopes) delete others[each];
    const as = operation.scopes.length === 1 ? (otherScopes[scope] ?? '') : (await make(others)).key;
    const answer = await ask(operation, there, as);
    expect(answer.status, answer.text).toBe(403);
    expect(problemOf(answer).code).toBe('forbidden');
  });

  test('has nothing of datasets that the key does not list', async () => {
    const as = ofOwn[scope] ?? '';
    const answer = await ask(operation, there, as);
    if (operation.of === 'all') {
      expect(answer.status, answer.text).toBe(403);
      return;
    }
    if (operation.of === 'lists') {
      expect(answer.status, answer.text).toBe(200);
      expect(answer.text).not.toContain(there);
      return;
    }
    expect(answer.status, answer.text).toBe(404);
    // One that is there and one that is not are told in the same words.
    const missing = await ask(operation, never, as);
    expect([missing.status, problemOf(missing)]).toEqual([
      answer.status,
      { ...problemOf(answer), detail: problemOf(answer).detail.replaceAll(there, never) },
    ]);
  });

  test('lets a key with its scope go on', async () => {
    const as = operation.of === 'all' ? 'local-admin' : (ofOwn[scope] ?? '');
    const answer = await ask(operation, own, as);
    // What some ask for is not there, or there already; who asks may know that.
    const { path } = operation.request(own);
    const told = /\/keys\/0|\/(?:backups|webhooks)\/none|\/queries\//.test(path)
      ? 404
      : path === '/v1/admin/datasets'
        ? 409
        : 2;
    expect(told === 2 ? Math.floor(answer.status / 100) : answer.status, answer.text).toBe(told);
    // Some of them stop its writes.
    if (operation.request(own).method === 'DELETE') {
      const json = { state: 'active' };
      await call(path.replace(/\?.*/, ''), { method: 'PATCH', json });
    }
  });
});

test('writes make datasets where the key lists them, and nowhere else', async () => {
  const listed = newDataset();
  const { key: as } = await make({ ingest: [listed] });
  expect((await call(`/v1/datasets/${listed}/tables/m/rows`, { json: rows, key: as })).status).toBe(202);
  expect((await call(`/v1/datasets/${newDataset()}/tables/m/rows`, { json: rows, key: as })).status).toBe(404);
});

test('SQL of a key reads the datasets that it lists, and says of the others that they are not there', async () => {
  const ask = (text: string) => call('/v1/sql', { json: { sql: text }, key: ofOwn.sql ?? '' });
  expect((await ask(`SELECT count() AS c FROM \`${own}\`.m`)).status).toBe(200);
  const refused = await ask(`SELECT count() AS c FROM \`${there}\`.m`);
  expect([refused.status, await refused.text()]).toEqual([404, expect.stringContaining('not found.')]);
  const joined = await ask(`SELECT count() AS c FROM \`${own}\`.m AS a, \`${there}\`.m AS b`);
  expect(joined.status).toBe(404);
});

describe('bad input to the routes of keys is one clear problem, and changes nothing', () => {
  test.each<[string, string, Parameters<typeof call>[1], number, RegExp]>([
    ['no scope', '', { json: { name: 'k', scopes: {} } }, 400, /at least one scope/],
    ['an unknown scope', '', { json: { name: 'k', scopes: { root: '*' } } }, 400, /scopes/],
    ['a dataset that is no name', '', { json: { name: 'k', scopes: { ingest: ['A B'] } } }, 400, /must match/],
    ['no name', '', { json: { scopes: { ingest: '*' } } }, 400, /name/],
    ['an end in the past', '', { json: { ...key, expiresAt: '2020-01-01T00:00:00Z' } }, 400, /later than now/],
    ['an end that is no time', '', { json: { ...key, expiresAt: 'soon' } }, 400, /expiresAt/],
    ['a filter without a value', '', { json: { ...key, rowFilter: { column: 'a' } } }, 400, /rowFilter/],
    ['a member that nobody knows', '', { json: { ...key, scope: 'x' } }, 400, /scope/],
    [
      'what is no JSON',
      '',
      { method: 'POST', body: '{', headers: { 'content-type': 'application/json' } },
      400,
      /JSON/,
    ],
    ['another type', '', { method: 'POST', body: 'a=1', headers: { 'content-type': 'text/plain' } }, 415, /json/],
    ['a page beyond the limit', '?limit=100000', { method: 'GET' }, 400, /limit/],
    ['a page after nothing', '?cursor=x', { method: 'GET' }, 400, /cursor/],
    ['a key that is not there', '/zzz', { method: 'GET' }, 404, /Key zzz not found/],
    ['an overlap without end', '/0000000000000000/rotate', { json: { overlapSeconds: 1e12 } }, 400, /overlapSeconds/],
  ])('%s', async (_name, path, init, status, says) => {
    const count = async () => (await ctx.postgres.rows('select n, revision from api_keys order by n')).length;
    const before = await count();
    const answer = await call(`/v1/admin/keys${path}`, init);
    const text = await answer.text();
    expect(answer.status, text).toBe(status);
    expect((JSON.parse(text) as { detail: string }).detail).toMatch(says);
    expect(await count()).toBe(before);
  });
});

test('a key over HTTP: made, used, listed, rotated, revoked', async () => {
  const dataset = newDataset();
  const made = await call('/v1/admin/keys', { json: { name: 'site 7', scopes: { ingest: [dataset], query: '*' } } });
  expect(made.headers.get('cache-control')).toBe('no-store');
  const first = (await made.json()) as { id: string; key: string };
  expect(first).toMatchObject({ name: 'site 7', state: 'active', expiresAt: null, revokedAt: null, replacedBy: null });
  const send = async (as: string) =>
    (await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: rows, key: as })).status;
  expect(await send(first.key)).toBe(202);
  const read = await (await call(`/v1/admin/keys/${first.id}`)).text();
  expect(read).not.toContain(first.key);
  expect(await (await call('/v1/admin/keys?limit=1000')).text()).toContain(first.id);
  const rotated = await call(`/v1/admin/keys/${first.id}/rotate`, { json: { overlapSeconds: 3600 } });
  const second = (await rotated.json()) as { id: string; key: string };
  expect([rotated.status, await send(first.key), await send(second.key)]).toEqual([201, 202, 202]);
  const gone = await call(`/v1/admin/keys/${second.id}`, { method: 'DELETE' });
  expect(await gone.json()).toMatchObject({ state: 'revoked' });
  expect(await send(second.key)).toBe(401);
  expect(await send(first.key)).toBe(202);
});

test('a saved query is changed by the key that saved it, by what that is rotated to, and by an admin of its dataset', async () => {
  const [author, other, admin] = await Promise.all([
    make({ sql: [own] }),
    make({ sql: [own] }, { rowFilter: { column: 'v', value: 1 } }),
    make({ sql: [own], admin: [own] }),
  ]);
  const path = `/v1/sql/saved/${own}/total`;
  const put = (as: { key: string }, text: string) => call(path, { method: 'PUT', json: { sql: text }, key: as.key });
  const drop = (as: { key: string }) => call(path, { method: 'DELETE', key: as.key });
  const saved = async () => {
    const { sql: text, savedBy } = (await (await call(path, { key: other.key })).json()) as Record<string, unknown>;
    return [text, savedBy];
  };
  expect((await put(author, 'SELECT 15 AS total')).status).toBe(200);
  for (const refused of [await put(other, 'SELECT 1000000 AS total'), await drop(other)]) {
    expect([refused.status, await refused.text()]).toEqual([403, expect.stringContaining('belongs to another key')]);
  }
  expect(await saved()).toEqual(['SELECT 15 AS total', author.id]);
  expect((await call(`${path}/run`, { json: {}, key: other.key })).status).toBe(200);
  expect((await put(admin, 'SELECT 16 AS total')).status).toBe(200);
  expect(await saved()).toEqual(['SELECT 16 AS total', author.id]);
  const rotated = (await (await call(`/v1/admin/keys/${author.id}/rotate`, { json: {} })).json()) as {
    key: string;
    id: string;
  };
  expect((await put(author, 'SELECT 17 AS total')).status).toBe(403);
  expect((await put(rotated, 'SELECT 18 AS total')).status).toBe(200);
  expect(await saved()).toEqual(['SELECT 18 AS total', rotated.id]);
  // One from before queries had an owner.
  await ctx.postgres.rows('update saved_queries set saved_by = null where dataset = $1', [own]);
  expect((await drop(rotated)).status).toBe(403);
  expect((await drop(admin)).status).toBe(204);
  expect((await drop(admin)).status).toBe(404);
});

test('a list that has several pages names nothing that the key does not list', async () => {
  const hidden = `a-${newDataset()}`;
  const listed = newDataset();
  await ctx.postgres.rows('insert into datasets (name) values ($1)', [hidden]);
  await call(`/v1/datasets/${listed}/tables/m/rows`, { json: rows });
  await ctx.postgres.transaction([
    [
      `insert into tables (dataset, name, definition, schema_version)
       select $1, 'merger-' || n, definition, 1 from tables, generate_series(1, 1001) n where dataset = $2`,
      [hidden, listed],
    ],
    [
      `insert into schema_versions (dataset, name, life, version, schema, checksum)
       select $1, 'merger-' || n, 1, 1, schema, checksum from schema_versions, generate_series(1, 1001) n where dataset = $2`,
      [hidden, listed],
    ],
    [
      `insert into saved_queries (dataset, name, sql) select $1, 'merger-' || n, 'SELECT 1' from generate_series(1, 1001) n`,
      [hidden],
    ],
  ]);
  const { key: as } = await make({ sql: [listed] });
  await call(`/v1/sql/saved/${listed}/q`, { method: 'PUT', json: sql, key: as });
  const get = async (path: string) =>
    (await (await call(path, { key: as })).json()) as Record<string, { name: string }[]>;
  expect(await get('/v1/sql/schema')).toMatchObject({ next: null, tables: [{ dataset: listed, table: 'm' }] });
  expect((await get('/v1/sql/saved')).queries).toMatchObject([{ dataset: listed, name: 'q' }]);
  const names: string[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const from: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const page = (await (await call(`/v1/sql/saved?dataset=${hidden}&limit=400${from}`)).json()) as {
      queries: { name: string }[];
      next: string | null;
    };
    names.push(...page.queries.map(({ name }) => name));
    cursor = page.next;
  }
  expect([names.length, new Set(names).size]).toEqual([1001, 1001]);
  await ctx.postgres.rows(`update tables set dropped_at = now() where dataset = $1`, [hidden]);
});

test('a key with a row filter has no scope admin, however it came to it', async () => {
  const dataset = newDataset();
  await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: { ...rows, tenant: 'a' } });
  const scopes = { admin: '*', query: '*' } as const;
  const rowFilter = { column: 'tenant', value: 'a' };
  const made = await call('/v1/admin/keys', { json: { name: 'k', scopes, rowFilter } });
  expect([made.status, await made.json()]).toMatchObject([400, { problems: [{ path: 'rowFilter' }] }]);
  // As one was made before that was refused.
  const { text } = await createKey(ctx, { name: 'k', scopes, rowFilter, expiresAt_ms: null });
  const headers = { authorization: `Bearer ${text}` };
  const read = await call(`/v1/datasets/${dataset}/query`, { headers, json: { tableName: 'm' } });
  expect(read.status).toBe(200);
  for (const path of [`/v1/admin/quarantine/${dataset}`, '/v1/admin/keys', `/v1/admin/datasets/${dataset}/tables`]) {
    const refused = await call(path, { headers });
    expect([path, refused.status, await refused.text()]).toEqual([path, 403, expect.stringContaining('row filter')]);
  }
});
