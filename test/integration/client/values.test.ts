import { describe, expect, test } from 'vitest';
import { Timestore, TimestoreError } from '../../../src/client/index.ts';
import { useWorker } from '../http/worker.ts';
import { at, newDataset } from '../support.ts';

const call = useWorker();
const connect = () => new Timestore({ url: call.url(), key: 'local-admin' });

const fields = [
  { name: 'd', type: 'double' },
  { name: 'n', type: 'integer' },
  { name: 'j', type: 'json' },
  { name: 'tags', type: 'string[]' },
  { name: 'e', type: 'vector(2)' },
];

async function declared() {
  const client = connect();
  const dataset = newDataset();
  const body = { tableName: 'm', schema: { fields }, rows: [{ timestamp: at(0), d: 0.5 }] };
  await client.call('POST', `/v1/datasets/${dataset}/ingest`, { body });
  return { client, dataset, table: client.table(dataset, 'm') };
}

async function collect(rows: AsyncIterable<object>): Promise<object[]> {
  const all: object[] = [];
  for await (const row of rows) all.push(row);
  return all;
}

const doubles = [
  2 ** 53,
  2 ** 53 + 2,
  2 ** 60,
  2 ** 63,
  2 ** 64,
  1.2345678901234567e19,
  2 ** 63 + 2 ** 62,
  1e20,
  9.99e20,
  1e21,
  1.7976931348623157e308,
  5e-324,
  0.1,
  -0,
  Number.NaN,
  Infinity,
  -Infinity,
  -(2 ** 53) - 2,
  -1.2345678901234567e19,
  2251799813685248.5,
];
const integers = [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n), -(2n ** 53n) - 1n];

describe('numbers are of the type of their column', () => {
  test.each(['hot', 'flushed'])('%s, in rows and as they come, in queries and SQL', async (state) => {
    const { client, dataset, table } = await declared();
    await table.write(doubles.map((d, i) => ({ timestamp: at(i + 1), d, n: integers[i] })));
    if (state === 'flushed') await client.call('POST', '/v1/admin/flush', { body: { dataset, table: 'm' } });
    const all: { d: unknown; n: unknown }[][] = [];
    all.push((await table.query({ columns: ['d', 'n'], timeRange: { start: at(1) } })).rows as never);
    const streamed: unknown[] = [];
    for await (const row of table.rows({ columns: ['d', 'n'], timeRange: { start: at(1) } })) streamed.push(row);
    all.push(streamed as never);
    const text = "SELECT d, n FROM m WHERE timestamp > '2026-05-01 10:00:00.000' ORDER BY timestamp";
    all.push((await client.sql(text, { dataset })).rows as never);
    const sql: unknown[] = [];
    for await (const row of client.sqlRows(text, { dataset })) sql.push(row);
    all.push(sql as never);
    for (const rows of all) {
      expect(rows.map(({ d }) => d)).toEqual(doubles);
      expect(rows.map(({ n }) => n)).toEqual(doubles.map((_, i) => integers[i] ?? null));
    }
  });

  test('nested too: lists, tuples, maps, 128 bits, decimals', async () => {
    const { client, dataset } = await declared();
    const text = `SELECT [12345678901234567890., 1.] AS list, (9007199254740993, 9007199254740993.) AS pair,
      CAST((12345678901234567890., 1), 'Tuple(\`a, b\` Float64, n Int64)') AS named,
      map('x', 2e19) AS byName, toInt128('170141183460469231731687303715884105727') AS wide,
      toDecimal128('12345678901234567.890', 3) AS price, [toDecimal32('1.50', 2)] AS prices, toNullable(1e20) AS maybe,
      toUInt64('18446744073709551615') AS top, CAST(NULL, 'Nullable(Float64)') AS none FROM m LIMIT 1`;
    const wanted = {
      list: [1.2345678901234567e19, 1],
      pair: [9007199254740993n, 9007199254740992],
      named: { 'a, b': 1.2345678901234567e19, n: 1 },
      byName: { x: 2e19 },
      wide: 2n ** 127n - 1n,
      price: '12345678901234567.89',
      prices: ['1.5'],
      maybe: 1e20,
      top: 2n ** 64n - 1n,
      none: null,
    };
    const { rows } = await client.sql(text, { dataset });
    const [streamed] = await collect(client.sqlRows(text, { dataset }));
    for (const row of [rows[0], streamed]) expect(row).toEqual(wanted);
  });

  test('so that a whole number of any size is the same in either type', async () => {
    const { table } = await declared();
    await table.write([{ timestamp: at(1), n: 2 ** 60, d: 2n ** 60n }]);
    const { rows: both } = await table.query({ columns: ['n', 'd'], timeRange: { start: at(1) } });
    expect(both).toEqual([{ n: 2n ** 60n, d: 2 ** 60 }]);
    await expect(table.write([{ timestamp: at(1), n: 2 ** 64 }])).rejects.toMatchObject({
      code: 'rows-refused',
      problem: { errors: [{ index: 0, field: 'n' }] },
    });
    // A new field of doubles stays one.
    await table.write([{ timestamp: at(2), fresh: 2 ** 60 }]);
    const { rows } = await table.query({ columns: ['fresh'], timeRange: { start: at(2) } });
    expect(rows).toEqual([{ fresh: 2 ** 60 }]);
  });
});

test('integers beyond 2^53 and dates go into filters, time ranges and parameters', async () => {
  const { client, dataset, table } = await declared();
  await table.write(integers.map((n, i) => ({ timestamp: at(i + 1), n, d: 2 ** 60 })));
  const found = async (...columns: never[]) =>
    (await table.query({ columns: ['n'], filters: { columns } })).rows.map(({ n }) => n);
  for (const n of integers) {
    expect(await found({ column: 'n', op: 'eq', value: n } as never)).toEqual([n]);
    const { rows } = await client.sql('SELECT n FROM m WHERE n = {n:Int64}', { dataset, params: { n } });
    expect(rows).toEqual([{ n }]);
  }
  expect(await found({ or: [{ column: 'n', op: 'in', value: integers.slice(0, 2) }] } as never)).toEqual(
    integers.slice(0, 2),
  );
  const listed = await client.sql('SELECT n FROM m WHERE n IN {n:Array(Int64)} ORDER BY timestamp', {
    dataset,
    params: { n: [...integers.slice(0, 2), 7n] },
  });
  const texts = await client.sql(
    'SELECT {s:Array(Tuple(String, Nullable(Int64)))} AS s, {d:Array(Float64)} AS d FROM m LIMIT 1',
    {
      dataset,
      params: { s: "[('a',1)]", d: [2 ** 60, 0.5, Number.NaN] },
    },
  );
  expect(texts.rows).toEqual([{ s: [['a', 1]], d: [2 ** 60, 0.5, Number.NaN] }]);
  expect(listed.rows).toEqual(integers.slice(0, 2).map((n) => ({ n })));
  expect(await found({ column: 'd', op: 'eq', value: 2 ** 60 } as never)).toHaveLength(5);
  expect(
    (await client.sql('SELECT count() AS c FROM m WHERE d = {d:Float64}', { dataset, params: { d: 2 ** 60 } })).rows,
  ).toEqual([{ c: 5 }]);
  const day = { start: new Date(at(1)), end: new Date(at(3)) };
  expect((await table.query({ timeRange: day })).rows).toHaveLength(2);
  expect(await found({ column: 'timestamp', op: 'between', value: [day.start, day.end] } as never)).toHaveLength(3);
  const late = new Date('2026-05-01T10:00:02.500Z');
  for (const [type, since] of [
    ['DateTime64(3)', late],
    ['DateTime64(9)', late],
    ['DateTime', new Date(at(2))],
    ["DateTime64(3, 'UTC')", late],
    ['Nullable(DateTime64(6))', late],
  ] as const) {
    const { rows } = await client.sql(`SELECT count() AS c FROM m WHERE timestamp > {since:${type}}`, {
      dataset,
      params: { since },
    });
    expect([type, rows]).toEqual([type, [{ c: 3 }]]);
  }
  const times = await client.sql('SELECT count() AS c FROM m WHERE timestamp IN {at:Array(DateTime64(3))}', {
    dataset,
    params: { at: [new Date(at(1)), new Date(at(4))] },
  });
  expect(times.rows).toEqual([{ c: 2 }]);
});

describe('what JSON cannot carry', () => {
  class Own {
    readonly x = 1;
  }
  test.each<[string, object, object]>([
    ['a typed array is its list', { e: Float32Array.of(0.5, 2) }, { e: [0.5, 2] }],
    ['a Set is a list', { tags: new Set(['a', 'b']) }, { tags: ['a', 'b'] }],
    ['a Map of texts is an object', { j: new Map([['a', 2n ** 63n]]) }, { j: '{"a":9223372036854775808}' }],
    ['an object of a class is its fields', { j: new Own() }, { j: '{"x":1}' }],
    ['what has toJSON is that', { j: { toJSON: () => [1] } }, { j: '[1]' }],
    ['a boxed number is a number', { d: new Number(0.25) }, { d: 0.25 }],
    ['undefined is no field', { d: 1, tags: undefined }, { d: 1 }],
    ['-0 keeps its sign', { d: -0 }, { d: -0 }],
    ['no integer has a sign at 0', { n: -0 }, { n: 0 }],
  ])('%s', async (_, sent, wanted) => {
    const { table } = await declared();
    await table.write([{ timestamp: new Date(at(1)), ...sent }]);
    const { rows } = await table.query({ timeRange: { start: at(1) }, columns: Object.keys(wanted) });
    expect(rows).toEqual([wanted]);
  });

  const cyclic: Record<string, unknown> = { a: 1 };
  cyclic.self = { cyclic };
  test.each<[string, unknown, string]>([
    ['an invalid Date', new Date('never'), 'the Date is invalid'],
    ['a nested invalid Date', { at: [new Date('never')] }, 'j.at[0]: the Date is invalid'],
    ['a function', () => 1, 'a function is not a value'],
    ['a symbol', Symbol('x'), 'a symbol is not a value'],
    ['undefined in a list', [1, undefined], 'j[1]: undefined is not a value'],
    ['a place that was never filled', Array.from({ length: 2 }).fill(1, 0, 0), 'j[0]: undefined is not a value'],
    ['what contains itself', cyclic, 'j.self.cyclic: it contains itself'],
    ['a Map with other keys', new Map([[1, 2]]), 'the keys of a Map must be strings'],
    ['a regular expression', /x/, 'JSON cannot represent RegExp'],
    ['an error', new Error('x'), 'JSON cannot represent Error'],
    ['a promise', Promise.resolve(1), 'JSON cannot represent Promise'],
    ['a buffer', new ArrayBuffer(2), 'JSON cannot represent ArrayBuffer'],
    ['a name that is a symbol', { [Symbol('x')]: 1 }, 'symbols are not allowed as names'],
  ])('%s is refused before it is sent, with row and field', async (_, j, detail) => {
    let sent = 0;
    const client = new Timestore({
      url: call.url(),
      key: 'local-admin',
      fetch: async (...all) => {
        sent += 1;
        return await fetch(...all);
      },
    });
    const table = client.table('nowhere', 'm');
    const error = await table.write([{ timestamp: at(1) }, { timestamp: at(2), j }]).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(TimestoreError);
    expect(error).toMatchObject({
      code: 'rows-refused',
      retryable: false,
      message: expect.stringContaining('Row 1, field j cannot be sent'),
      problem: { errors: [{ index: 1, field: 'j', reason: 'not-sendable', detail }] },
    });
    const writer = table.writer();
    await expect(writer.add({ j })).rejects.toMatchObject({ code: 'rows-refused' });
    await writer.close();
    await expect(client.sql('SELECT 1', { params: { j } })).rejects.toMatchObject({ code: 'invalid-request' });
    await expect(
      table.query({ filters: { columns: [{ column: 'x', op: 'eq', value: j as never }] } }),
    ).rejects.toMatchObject({
      code: 'invalid-request',
      message: expect.stringContaining('filters.columns[0].value'),
    });
    expect(sent).toBe(0);
  });

  test.each([[null], [[1]], ['x'], [new Date(0)]])('%j is no row', async (row) => {
    await expect(
      connect()
        .table('nowhere', 'm')
        .write([row as never]),
    ).rejects.toMatchObject({ code: 'rows-refused' });
  });
});
