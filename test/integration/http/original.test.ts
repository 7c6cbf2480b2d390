import { describe, expect, test } from 'vitest';
import { newDataset } from '../support.ts';
import { useWorker } from './worker.ts';

const call = useWorker();

const minute = (n: number) => `2026-05-01T10:${String(n).padStart(2, '0')}:00.000Z`;

const rows = [
  { timestamp: minute(0), city: 'Bern', v: 1, n: 1, ok: true, seen: minute(30) },
  { timestamp: minute(1), city: 'Zug', v: 2, n: 2, ok: false, seen: minute(31) },
  { timestamp: minute(2), city: 'Bern', v: 3, n: 3, ok: true, seen: minute(32) },
  { timestamp: minute(3), city: 'Genf', v: null, n: 4, ok: null, seen: null },
];

const fields = [
  { name: 'timestamp', type: 'timestamp' },
  { name: 'city', type: 'string' },
  { name: 'v', type: 'double' },
  { name: 'n', type: 'integer' },
  { name: 'ok', type: 'boolean' },
  { name: 'seen', type: 'timestamp' },
];

/** As the client of that system sends them. */
async function ingest(dataset: string, key: Record<string, string>, sent: object[], more: object = {}) {
  const answer = await call(`/datasets/${dataset}/ingest`, {
    json: {
      datasetName: null,
      storageTargetId: 'st-1',
      actor: { id: 'loader', scopes: [] },
      schema: { fields, evolution: { defaults: null, backfill: true } },
      partition: { key, attributes: null, timeRange: { start: '2026-05-01', end: '2026-05-02T00:00' } },
      rows: sent,
      ...more,
    },
  });
  expect(await answer.json()).toMatchObject({ accepted: sent.length });
  expect(answer.status).toBe(202);
}

const day = { start: '2026-05-01T00:00:00Z', end: '2026-05-02T00:00:00Z' };

async function ask(dataset: string, body: object) {
  const answer = await call(`/datasets/${dataset}/query`, { json: { timeRange: day, ...body } });
  const text = await answer.text();
  expect([answer.status, text]).toEqual([200, text]);
  return JSON.parse(text) as { rows: Record<string, unknown>[]; columns: string[]; mode: string; warnings: string[] };
}

async function refused(dataset: string, body: object) {
  const answer = await call(`/datasets/${dataset}/query`, { json: { timeRange: day, ...body } });
  return [answer.status, ((await answer.json()) as { detail: string }).detail];
}

async function flush(dataset: string, table = 'records') {
  expect((await call('/v1/admin/flush', { json: { dataset, table } })).status).toBe(200);
}

describe.each(['hot', 'half hot', 'flushed'])('on the routes without version, %s', (state) => {
  async function filled() {
    const dataset = newDataset();
    await ingest(dataset, { site: 'north', rank: '2', since: '2026-01-01' }, rows.slice(0, 2));
    if (state === 'half hot') await flush(dataset);
    await ingest(dataset, { site: 'south', rank: '10', since: '2026-03-01T00:00:00Z' }, rows.slice(2));
    if (state === 'flushed') await flush(dataset);
    return dataset;
  }

  test('comparisons by column find what they find there', async () => {
    const dataset = await filled();
    const found = async (columns: object) =>
      (await ask(dataset, { columns: ['n'], filters: { columns } })).rows.map(({ n }) => n);
    expect(await found({ city: { type: 'string', eq: 'Bern' } })).toEqual([1, 3]);
    expect(await found({ city: { eq: 'Zug' } })).toEqual([2]);
    expect(await found({ city: { type: 'string', in: ['Zug', 'Genf'] } })).toEqual([2, 4]);
    expect(await found({ city: { type: 'string', gt: 'Bern', lte: 'Genf' } })).toEqual([4]);
    expect(await found({ v: { type: 'number', gte: 2 } })).toEqual([2, 3]);
    expect(await found({ v: { type: 'number', gt: 1, lt: 3 } })).toEqual([2]);
    expect(await found({ n: { type: 'number', in: [1, 4, 7] }, v: { type: 'number', lte: 9 } })).toEqual([1]);
    expect(await found({ v: { type: 'string', eq: '3' }, n: { eq: '3' } })).toEqual([3]);
    expect(await found({ ok: { type: 'boolean', eq: false } })).toEqual([2]);
    expect(await found({ ok: { type: 'boolean', in: [true, false] } })).toEqual([1, 2, 3]);
    expect(await found({ ok: { type: 'number', eq: 1 } })).toEqual([1, 3]);
    expect(await found({ seen: { type: 'timestamp', gt: minute(30), lte: '2026-05-01T12:32:00+02:00' } })).toEqual([
      2, 3,
    ]);
    expect(await found({ seen: { type: 'timestamp', in: [minute(31), minute(32)], eq: minute(31) } })).toEqual([2]);
    expect(await found({ seen: { type: 'timestamp', gte: '2026-05-02' } })).toEqual([]);
  });

  test('entries of the partition key are compared as text, numbers or times', async () => {
    const dataset = await filled();
    const found = async (partitionKey: object) =>
      (await ask(dataset, { columns: ['n'], filters: { partitionKey } })).rows.map(({ n }) => n);
    expect(await found({ site: ['north', 'west'] })).toEqual([1, 2]);
    expect(await found({ site: 'south' })).toEqual([3, 4]);
    expect(await found({ site: { type: 'string', eq: 'south' } })).toEqual([3, 4]);
    expect(await found({ site: { in: ['south'], eq: 'north' } })).toEqual([]);
    expect(await found({ rank: { type: 'number', gt: 2 } })).toEqual([3, 4]);
    expect(await found({ rank: { type: 'number', in: [2, 3] } })).toEqual([1, 2]);
    expect(await found({ rank: { type: 'number', gte: 2, lt: 10, eq: 2 } })).toEqual([1, 2]);
    expect(await found({ since: { type: 'timestamp', gte: '2026-02-01T00:00:00Z' } })).toEqual([3, 4]);
    expect(await found({ since: { type: 'timestamp', in: ['2026-01-01T00:00:00Z'] } })).toEqual([1, 2]);
    expect(await found({ site: { type: 'number', gt: 0 } })).toEqual([]);
    expect(await found({ nowhere: { type: 'number', lt: 0 } })).toEqual([]);
    expect(await found({ nowhere: { type: 'string', lt: 'z' } })).toEqual([]);
  });

  test('aggregations have its names, and columns are what they are grouped by', async () => {
    const dataset = await filled();
    const aggregations = [
      { fn: 'avg', column: 'v' },
      { fn: 'min', column: 'v' },
      { fn: 'max', column: 'v', alias: 'top' },
      { fn: 'sum', column: 'n', alias: null },
      { fn: 'median', column: 'n' },
      { fn: 'count' },
      { fn: 'count', column: 'v' },
      { fn: 'count_distinct', column: 'city' },
      { fn: 'percentile', column: 'n', percentile: 0.75 },
      { fn: 'percentile', column: 'n', percentile: 0.999, alias: 'most' },
    ];
    const all = await ask(dataset, { downsample: { intervalUnit: 'hour', aggregations } });
    expect([all.mode, all.columns]).toEqual([
      'downsampled',
      [
        'timestamp',
        'avg_v',
        'min_v',
        'top',
        'sum_n',
        'median_n',
        'count',
        'count_v',
        'count_distinct_city',
        'p75_n',
        'most',
      ],
    ]);
    expect(all.rows).toEqual([
      {
        timestamp: '2026-05-01T10:00:00.000Z',
        avg_v: 2,
        min_v: 1,
        top: 3,
        sum_n: 10,
        median_n: 2.5,
        count: 4,
        count_v: 3,
        count_distinct_city: 3,
        p75_n: 3.25,
        most: expect.closeTo(3.997, 9),
      },
    ]);
    const groups = await ask(dataset, {
      columns: ['timestamp', 'city', 'city'],
      downsample: { intervalUnit: 'day', aggregations: [{ fn: 'count' }] },
      limit: null,
    });
    expect(groups.rows).toEqual([
      { timestamp: '2026-05-01T00:00:00.000Z', city: 'Bern', count: 2 },
      { timestamp: '2026-05-01T00:00:00.000Z', city: 'Genf', count: 1 },
      { timestamp: '2026-05-01T00:00:00.000Z', city: 'Zug', count: 1 },
    ]);
    // By the minute, unless it is said otherwise.
    const minutes = await ask(dataset, { downsample: { aggregations: [{ fn: 'sum', column: 'n' }] }, limit: 2 });
    expect(minutes.rows).toEqual([
      { timestamp: minute(0), sum_n: 1 },
      { timestamp: minute(1), sum_n: 2 },
    ]);
  });

  test('the end of the time range belongs to it, and times are what JavaScript takes', async () => {
    const dataset = await filled();
    const found = async (timeRange: object) =>
      (await ask(dataset, { timeRange, columns: ['n'] })).rows.map(({ n }) => n);
    expect(await found({ start: minute(1), end: minute(2) })).toEqual([2, 3]);
    expect(await found({ start: minute(1), end: minute(1) })).toEqual([2]);
    expect(await found({ start: '2026-05-01', end: '2026-05-01T10:01' })).toEqual([1, 2]);
    expect(await found({ start: '2026-04-30', end: '2026-05-01' })).toEqual([]);
    expect(await found({ start: Date.parse(minute(2)), end: Date.parse(minute(3)) })).toEqual([3, 4]);
    const own = await call(`/v1/datasets/${dataset}/query`, {
      json: { tableName: 'records', timeRange: { start: minute(1), end: minute(2) } },
    });
    expect(((await own.json()) as { rows: object[] }).rows).toHaveLength(1);
  });

  test('rows have their timestamp, and null is the same as absent', async () => {
    const dataset = await filled();
    const some = await ask(dataset, { columns: ['v', 'city', 'v'], limit: 1 });
    expect([some.columns, some.rows]).toEqual([
      ['v', 'city', 'timestamp'],
      [{ v: 1, city: 'Bern', timestamp: minute(0) }],
    ]);
    const none = { columns: null, filters: null, downsample: null, limit: null, tableName: null };
    const all = await ask(dataset, { ...none, timestampColumn: 'timestamp' });
    expect([all.rows, all.warnings]).toEqual([rows, []]);
    expect((await ask(dataset, { columns: [], filters: { partitionKey: null, columns: null } })).rows).toEqual(rows);
  });

  test('what /v1 takes is taken too', async () => {
    const dataset = await filled();
    const found = await ask(dataset, {
      tableName: 'records',
      columns: ['n'],
      orderBy: [{ column: 'n', direction: 'desc' }],
      limit: 2,
      filters: { columns: [{ column: 'city', op: 'ne', value: 'Genf' }] },
    });
    expect(found.rows.map(({ n }) => n)).toEqual([3, 2]);
    const mixed = await ask(dataset, {
      downsample: {
        intervalUnit: 'hour',
        groupBy: ['city'],
        aggregations: [{ function: 'percentile', column: 'n', percentile: 50 }],
      },
    });
    expect(mixed.rows[0]).toEqual({ timestamp: '2026-05-01T10:00:00.000Z', city: 'Bern', p50_n: 2 });
  });
});

test('a query that names no table is of records, else of the only one', async () => {
  const dataset = newDataset();
  expect(await refused(dataset, {})).toEqual([404, `Table records not found in dataset ${dataset}.`]);
  await ingest(dataset, {}, rows.slice(0, 1), { tableName: 'climate' });
  expect((await ask(dataset, {})).rows).toHaveLength(1);
  await ingest(dataset, {}, rows.slice(0, 2), { tableName: 'air' });
  expect(await refused(dataset, {})).toEqual([
    400,
    expect.stringMatching(/^tableName: .* has no table records but several others\. Name one of air, climate\.$/),
  ]);
  await ingest(dataset, {}, rows.slice(0, 3), { tableName: null });
  expect((await ask(dataset, {})).rows).toHaveLength(3);
  expect((await ask(dataset, { tableName: 'air' })).rows).toHaveLength(2);
});

test('the table may have its time in another column', async () => {
  const dataset = newDataset();
  await ingest(dataset, {}, [{ at: minute(0), x: 1 }], { schema: { fields: [], timestampColumn: 'at' } });
  const found = await ask(dataset, { timestampColumn: 'timestamp', columns: ['x'] });
  expect(found.rows).toEqual([{ x: 1, at: minute(0) }]);
});

test('a query that neither side can answer is rejected, with its position', async () => {
  const dataset = newDataset();
  await ingest(dataset, {}, rows);
  const columns = (of: object) => refused(dataset, { filters: { columns: of } });
  expect(await columns({ v: { type: 'number' } })).toEqual([
    400,
    expect.stringContaining('comparison is required: eq, in'),
  ]);
  expect(await columns({ v: { type: 'number', eq: '1' } })).toEqual([400, expect.stringContaining('sent as a number')]);
  expect(await columns({ ok: { type: 'boolean', gt: true } })).toEqual([
    400,
    expect.stringContaining('eq and in only'),
  ]);
  expect(await columns({ city: { type: 'number', eq: 1 } })).toEqual([
    400,
    expect.stringContaining('city takes a string'),
  ]);
  expect(await columns({ city: { type: 'timestamp', eq: minute(0) } })).toEqual([
    400,
    expect.stringContaining('city has type string'),
  ]);
  expect(await columns({ nothing: { eq: 'x' } })).toEqual([400, expect.stringContaining('has no field nothing')]);
  expect(await columns({ seen: { type: 'timestamp', eq: 'soon' } })).toEqual([400, expect.stringContaining('soon')]);
  const partitionKey = { since: { type: 'timestamp', eq: 'soon' } };
  expect(await refused(dataset, { filters: { partitionKey } })).toEqual([400, expect.stringContaining('soon')]);
  const fn = (each: object) => refused(dataset, { downsample: { aggregations: [each] } });
  expect(await fn({ fn: 'percentile', column: 'v' })).toEqual([400, expect.any(String)]);
  expect(await fn({ fn: 'percentile', column: 'v', percentile: 95 })).toEqual([400, expect.any(String)]);
  expect(await fn({ fn: 'avg' })).toEqual([400, expect.any(String)]);
  // On the routes with a version, its form is unknown.
  const own = await call(`/v1/datasets/${dataset}/query`, {
    json: { tableName: 'records', filters: { columns: { v: { type: 'number', eq: 1 } } } },
  });
  expect(own.status).toBe(400);
});
