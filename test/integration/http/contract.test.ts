import { Ajv2020 } from 'ajv/dist/2020.js';
import { beforeAll, describe, expect, test } from 'vitest';
import { at, newDataset, newInstance } from '../support.ts';
import { openAlert, runMonitorExamples } from './monitor-operations.ts';
import { useWorker } from './worker.ts';

/**
 * Holds the API to its own description: every operation is called with its example and with wrong input, and every
 * answer must be one that the description has, in status, media type, headers and body.
 */
const prefix = `contract-${process.pid}`;
const call = useWorker({ TIMESTORE_KEY_PREFIX: prefix });

const ctx = newInstance();

type Content = Record<string, { schema?: object; example?: unknown }>;
type Parameter = {
  in: 'path' | 'query' | 'header';
  name: string;
  required?: boolean;
  description?: string;
  schema?: object;
  example?: string;
};
type Operation = {
  summary?: string;
  tags?: string[];
  security?: unknown[];
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Content };
  responses: Record<
    string,
    { description?: string; headers?: Record<string, { description?: string }>; content?: Content }
  >;
};
type Document = {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
};

let document: Document;
const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });

beforeAll(async () => {
  document = (await (await call('/openapi.json', { key: null })).json()) as Document;
  ajv.addSchema({ $id: 'api', components: document.components });
});

/** What a value has that its schema does not allow; '' for nothing. */
function faults(schema: object, value: unknown): string {
  const text = JSON.stringify(schema).replaceAll('"#/components/', '"api#/components/');
  const validate = ajv.compile(JSON.parse(text) as object);
  return validate(value) ? '' : ajv.errorsText(validate.errors);
}

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, method, path, operation })),
  );
type Named = ReturnType<typeof operations>[number];

const documented = /^(?:x-timestore-|ratelimit|etag$|retry-after$|idempotency-|www-authenticate$|x-request-id$)/;

/** Holds an answer to what the description says of its operation. */
async function check({ name, operation }: Named, answer: Response): Promise<unknown> {
  const text = await answer.text();
  const where = `${name} answered ${answer.status}: ${text.slice(0, 500)}`;
  const said = operation.responses[String(answer.status)];
  expect(said, where).toBeDefined();
  const headers = new Set(Object.keys(said?.headers ?? {}).map((header) => header.toLowerCase()));
  for (const [header] of answer.headers) {
    if (documented.test(header)) expect([...headers], `${where}\nheader ${header}`).toContain(header);
  }
  if (answer.status === 204) {
    expect(text, where).toBe('');
    return {};
  }
  const type = (answer.headers.get('content-type') ?? '').split(';')[0] ?? '';
  const content = said?.content?.[type];
  expect(content, `${where}\nas ${type}`).toBeDefined();
  const body: unknown = type.endsWith('json') ? JSON.parse(text) : text;
  expect(faults(content?.schema ?? {}, body), where).toBe('');
  return body;
}

const examples = (operation: Operation, place: Parameter['in']) =>
  (operation.parameters ?? []).flatMap(({ in: at_, name, example }) =>
    at_ === place && example !== undefined ? [[name, example] as const] : [],
  );

/** The example of an operation as a request; `ids` take the place of those that only an answer can name. */
function requestOf(
  { method, path, operation }: Named,
  ids: Record<string, string>,
): [string, Parameters<typeof call>[1]] {
  const inPath = { ...Object.fromEntries(examples(operation, 'path')), ...ids };
  const url = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(inPath[name] ?? `no-${name}`));
  const query = new URLSearchParams(examples(operation, 'query').map(([name, value]) => [name, value]));
  const [type, content] =
    Object.entries(operation.requestBody?.content ?? {}).find(([, { example }]) => example !== undefined) ?? [];
  const headers = {
    ...Object.fromEntries(examples(operation, 'header')),
    ...(type !== undefined && { 'content-type': type }),
  };
  const body = content === undefined ? undefined : JSON.stringify(content.example);
  return [
    `${url}${query.size === 0 ? '' : `?${query}`}`,
    { method: method.toUpperCase(), headers, ...(body !== undefined && { body }) },
  ];
}

test('every operation, parameter, answer and error is described, and has an example', () => {
  for (const { name, path, operation } of operations()) {
    expect(operation.summary, name).toBeTruthy();
    expect(operation.tags, name).toHaveLength(1);
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter);
    expect(
      examples(operation, 'path')
        .map(([parameter]) => parameter)
        .sort(),
      name,
    ).toEqual(inPath.sort());
    for (const [type, { schema }] of Object.entries(operation.requestBody?.content ?? {})) {
      expect(schema, `${name} ${type}`).toBeDefined();
    }
    if (operation.requestBody !== undefined) {
      const bodies = Object.values(operation.requestBody.content);
      const [content] = bodies.filter(({ example }) => example !== undefined);
      expect(faults(content?.schema ?? {}, content?.example), name).toBe('');
      expect(content, name).toBeDefined();
    }
    for (const [status, { description, content = {} }] of Object.entries(operation.responses)) {
      expect(description, `${name} ${status}`).toBeTruthy();
      expect(Object.keys(content).length, `${name} ${status}`).toBe(status === '204' ? 0 : 1);
      for (const [type, { schema, example }] of Object.entries(content)) {
        expect(schema, `${name} ${status}`).toBeDefined();
        if (type !== 'application/problem+json') continue;
        expect(faults(schema ?? {}, example), `${name} ${status}`).toBe('');
      }
    }
    if (operation.security?.length !== 0)
      expect(Object.keys(operation.responses), name).toEqual(
        expect.arrayContaining(['401', '403', '429', '500', '503']),
      );
  }
});

test('the examples run in the order of a first use, and answer as described', async () => {
  const ids: Record<string, string> = {};
  const done = new Set<string>();
  const run = async (name: string, own: Record<string, string> = {}): Promise<Record<string, unknown>> => {
    const operation = operations().find((each) => each.name === name);
    if (operation === undefined) throw new Error(`there is no ${name}`);
    done.add(name);
    const answer = await call(...requestOf(operation, own));
    const body = (await check(operation, answer)) as Record<string, unknown>;
    expect(answer.status, `${name}: ${JSON.stringify(body)}`).toBeLessThan(300);
    return body;
  };
  const admin = '/v1/admin';
  const of = `${admin}/datasets/{dataset}`;
  for (const public_ of ['get /health', 'get /ready']) await run(public_);
  const { batchId } = await run('post /v1/datasets/{dataset}/tables/{table}/rows');
  await run('get /v1/receipts/{batchId}', { batchId: String(batchId) });
  for (const begin of ['/v1/datasets', '/datasets']) {
    await run(`post ${begin}/{dataset}/ingest`);
    await run(`post ${begin}/{dataset}/query`);
  }
  await run('put /v1/sql/saved/{dataset}/{name}');
  for (const name of ['post /v1/sql', 'post /sql/read', 'get /v1/sql/schema', 'get /v1/sql/saved']) await run(name);
  const cancelled = 'delete /v1/queries/{id}';
  const [, id] =
    operations().flatMap(({ name, operation }) => (name === cancelled ? examples(operation, 'path') : []))[0] ?? [];
  const endless =
    'SELECT count() AS n FROM numbers(1000000000) AS p, numbers(1000000000) AS q WHERE p.number % 7 = q.number';
  const asked = call('/v1/sql', { json: { sql: endless }, headers: { 'x-request-id': String(id) } });
  await expect.poll(async () => await run(cancelled).catch(() => undefined)).toBeDefined();
  expect((await asked).status).toBe(409);
  await run('get /v1/sql/saved/{dataset}/{name}');
  await run('post /v1/sql/saved/{dataset}/{name}/run');
  await run('delete /v1/sql/saved/{dataset}/{name}');
  // What is set aside: something to list, to send again and to leave.
  await call('/v1/datasets/demo/tables/readings/rows?onError=quarantine', {
    json: [{ timestamp: at(1), celsius: 'warm' }],
  });
  await run(`get ${admin}/quarantine/{dataset}`);
  await run(`post ${admin}/quarantine/replay`);
  await run(`post ${admin}/quarantine/discard`);
  await run(`post ${admin}/flush`);
  await run(`post ${admin}/audit`);
  await run(`get ${admin}/audit`);
  await run('get /metrics');
  ids.id = String((await run(`post ${admin}/keys`)).id);
  await run(`get ${admin}/keys`);
  await run(`get ${admin}/keys/{id}`, ids);
  await run(`post ${admin}/keys/{id}/rotate`, ids);
  await run(`delete ${admin}/keys/{id}`, ids);
  await run(`post ${admin}/datasets`);
  await run(`get ${admin}/datasets`);
  await run(`get ${of}`);
  await run(`patch ${of}`);
  await run(`get ${of}/comparisons`);
  await run(`delete ${of}`);
  await run(`post ${of}/tables`);
  await run(`get ${of}/tables`);
  await run(`get ${of}/tables/{table}`);
  await run(`patch ${of}/tables/{table}`);
  await run(`get ${of}/tables/{table}/schema`);
  await run(`get ${of}/tables/{table}/manifests`);
  const { id: job } = await run(`post ${of}/tables/{table}/corrections`);
  await run(`post ${of}/tables/{table}/deletions`);
  await run(`get ${admin}/jobs/{id}`, { id: String(job) });
  await run(`get ${admin}/jobs`);
  const { id: exported } = await run(`post ${of}/tables/{table}/exports`);
  await expect.poll(async () => (await call(`${admin}/exports/${exported}`)).status).toBe(200);
  await run(`get ${admin}/exports`);
  await run(`get ${admin}/exports/{id}`, { id: String(exported) });
  await run(`delete ${admin}/exports/{id}`, { id: String(exported) });
  const { id: imported } = await run(`post ${of}/tables/{table}/imports`);
  await run(`get ${admin}/imports/{id}`, { id: String(imported) });
  await run(`post ${of}/tables/{table}/comparisons`);
  await run(`post ${of}/uploads`);
  await run(`put ${of}/tables/{table}/export-schedule`);
  await run(`get ${admin}/export-schedules`);
  await run(`delete ${of}/tables/{table}/export-schedule`);
  // After everything that it would be told of: its address is somebody's.
  const { id: webhook } = await run(`post ${admin}/webhooks`);
  await run(`get ${admin}/webhooks`);
  await run(`get ${admin}/webhooks/{id}/deliveries`, { id: String(webhook) });
  await run(`delete ${admin}/webhooks/{id}`, { id: String(webhook) });
  const own = await call(`${admin}/webhooks`, { json: { url: 'http://127.0.0.1:9/' } });
  const { id: local } = (await own.json()) as { id: string };
  await run(`post ${admin}/webhooks/{id}/test`, { id: local });
  await call(`${admin}/webhooks/${local}`, { method: 'DELETE' });
  await openAlert(ctx, prefix, 'monitor');
  await runMonitorExamples(run);
  await run(`delete ${of}/tables/{table}`);
  await run(`post ${admin}/reconcile`);
  await run(`get ${admin}/reconcile`);
  await run(`get ${admin}/storage-targets`);
  await run(`get ${admin}/audit-log`);
  const backup = await run(`post ${admin}/backups`);
  await expect.poll(async () => (await call(`${admin}/backups/${backup.id}`)).status).toBe(200);
  await run(`get ${admin}/backups`);
  await run(`get ${admin}/backups/{id}`, { id: String(backup.id) });
  const { id: restore } = await run(`post ${admin}/backups/{id}/restore`, { id: String(backup.id) });
  // Its tables are there: it fails, which can be tried again.
  await expect
    .poll(async () => ((await (await call(`${admin}/jobs/${restore}`)).json()) as { state: string }).state)
    .toBe('failed');
  await run(`post ${admin}/jobs/{id}/retry`, { id: String(restore) });
  expect([...done].sort()).toEqual(
    operations()
      .map(({ name }) => name)
      .sort(),
  );
});

describe('wrong input is answered as described', () => {
  const ways: [string, (operation: Named) => [string, Parameters<typeof call>[1]] | undefined][] = [
    ['no key', (each) => (each.operation.security?.length === 0 ? undefined : with_(each, { key: null }))],
    [
      'a name that is none',
      (each) =>
        each.path.includes('{dataset}')
          ? [requestOf(each, { dataset: 'A b' })[0], requestOf(each, { dataset: 'A b' })[1]]
          : undefined,
    ],
    [
      'a dataset that is not there',
      (each) =>
        each.path.includes('{dataset}') &&
        !/rows$|ingest$|imports$|uploads$/.test(each.path) &&
        each.name !== 'post /v1/admin/datasets/{dataset}/tables'
          ? requestOf(each, { dataset: newDataset() })
          : undefined,
    ],
    [
      'an id of nothing',
      (each) =>
        /\{(?:id|batchId)\}/.test(each.path) && each.method !== 'put'
          ? requestOf(each, { id: 'nothing', batchId: 'nothing' })
          : undefined,
    ],
    [
      'a body that is no JSON',
      (each) => (each.operation.requestBody === undefined ? undefined : with_(each, { body: '{"a":' })),
    ],
    [
      'a body of another type',
      (each) =>
        each.operation.requestBody === undefined
          ? undefined
          : with_(each, { body: 'a=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } }),
    ],
    [
      'a body with other members',
      (each) =>
        each.operation.requestBody === undefined
          ? undefined
          : with_(each, { body: '{"nobody knows this": [1, {"a": null}]}' }),
    ],
    [
      'a body that is a list',
      (each) => (each.operation.requestBody === undefined ? undefined : with_(each, { body: '[1, "two", null]' })),
    ],
    [
      'an encoding that nobody knows',
      (each) =>
        each.operation.requestBody === undefined
          ? undefined
          : with_(each, { headers: { 'content-encoding': 'br', 'content-type': 'application/json' } }),
    ],
    [
      'parameters that are none',
      (each) => {
        const [path, init] = requestOf(each, {});
        return (each.operation.parameters ?? []).some((parameter) => parameter.in === 'query')
          ? [`${path.replace(/\?.*/, '')}?limit=-1&cursor=%00&ack=x&onError=x&graceSeconds=-1&from=x`, init]
          : undefined;
      },
    ],
    [
      'an If-Match that is none',
      (each) =>
        (each.operation.parameters ?? []).some(({ name }) => name === 'If-Match')
          ? with_(each, { headers: { 'if-match': 'x', 'content-type': 'application/json' } })
          : undefined,
    ],
  ];
  const with_ = (each: Named, init: Parameters<typeof call>[1]): [string, Parameters<typeof call>[1]] => {
    const [path, own] = requestOf(each, {});
    return [path, { ...own, ...init, headers: { ...(own?.headers as object), ...(init?.headers as object) } }];
  };

  test.each(ways)('%s', async (way, of) => {
    let tried = 0;
    for (const each of operations()) {
      const request = of(each);
      if (request === undefined) continue;
      tried += 1;
      const [path, init] = request;
      const headers = { ...(init?.headers as Record<string, string>), 'x-request-id': `wrong-${process.pid}-${tried}` };
      const answer = await call(path, { ...init, headers });
      expect(answer.status, `${each.name} with ${way}`).toBeGreaterThanOrEqual(
        way === 'parameters that are none' ? 200 : 400,
      );
      expect(answer.status, `${each.name} with ${way}`).toBeLessThan(500);
      await check(each, answer);
    }
    expect(tried).toBeGreaterThan(0);
    // Every change has its line, so there was none.
    const lines = await ctx.postgres.rows(
      `select action from audit_log where outcome = 'done' and request_id like $1`,
      [`wrong-${process.pid}-%`],
    );
    expect(lines).toEqual([]);
  });
});
