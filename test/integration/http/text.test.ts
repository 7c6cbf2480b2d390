import { beforeAll, describe, expect } from 'vitest';
import { deniedRequests } from '../../../src/catalog/audit-log/denied-requests.ts';
import { test } from '../fixtures.ts';
import { at, newDataset, newInstance } from '../support.ts';
import { useWorker } from './worker.ts';

/**
 * Text that a store cannot keep is refused where it comes in, by every operation alike: a NUL, half of a surrogate pair, and
 * a name that objects of JavaScript lose. What is true of all operations is tried with all that the description has.
 */
const prefix = `text-${process.pid}`;
const call = useWorker({ TIMESTORE_KEY_PREFIX: prefix });
const ctx = newInstance({ TIMESTORE_KEY_PREFIX: prefix });

type Parameter = { in: 'path' | 'query' | 'header'; name: string; example?: string };
type Operation = {
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { example?: unknown }> };
};
type Request = { name: string; method: string; path: string; body: unknown };

let requests: Request[] = [];
let addressed: { name: string; method: string; path: string; parameters: Parameter[] }[] = [];

/** An address with the examples of its parameters, but for one. */
function addressOf(path: string, parameters: Parameter[], other: Record<string, string> = {}): string {
  const value = (name: string) => other[name] ?? parameters.find((each) => each.name === name)?.example ?? 'x';
  const query = parameters.filter((each) => each.in === 'query' && (each.example ?? other[each.name]) !== undefined);
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(value(name)));
  return `${filled}?${new URLSearchParams(query.map(({ name }) => [name, value(name)]))}`;
}

/** What the examples leave out, and what users name most. */
const more: [name: string, body: unknown][] = [
  [
    'POST /v1/datasets/{dataset}/ingest',
    {
      datasetName: 'What people say',
      tableName: 'm',
      idempotencyKey: 'k',
      actor: { id: 'a', roles: ['b', { c: 'd' }] },
      schema: { fields: [{ name: 'f', type: 'string' }], evolution: { defaults: { f: 'none' } }, keyFields: ['f'] },
      partition: {
        key: { region: 'eu' },
        attributes: { file: 'f.csv', deep: { er: ['x'] } },
        timeRange: { start: at(0), end: at(9) },
      },
      rows: [{ timestamp: at(1), f: 'v' }],
    },
  ],
  ['POST /datasets/{dataset}/ingest', { actor: 'somebody', rows: [{ timestamp: at(1) }] }],
  [
    'PUT /v1/sql/saved/{dataset}/{name}',
    { sql: 'SELECT {a:String}', description: 'what for', params: { a: 'b', list: ['c', ['d']] } },
  ],
  [
    'POST /v1/admin/keys',
    { name: 'k', scopes: { query: ['demo'], ingest: ['demo'] }, rowFilter: { column: 'tenant', value: 'a' } },
  ],
  ['POST /v1/admin/datasets', { name: 'textual', title: 'A title' }],
  ['PATCH /v1/admin/datasets/{dataset}', { title: 'Another' }],
  [
    'POST /v1/admin/datasets/{dataset}/tables',
    { name: 'textual', fields: [{ name: 'f', type: 'string' }], keyFields: ['f'], timestampColumn: 'at' },
  ],
  [
    'POST /v1/admin/datasets/{dataset}/tables/{table}/imports',
    {
      objects: ['imports/demo/a.csv'],
      columns: ['a'],
      fields: [{ name: 'f', type: 'string' }],
      keyFields: ['f'],
      timestampColumn: 'at',
    },
  ],
  ['POST /v1/admin/datasets/{dataset}/tables/{table}/comparisons', { objects: ['imports/demo/a.csv'], columns: ['a'] }],
  ['POST /v1/admin/datasets/{dataset}/tables/{table}/exports', { columns: ['celsius'], timeRange: { start: at(0) } }],
  ['PUT /v1/admin/datasets/{dataset}/tables/{table}/export-schedule', { hour: 3, columns: ['celsius'] }],
  ['POST /v1/admin/webhooks', { url: 'https://hooks.example.com/a', events: ['export.published'], datasets: ['demo'] }],
  ['POST /v1/admin/quarantine/discard', { dataset: 'demo', ids: ['a', 'b'] }],
  ['POST /v1/admin/quarantine/replay', { dataset: 'demo', table: 'readings', ids: ['a'] }],
];

beforeAll(async () => {
  await call('/v1/datasets/demo/tables/readings/rows', { json: [{ timestamp: at(1), sensor: 'a', celsius: 1 }] });
  const document = (await (await call('/openapi.json')).json()) as { paths: Record<string, Record<string, Operation>> };
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([verb, operation]) => {
      const method = verb.toUpperCase();
      return { name: `${method} ${path}`, method, path, ...operation, parameters: operation.parameters ?? [] };
    }),
  );
  addressed = operations;
  requests = operations.flatMap(({ name, method, path, parameters, requestBody }) => {
    const example = requestBody?.content['application/json']?.example;
    const bodies = [example, ...more.filter(([of]) => of === name).map(([, body]) => body)];
    return bodies
      .filter((body) => body !== undefined)
      .map((body) => ({ name, method, path: addressOf(path, parameters), body }));
  });
  expect(more.filter(([name]) => !operations.some((each) => each.name === name))).toEqual([]);
});

/** Rows are what users store: NUL is kept in them, and they are found and changed by it. */
const isNulKept = (name: string) => /\/(?:query|sql|sql\/read|run|deletions|corrections)$/.test(name);
const isOfRows = (name: string, path: string[]) =>
  /\/(?:rows|ingest)$/.test(name) && (/rows$/.test(name) || path[0] === 'rows');

type Place = { path: string[]; put: (text: string) => unknown };

/** Every string in a value, and the value with another in its place; and every object, with a name more. */
function placesIn(value: unknown, kind: 'strings' | 'names', path: string[] = []): Place[] {
  if (typeof value === 'string') return kind === 'strings' ? [{ path, put: (text) => value + text }] : [];
  if (typeof value !== 'object' || value === null) return [];
  const own: Place[] =
    Array.isArray(value) || kind === 'strings' ? [] : [{ path, put: (name) => ({ ...value, ...named(name) }) }];
  const within = Object.entries(value).flatMap(([name, member]) =>
    placesIn(member, kind, [...path, name]).map((place) => ({
      path: place.path,
      put: (text: string) =>
        Array.isArray(value)
          ? value.map((each, i) => (String(i) === name ? place.put(text) : each))
          : { ...value, [name]: place.put(text) },
    })),
  );
  return [...own, ...within];
}

/** An own member of any name. */
const named = (name: string): object => JSON.parse(`{${JSON.stringify(name)}:"x"}`);

async function send(request: Request, body: unknown) {
  return await sendText(request, JSON.stringify(body));
}

async function sendText({ method, path }: Request, body: string) {
  const answer = await call(path, {
    method,
    body,
    headers: { 'content-type': 'application/json', 'x-request-id': `${prefix}-refused` },
  });
  const text = await answer.text();
  return { status: answer.status, text, problems: problemsIn(text) };
}

function problemsIn(text: string): string[] {
  if (!text.startsWith('{')) return [];
  const { problems = [] } = JSON.parse(text) as { problems?: { path: string }[] };
  return problems.map(({ path }) => path);
}

describe('a body that has anywhere', () => {
  test.each([
    ['a NUL', '\0', isNulKept],
    ['half of a surrogate pair', '\ud83d', () => false],
    ['the other half', '\udc00', () => false],
  ])('%s is refused with its place', async (_, bad, isKept) => {
    let tried = 0;
    for (const request of requests) {
      for (const { path, put } of placesIn(request.body, 'strings')) {
        if (isOfRows(request.name, path)) continue;
        tried += 1;
        const { status, text, problems } = await send(request, put(bad));
        const where = `${request.name} with ${path.join('.')}: ${status} ${text.slice(0, 300)}`;
        if (isKept(request.name)) expect(status, where).toBeLessThan(500);
        else {
          expect(status, where).toBe(400);
          expect(problems, where).toContain(path.join('.'));
        }
      }
    }
    expect(tried).toBeGreaterThan(60);
  });

  test.each([['__proto__'], ['a\0'], ['\ud83d']])('the name %j is refused with its place', async (name) => {
    let tried = 0;
    for (const request of requests) {
      for (const { path, put } of placesIn(request.body, 'names')) {
        if (isOfRows(request.name, path)) continue;
        if (name.includes('\0') && isNulKept(request.name)) continue;
        tried += 1;
        const { status, text, problems } = await send(request, put(name));
        const where = `${request.name} with a name more in ${path.join('.')}: ${status} ${text.slice(0, 300)}`;
        expect(status, where).toBe(400);
        expect(problems, where).toContain([...path, name.toWellFormed()].join('.'));
      }
    }
    expect(tried).toBeGreaterThan(40);
  });

  test.each([['9007199254740993'], ['-9223372036854775809'], ['1e400'], ['-1E+999']])(
    'the number %s, which a double is not, is refused with its place',
    async (number) => {
      let tried = 0;
      for (const request of requests) {
        for (const { path, put } of placesIn(request.body, 'strings')) {
          // Kept as the text that they are.
          if (isOfRows(request.name, path) || path[0] === 'schema') continue;
          tried += 1;
          const body = JSON.stringify(put('@number')).replace(/"[^"]*@number"/, number);
          const { status, text, problems } = await sendText(request, body);
          const where = `${request.name} with ${path.join('.')}: ${status} ${text.slice(0, 300)}`;
          expect(status, where).toBe(400);
          expect(problems, where).toContain(path.join('.'));
        }
      }
      expect(tried).toBeGreaterThan(60);
    },
  );

  test('numbers that a double is are kept', async ({ dataset }) => {
    const told = '{"a":9007199254740992,"b":-9007199254740991,"c":1e300,"d":-0,"e":0.1,"f":1E2}';
    const sent = await call(`/v1/datasets/${dataset}/ingest`, {
      method: 'POST',
      body: `{"tableName":"m","partition":{"attributes":${told}},"rows":[{"timestamp":"${at(1)}"}]}`,
      headers: { 'content-type': 'application/json' },
    });
    expect(sent.status, await sent.text()).toBe(202);
  });

  test('nothing of them was done', async () => {
    const lines = await ctx.postgres.rows(
      `select action, detail from audit_log where outcome = 'done' and request_id = $1 and action not like 'job.%-rows'`,
      [`${prefix}-refused`],
    );
    expect(lines).toEqual([]);
  });
});

describe('names that objects have by themselves are only names', () => {
  const names = ['constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__', 'then'];

  test('of a partition key and of attributes, kept and found', async ({ dataset }) => {
    for (const [n, name] of names.entries()) {
      const sent = await call(`/v1/datasets/${dataset}/ingest`, {
        json: {
          tableName: 'm',
          partition: { key: { [name]: 'here' }, attributes: { [name]: name } },
          rows: [{ timestamp: at(n), name }],
        },
      });
      expect(sent.status, await sent.text()).toBe(202);
    }
    for (const flushed of [false, true]) {
      if (flushed) await call('/v1/admin/flush', { json: { dataset, table: 'm' } });
      for (const name of names) {
        const json = { tableName: 'm', filters: { partitionKey: { [name]: 'here' } } };
        const { rows } = (await (await call(`/v1/datasets/${dataset}/query`, { json })).json()) as {
          rows: { name: string }[];
        };
        expect(rows.map((row) => row.name)).toEqual([name]);
      }
    }
    const manifests = await call(`/v1/admin/datasets/${dataset}/tables/m/manifests`);
    const told = (await manifests.json()) as { manifests: { batches: { meta: { attributes: object } }[] }[] };
    const attributes = told.manifests.flatMap(({ batches }) => batches.map(({ meta }) => meta.attributes));
    expect(attributes).toEqual(names.map((name) => ({ [name]: name })));
  });

  test('of fields, parameters and corrections', async ({ dataset }) => {
    // Those that begin with _ are no fields.
    const all = names.filter((name) => !name.startsWith('_'));
    const row = `{"timestamp":"${at(1)}",${all.map((name) => `"${name}":"old"`).join()}}`;
    const rows = `[${row},{"timestamp":"${at(2)}"}]`;
    const sent = await call(`/v1/datasets/${dataset}/tables/m/rows`, {
      method: 'POST',
      body: rows,
      headers: { 'content-type': 'application/json' },
    });
    expect(sent.status, await sent.text()).toBe(202);
    const asked = async () => {
      const answer = await call(`/v1/datasets/${dataset}/query`, { json: { tableName: 'm' } });
      const { rows: found } = (await answer.json()) as { rows: Record<string, string | null>[] };
      return found.map((each) => all.map((name) => Object.getOwnPropertyDescriptor(each, name)?.value));
    };
    expect(await asked()).toEqual([all.map(() => 'old'), all.map(() => null)]);
    const body = { rows: { timeRange: { end: at(2) } }, set: Object.fromEntries(all.map((name) => [name, 'new'])) };
    const job = await call(`/v1/admin/datasets/${dataset}/tables/m/corrections`, { json: body });
    const { id } = (await job.json()) as { id: string };
    await expect
      .poll(async () => ((await (await call(`/v1/admin/jobs/${id}`)).json()) as { state: string }).state)
      .toBe('done');
    expect(await asked()).toEqual([all.map(() => 'new'), all.map(() => null)]);
    for (const name of all) {
      const sql = `SELECT {${name}:String} AS v`;
      const answer = await call('/v1/sql', { json: { sql, params: { [name]: 'x' } } });
      expect(await answer.json(), name).toMatchObject({ rows: [{ v: 'x' }] });
      expect((await call('/v1/sql', { json: { sql } })).status, name).toBe(400);
    }
  });

  test.each(['constructor', '__proto__', 'valueOf'])('%s is no media type, no encoding and no format', async (name) => {
    const path = `/v1/datasets/${newDataset()}/tables/m/rows`;
    const body = JSON.stringify([{ timestamp: at(1) }]);
    const json = { 'content-type': 'application/json' };
    expect((await call(path, { method: 'POST', body, headers: { 'content-type': name } })).status).toBe(415);
    expect((await call(path, { method: 'POST', body, headers: { ...json, 'content-encoding': name } })).status).toBe(
      415,
    );
    expect((await call('/v1/sql', { json: { sql: 'SELECT 1', format: name } })).status).toBe(400);
    expect((await call('/v1/sql', { json: { sql: 'SELECT 1' }, headers: { accept: name } })).status).toBe(200);
  });
});

describe('an address', () => {
  test('that has a NUL in it is refused, in whichever part', async () => {
    let tried = 0;
    for (const { name, method, path, parameters } of addressed) {
      for (const parameter of parameters.filter((each) => each.in !== 'header')) {
        tried += 1;
        const to = addressOf(path, parameters, { [parameter.name]: `${parameter.example ?? 'x'}\0` });
        const { status } = await call(to, {
          method,
          ...(method === 'GET' ? {} : { body: '{}', headers: { 'content-type': 'application/json' } }),
        });
        expect(status, `${name} with ${parameter.name}`).toBe(400);
      }
    }
    expect(tried).toBeGreaterThan(80);
  });

  test.each([
    ['/v1/admin/datasets?__proto__=x', 400],
    ['/v1/admin/datasets?constructor=x', 400],
    ['/v1/sql/schema?dataset=%00', 400],
    ['/v1/sql/saved?dataset=a%00b', 400],
    // What is no UTF-8 stays as it was sent.
    ['/v1/sql/saved?dataset=%ED%A0%80', 200],
    ['/v1/admin/jobs/%ED%A0%80', 404],
    ['/v1/admin/jobs/%2500', 404],
    ['/v1/admin/exports/%EF%BF%BE', 404],
    [`/v1/admin/datasets/demo/tables/readings/schema?cursor=999999999999999`, 200],
    [`/v1/admin/datasets/demo/tables/readings/manifests?cursor=${Buffer.from('1 a\0').toString('base64url')}`, 400],
    [`/v1/admin/datasets/demo/tables/readings/manifests?cursor=${Buffer.from('1 a').toString('base64url')}`, 200],
    ...[
      ['a\0', 'm', 0, 'x', 1, 'x'],
      ['demo', 'readings', 2 ** 40, 'x', 1, 'x'],
      ['demo', 'readings', 0, 'a\0', 1, 'x'],
      ['demo', 'readings', 0, '\ud800', 1, 'x'],
      ['demo', 'readings.\0', 0, 'x', 1, 'x'],
      ['demo', 'readings', 0, 'x', Number.MAX_SAFE_INTEGER, 'x\0'],
    ].map((place): [string, number] => [
      `/v1/receipts/${Buffer.from(JSON.stringify(place)).toString('base64url')}`,
      404,
    ]),
  ])('%s is answered with %i', async (path, status) => {
    const answer = await call(path);
    expect(answer.status, await answer.text()).toBe(status);
  });
});

test('denied requests are recorded, whatever other clients write into a path in the same second', async ({
  dataset,
}) => {
  const guess = `ts_${'0'.repeat(16)}_${'x'.repeat(43)}`;
  const others = ['%00', 'x'.repeat(6_000), `${'%F0%9F%98%80'.repeat(700)}`, '%ED%A0%80', 'a%20b'];
  await Promise.all([
    ...others.map((other) => call(`/v1/datasets/${other}/query`, { key: null, method: 'POST' })),
    ...Array.from({ length: 5 }, () => call(`/v1/datasets/${dataset}/query`, { key: guess, method: 'POST' })),
  ]);
  const lines = () =>
    ctx.postgres.rows<{ count: number }>(`select count from audit_log where outcome = 'refused' and dataset = $1`, [
      dataset,
    ]);
  await expect.poll(async () => (await lines()).reduce((sum, { count }) => sum + count, 0)).toBe(5);
});

test('a refused access that cannot be recorded is left out alone', async () => {
  const [dataset, other] = [newDataset(), newInstance({ TIMESTORE_KEY_PREFIX: prefix })];
  const refusal = (actor: string) => ({ actor, requestId: 'r', action: 'GET /x', dataset, code: 'forbidden' });
  await Promise.all(
    ['first', 'a\0', '\ud83d', 'last'].map((actor) => deniedRequests(other).note(other, refusal(actor))),
  );
  const lines = await ctx.postgres.rows<{ actor: string }>(
    `select actor from audit_log where outcome = 'refused' and dataset = $1 order by n`,
    [dataset],
  );
  expect(lines.map(({ actor }) => actor)).toEqual(['first', 'last']);
  expect(other.events).toContainEqual({ event: 'refusals-unrecorded', alarm: true, kinds: 2 });
});

test('a denied request of what cannot be a dataset is recorded without that text', async () => {
  const [actor, other] = [newDataset(), newInstance({ TIMESTORE_KEY_PREFIX: prefix })];
  const refusal = { actor, requestId: 'r', action: 'GET /x', code: 'forbidden' };
  await Promise.all(
    ['a b', 'x'.repeat(64), 'possible'].map((dataset) => deniedRequests(other).note(other, { ...refusal, dataset })),
  );
  const lines = await ctx.postgres.rows('select dataset, count from audit_log where actor = $1 order by n', [actor]);
  expect(lines).toEqual([
    { dataset: null, count: 2 },
    { dataset: 'possible', count: 1 },
  ]);
});

describe('the name of an object', () => {
  const tables = '/v1/admin/datasets/demo/tables/readings';
  test.each([
    'imports/demo/../../exports/other/a.csv',
    'imports/demo/./a.csv',
    'imports/demo//a.csv',
    '/imports/demo/a.csv',
    'imports/demo/a.csv/',
    './a.csv',
    '../a.csv',
    'imports/demo/..',
    '.',
    '..',
    '/',
    'imports/.../a.csv',
    'imports/demo/%2e%2e/a.csv',
    'imports/demo/..\\a.csv',
    'imports/demo/*.csv',
    'imports/demo/{a,b}.csv',
    'a b.csv',
  ])('%s is refused for an import and for a comparison', async (key) => {
    const made = await call('/v1/admin/keys', { json: { name: 'of one', scopes: { admin: ['demo'] } } });
    const { key: limited } = (await made.json()) as { key: string };
    for (const path of [`${tables}/imports`, `${tables}/comparisons`]) {
      for (const of of [undefined, limited]) {
        const json = { format: 'csv', objects: ['imports/demo/good.csv', key] };
        const answer = await call(path, { json, ...(of !== undefined && { key: of }) });
        const problem = (await answer.json()) as { problems?: { path: string }[] };
        expect([answer.status, problem.problems?.[0]?.path], JSON.stringify(problem)).toEqual([400, 'objects.1']);
      }
    }
  });

  test.each(['.', '..', '...', 'a/b', '../a', ''])('%j is refused for a file', async (name) => {
    expect((await call('/v1/admin/datasets/demo/uploads', { json: { name } })).status).toBe(400);
  });

  test.each(['.hidden.csv', '..a', 'a..b', 'a.', '=', 'part-0.c000.csv'])('%j may be one', async (name) => {
    const room = await call('/v1/admin/datasets/demo/uploads', { json: { name } });
    const { key, url } = (await room.json()) as { key: string; url: string };
    expect([room.status, decodeURIComponent(new URL(url).pathname).endsWith(`/${name}`)]).toEqual([201, true]);
    const json = { format: 'csv', objects: [key] };
    expect((await call(`${tables}/imports`, { json })).status).toBe(202);
  });
});
