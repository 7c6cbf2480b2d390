import { describe, expect } from 'vitest';
import { test } from '../fixtures.ts';
import { at, newDataset, newInstance } from '../support.ts';
import { useWorker } from './worker.ts';

const call = useWorker();
/** The stores themselves, behind the Worker's back. */
const ctx = newInstance();

type Json = Record<string, unknown>;

async function rowsOf(dataset: string, tableName = 'records', path = '/v1/datasets'): Promise<Json[]> {
  const answer = await call(`${path}/${dataset}/query`, { json: { tableName } });
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { rows: Json[] }).rows;
}

describe.each(['/v1/datasets', '/datasets'])('the batch form at %s', (path) => {
  test('takes rows with a schema, a partition and who sends them, and answers with what it is called', async ({
    dataset,
  }) => {
    const json = {
      datasetName: 'Our machines',
      schema: {
        fields: [
          { name: 'timestamp', type: 'timestamp' },
          { name: 'n', type: 'integer' },
        ],
      },
      partition: {
        key: { region: 'eu', 'a b': 'c"d' },
        attributes: { source: { file: 'x.csv' } },
        timeRange: { start: at(0), end: at(2) },
      },
      rows: [
        { timestamp: at(1), n: 1, v: 0.5 },
        { timestamp: at(2), n: 2 },
      ],
      idempotencyKey: 'the-key',
      actor: { id: 'loader' },
    };
    const sent = await call(`${path}/${dataset}/ingest`, { json });
    expect(sent.status).toBe(202);
    const answer = (await sent.json()) as Json;
    expect(answer).toMatchObject({
      mode: 'queued',
      jobId: answer.batchId,
      accepted: 2,
      rejected: 0,
      quarantined: 0,
      errors: [],
      replayed: false,
      flushPending: true,
      dataset: { name: dataset },
      storageTarget: { kind: 'clickhouse', database: `ts_${dataset}`, table: 'records' },
    });
    expect(await rowsOf(dataset, 'records', path)).toEqual([
      { timestamp: at(1), n: 1, v: 0.5 },
      { timestamp: at(2), n: 2, v: null },
    ]);
    expect(((await (await call(`/v1/receipts/${answer.jobId}`)).json()) as Json).state).toBe('buffered');

    const again = await call(`${path}/${dataset}/ingest?ack=flushed`, { json });
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([201, 'true']);
    expect(await again.json()).toMatchObject({
      mode: 'inline',
      flushPending: false,
      replayed: true,
      batchId: answer.batchId,
      manifest: { rows: 2, sequences: { from: 1, to: 1 }, partitions: [{ partition: '20260501', rows: 2 }] },
    });
    expect(await rowsOf(dataset, 'records', path)).toHaveLength(2);
  });
});

test('integers beyond 2^53 in rows and defaults of the batch form stay what they are', async ({ dataset }) => {
  const body = `{"schema":{"fields":[{"name":"n","type":"integer"},{"name":"d","type":"integer"}],
    "evolution":{"defaults":{"d":9007199254740993}}},
    "rows":[{"timestamp":"${at(1)}","n":9007199254740993},{"timestamp":"${at(2)}","n":9223372036854775807}]}`;
  const headers = { 'content-type': 'application/json' };
  expect((await call(`/v1/datasets/${dataset}/ingest`, { method: 'POST', body, headers })).status).toBe(202);
  for (const flushed of [false, true]) {
    if (flushed) await call('/v1/admin/flush', { json: { dataset, table: 'records' } });
    const text = await (await call(`/v1/datasets/${dataset}/query`, { json: {} })).text();
    expect(text).toContain('"n":9007199254740993,"d":9007199254740993');
    expect(text).toContain('"n":9223372036854775807,"d":9007199254740993');
  }
});

describe('what is wrong with the batch form is said by its path', () => {
  const rows = [{ timestamp: at(1) }];
  test.each<[string, unknown, number, string, RegExp]>([
    ['no rows', {}, 400, 'invalid-request', /^rows: /],
    ['rows that are text', { rows: 'x' }, 400, 'invalid-request', /^rows: /],
    ['a member nobody knows', { rows, row: 1 }, 400, 'invalid-request', /row/],
    [
      'a type nobody knows',
      { rows, schema: { fields: [{ name: 'a', type: 'text' }] } },
      400,
      'invalid-request',
      /^schema\.fields\.0\.type/,
    ],
    ['a table that is no slug', { rows, tableName: 'A.b' }, 400, 'invalid-request', /^tableName/],
    [
      'a time that is none',
      { rows, partition: { timeRange: { start: 'x', end: 1 } } },
      400,
      'invalid-request',
      /timeRange\.start/,
    ],
    ['a key that is no text', { rows, partition: { key: { a: 1 } } }, 400, 'invalid-request', /^partition\.key\.a/],
    [
      'too many keys',
      { rows, partition: { key: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`k${n}`, 'v'])) } },
      413,
      'limit-exceeded',
      /partition_key_entries_max/,
    ],
    [
      'attributes that are large',
      { rows, partition: { attributes: { a: 'x'.repeat(5_000) } } },
      413,
      'limit-exceeded',
      /partition_meta_bytes_max/,
    ],
    ['an empty list', { rows: [] }, 400, 'malformed-body', /no rows/],
    [
      'a row outside of its time range',
      { rows, partition: { timeRange: { start: at(2), end: at(3) } } },
      422,
      'rows-refused',
      /1 of 1/,
    ],
  ])('%s', async (_, json, status, code, detail) => {
    const answer = await call(`/v1/datasets/${newDataset()}/ingest`, { json });
    expect([answer.status, await answer.json()]).toMatchObject([
      status,
      { type: `urn:timestore:${code}`, detail: expect.stringMatching(detail) },
    ]);
  });

  test('a body that is not JSON, and two keys that differ', async () => {
    const path = `/v1/datasets/${newDataset()}/ingest`;
    const headers = { 'content-type': 'application/json' };
    expect((await call(path, { method: 'POST', body: '{"rows":[', headers })).status).toBe(400);
    expect((await call(path, { method: 'POST', body: '[]', headers })).status).toBe(400);
    const two = await call(path, { json: { rows, idempotencyKey: 'a' }, headers: { 'idempotency-key': 'b' } });
    expect(two.status).toBe(400);
    expect((await call(path, { method: 'POST', body: '{}', headers: { 'content-type': 'text/csv' } })).status).toBe(
      415,
    );
  });

  test('a schema that does not fit says both types', async ({ dataset }) => {
    await call(`/v1/datasets/${dataset}/ingest`, { json: { rows: [{ timestamp: at(1), v: 1 }] } });
    const schema = { fields: [{ name: 'v', type: 'string' }] };
    const answer = await call(`/v1/datasets/${dataset}/ingest`, { json: { schema, rows } });
    expect([answer.status, await answer.json()]).toMatchObject([
      422,
      { type: 'urn:timestore:schema-refused', field: 'v', oldType: 'double', newType: 'string', row: null },
    ]);
  });
});

test('partition key, attributes and actor are where they belong: in the rows, and in the manifest', async ({
  dataset,
}) => {
  const send = (region: string) =>
    call(`/v1/datasets/${dataset}/ingest`, {
      json: { partition: { key: { region }, attributes: { n: 1 } }, actor: 'me', rows: { timestamp: at(1), region } },
    });
  await send('eu');
  await call(`/v1/datasets/${dataset}/tables/records/rows`, { json: { timestamp: at(2) } });
  await send("u's");
  await call('/v1/admin/flush', { json: { dataset, table: 'records' } });
  const rows = await ctx.clickhouse.rows(`SELECT region, _partition FROM \`ts_${dataset}\`.records ORDER BY _seq`);
  expect(rows).toEqual([
    { region: 'eu', _partition: { region: 'eu' } },
    { region: null, _partition: {} },
    { region: "u's", _partition: { region: "u's" } },
  ]);
  const [manifest] = await ctx.postgres.rows<{ batches: unknown }>('select batches from manifests where dataset = $1', [
    dataset,
  ]);
  expect(manifest?.batches).toEqual([
    { seq: 1, meta: { key: { region: 'eu' }, attributes: { n: 1 }, actor: 'me' } },
    { seq: 3, meta: { key: { region: "u's" }, attributes: { n: 1 }, actor: 'me' } },
  ]);
});

test('every row in quarantine is listed, by pages, and reached by its id', async ({ dataset }) => {
  const path = `/v1/datasets/${dataset}/tables/m/rows?onError=quarantine`;
  await call(path, { json: { timestamp: at(0), v: 0 } });
  const bad = Array.from({ length: 1_100 }, (_, n) => ({ timestamp: at(n % 60), v: `bad ${n}` }));
  expect(await (await call(path, { json: bad })).json()).toMatchObject({ quarantined: bad.length });
  const ids: string[] = [];
  let next: string | null = '';
  while (next !== null) {
    const query: string = `limit=250${next === '' ? '' : `&cursor=${next}`}`;
    const page = (await (await call(`/v1/admin/quarantine/${dataset}?${query}`)).json()) as {
      rows: { id: string }[];
      next: string | null;
    };
    ids.push(...page.rows.map(({ id }) => id));
    next = page.next;
  }
  expect(new Set(ids).size).toBe(bad.length);
  expect(ids).toHaveLength(bad.length);
  const last = ids.slice(-2);
  const replayed = await call('/v1/admin/quarantine/replay', { json: { dataset, ids: last } });
  const { refused } = (await replayed.json()) as { refused: { id: string }[] };
  expect(refused.map(({ id }) => id).sort()).toEqual(last.toSorted());
  const discarded = await call('/v1/admin/quarantine/discard', { json: { dataset, ids: last } });
  expect(await discarded.json()).toEqual({ discarded: 2 });
  // A page goes on behind a row that is not open any more.
  const behind = await call(`/v1/admin/quarantine/${dataset}?cursor=${ids.at(-3)}`);
  expect(await behind.json()).toEqual({ rows: [], next: null });
  expect(await (await call(`/v1/admin/quarantine/${dataset}?cursor=${last[0]}`)).json()).toEqual({
    rows: [],
    next: null,
  });
});

test('onError=quarantine accepts the good rows; the others can be read, and sent again after a fix', async ({
  dataset,
}) => {
  const path = `/v1/datasets/${dataset}/tables/m/rows`;
  await call(path, { json: { timestamp: at(0), v: 0 } });
  const sent = await call(`${path}?onError=quarantine`, {
    json: [
      { timestamp: at(1), v: 1 },
      { timestamp: at(2), v: 'x' },
    ],
  });
  expect([sent.status, await sent.json()]).toMatchObject([202, { accepted: 1, rejected: 0, quarantined: 1 }]);
  expect((await call(`${path}?onError=drop`, { json: {} })).status).toBe(400);
  expect(await rowsOf(dataset, '_quarantine')).toMatchObject([
    { payload: JSON.stringify({ timestamp: at(2), v: 'x' }) },
  ]);
  const listed = await call(`/v1/admin/quarantine/${dataset}`);
  const { rows } = (await listed.json()) as { rows: { id: string; reason: string }[] };
  expect(rows).toMatchObject([{ reason: 'wrong-type', origin: 'request', table: 'm' }]);
  const replayed = await call('/v1/admin/quarantine/replay', { json: { dataset, ids: [rows[0]?.id] } });
  expect(await replayed.json()).toMatchObject({ replayed: 0, refused: [{ id: rows[0]?.id, reason: 'wrong-type' }] });
  const discard = () => call('/v1/admin/quarantine/discard', { json: { dataset, ids: [rows[0]?.id] } });
  expect(await (await discard()).json()).toEqual({ discarded: 1 });
  expect(await (await discard()).json()).toEqual({ discarded: 0 });
  expect(await (await call(`/v1/admin/quarantine/${dataset}`)).json()).toEqual({ rows: [], next: null });
  expect((await call(`/v1/admin/quarantine/${newDataset()}`)).status).toBe(404);
  // Nobody but us writes there.
  expect((await call(`/v1/datasets/${dataset}/tables/_quarantine/rows`, { json: { timestamp: at(1) } })).status).toBe(
    400,
  );
});

test('a request that waits for ClickHouse reports the rows that it rejected, and so does the receipt', async ({
  dataset,
}) => {
  const path = `/v1/datasets/${dataset}/tables/m/rows?ack=flushed`;
  await call(path, { json: { timestamp: at(0), v: 0 } });
  await ctx.clickhouse.command(`ALTER TABLE \`ts_${dataset}\`.m ADD CONSTRAINT positive CHECK v >= 0`);
  const sent = await call(path, {
    json: [
      { timestamp: at(1), v: 1 },
      { timestamp: at(2), v: -2 },
    ],
  });
  const answer = (await sent.json()) as Json;
  expect([sent.status, answer]).toMatchObject([200, { accepted: 1, rejected: 0, quarantined: 1 }]);
  const receipt = await call(`/v1/receipts/${answer.batchId}`);
  expect(await receipt.json()).toMatchObject({ state: 'verified', quarantined: 1 });
});

test('a table’s lanes and retention can be changed', async ({ dataset }) => {
  await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: { timestamp: new Date().toISOString(), v: 0 } });
  const change = (json: unknown) =>
    call(`/v1/admin/datasets/${dataset}/tables/m`, {
      method: 'PATCH',
      body: JSON.stringify(json),
      headers: { 'content-type': 'application/json' },
    });
  const changed = await change({ lanes: 3, retention: { totalDays: 30, hotDays: 7 } });
  expect([changed.status, await changed.json()]).toMatchObject([
    200,
    { dataset, name: 'm', lanes: 3, retention: { totalDays: 30, hotDays: 7 }, schema: { version: 1 } },
  ]);
  for (let n = 0; n < 6; n += 1) {
    await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: { timestamp: new Date().toISOString(), v: n } });
  }
  expect(await rowsOf(dataset, 'm')).toHaveLength(7);
  for (const wrong of [{}, { lanes: 0 }, { lanes: 1_000 }, { retention: { totalDays: 1, hotDays: 2 } }, { lane: 1 }]) {
    expect((await change(wrong)).status).toBe(400);
  }
  expect(await (await change({ retention: null })).json()).toMatchObject({ retention: null, lanes: 3 });
});

test('an audit can be asked for, is listed, and is in the metrics', async ({ dataset }) => {
  await call(`/v1/datasets/${dataset}/tables/m/rows?ack=flushed`, { json: { timestamp: at(1), v: 0 } });
  const audit = await call('/v1/admin/audit', { json: { dataset, table: 'm' } });
  expect([audit.status, await audit.json()]).toMatchObject([200, { ok: true, missing: 0, compared: 1 }]);
  const { audits } = (await (await call('/v1/admin/audit')).json()) as { audits: Json[] };
  expect(audits).toContainEqual(expect.objectContaining({ dataset, table: 'm', ok: true, age_s: expect.any(Number) }));
  const metrics = await call('/metrics');
  expect(metrics.headers.get('content-type')).toContain('text/plain');
  expect(await metrics.text()).toContain(`timestore_audit_ok{dataset="${dataset}",table="m"} 1`);
  expect((await call('/metrics', { key: null })).status).toBe(401);
  expect((await call('/v1/admin/audit', { json: { dataset, table: 'nothing' } })).status).toBe(404);
});

describe('with a queue bound', () => {
  const queued = useWorker({}, { queue: true });

  test('the cron trigger hands due lanes to its consumers', async ({ dataset }) => {
    await queued(`/v1/datasets/${dataset}/tables/m/rows`, { json: { timestamp: at(1) } });
    await queued.fireCron();
    await expect
      .poll(async () =>
        (await queued(`/v1/datasets/${dataset}/query`, { json: { tableName: 'm' } })).headers.get(
          'x-timestore-freshness-mode',
        ),
      )
      .toBe('replica-only');
  });
});
