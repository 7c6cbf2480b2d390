import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { createTable } from '../../../src/catalog/create-table.ts';
import { setUpLanes } from '../../../src/catalog/provision-lanes.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import type { RowFilter } from '../../../src/keys/key.ts';
import { queryTable } from '../../../src/query/execution/query-table.ts';
import { type QueryBody, queryBody } from '../../../src/query/request/parse.ts';
import { querySql, sqlBody } from '../../../src/query/sql/run-sql.ts';
import type { Field } from '../../../src/schema/types.ts';
import { at, clickhouseAt, flush, newDataset, newInstance, onStored, send, tableOf, textOf } from '../support.ts';

const ctx = newInstance();
const readerOf = (rowFilter: RowFilter) => ({ reads: () => true, rowFilter });
const ofA = readerOf({ column: 'tenant', value: 'a' });
const asked = { format: 'json' as const, signal: new AbortController().signal };

const rows = (from: number) =>
  ['a', 'b', null, "a' OR 1 --", 'A', 'a'].map((tenant, i) => ({
    timestamp: at(from + i),
    tenant,
    v: from + i,
    ok: true,
  }));

type Answer = { rows: Record<string, unknown>[]; cursor?: string };

async function ask(
  dataset: string,
  body: Partial<QueryBody> | object = {},
  reader = ofA,
  instance = ctx,
): Promise<Answer> {
  const sent = queryBody.parse({ tableName: 'm', ...body });
  return JSON.parse(await textOf(await queryTable(instance, reader, dataset, sent, asked)));
}

async function sql(dataset: string, text: string, reader = ofA): Promise<Answer> {
  return JSON.parse(await textOf(await querySql(ctx, reader, sqlBody.parse({ sql: text, dataset }), asked)));
}

/** Some flushed, some not. */
async function filled(): Promise<string> {
  const dataset = newDataset();
  await send(ctx, dataset, rows(0));
  await flush(ctx, dataset);
  await send(ctx, dataset, rows(10));
  return dataset;
}

test('a key with a row filter reads the rows that have its value, stored and buffered, whatever it asks for', async () => {
  const dataset = await filled();
  const values = async (body: object) => (await ask(dataset, body)).rows.map(({ v }) => v);
  expect(await values({})).toEqual([0, 5, 10, 15]);
  expect(await values({ columns: ['v'] })).toEqual([0, 5, 10, 15]);
  const or = [
    {
      or: [
        { column: 'tenant', op: 'eq', value: 'b' },
        { column: 'v', op: 'gte', value: 0 },
      ],
    },
  ];
  expect(await values({ filters: { columns: or } })).toEqual([0, 5, 10, 15]);
  expect(await values({ filters: { columns: [{ column: 'tenant', op: 'isNull' }] } })).toEqual([]);
  const pages: unknown[] = [];
  let cursor: string | undefined;
  do {
    const page = await ask(dataset, {
      limit: 1,
      orderBy: [{ column: 'v', direction: 'desc' }],
      ...(cursor && { cursor }),
    });
    pages.push(...page.rows.map(({ v }) => v));
    cursor = page.cursor ?? undefined;
  } while (cursor !== undefined);
  expect(pages).toEqual([15, 10, 5, 0]);
  const downsampled = await ask(dataset, {
    downsample: {
      intervalUnit: 'minute',
      intervalSize: 1,
      aggregations: [{ column: 'v', function: 'sum', as: 's' }],
    },
  });
  expect(downsampled.rows).toMatchObject([{ s: 30 }]);
});

test('a cursor of one filter is not one of another', async () => {
  const dataset = await filled();
  const { cursor } = await ask(dataset, { limit: 1 });
  await expect(ask(dataset, { limit: 1, cursor }, readerOf({ column: 'tenant', value: 'b' }))).rejects.toMatchObject({
    code: 'invalid-request',
  });
});

test.each([
  ['SELECT sum(v) AS s, count() AS c FROM m', { s: 30, c: 4 }],
  ["SELECT count() AS c FROM m WHERE tenant = 'b' OR 1", { c: 4 }],
  ['SELECT count() AS c FROM m AS x INNER JOIN m AS y ON x.timestamp = y.timestamp', { c: 4 }],
  ['WITH t AS (SELECT * FROM m) SELECT count() AS c FROM t', { c: 4 }],
  ['SELECT count() AS c FROM m WHERE v IN (SELECT v FROM m) OR v IN m', undefined],
  ['SELECT (SELECT count() FROM m) AS c', { c: 4 }],
  ["SELECT countIf(tenant != 'a' OR tenant IS NULL) AS c FROM m", { c: 0 }],
  ['SELECT count() AS c FROM (SELECT 1 FROM m UNION ALL SELECT 2 FROM m)', { c: 8 }],
])('SQL sees its rows only: %s', async (text, expected) => {
  const dataset = await filled();
  const answer = sql(dataset, text);
  if (expected === undefined) await answer.catch(() => undefined);
  else expect((await answer).rows).toEqual([expected]);
});

test.each<[string, RowFilter, number[]]>([
  ['a number', { column: 'v', value: 10 }, [10]],
  ['a boolean', { column: 'ok', value: false }, []],
  ['a text that looks like SQL', { column: 'tenant', value: "a' OR 1 --" }, [3, 13]],
])('the value may be %s', async (_, rowFilter, expected) => {
  const dataset = await filled();
  expect((await ask(dataset, {}, readerOf(rowFilter))).rows.map(({ v }) => v)).toEqual(expected);
  expect((await sql(dataset, 'SELECT v FROM m ORDER BY v', readerOf(rowFilter))).rows.map(({ v }) => v)).toEqual(
    expected,
  );
});

test.each<[string, RowFilter]>([
  ['that it has not', { column: 'nobody', value: 'a' }],
  ['of another type', { column: 'v', value: 'a' }],
  ['that are times', { column: 'timestamp', value: at(0) }],
  ['that every table has', { column: '_seq', value: 1 }],
])('a table is not read by columns %s', async (_, rowFilter) => {
  const dataset = await filled();
  await expect(ask(dataset, {}, readerOf(rowFilter))).rejects.toMatchObject({ code: 'forbidden' });
  await expect(sql(dataset, 'SELECT 1 AS x FROM m', readerOf(rowFilter))).rejects.toMatchObject({ code: 'forbidden' });
});

test('the buffer alone answers with the rows of the key only', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, rows(0));
  const down = newInstance(clickhouseAt('http://127.0.0.1:9'));
  expect((await ask(dataset, { timeRange: { start: at(0) } }, ofA, down)).rows.map(({ v }) => v)).toEqual([0, 5]);
});

test('what an answer says of itself counts no rows that are kept from the key', async () => {
  const dataset = await filled();
  const ofNobody = readerOf({ column: 'tenant', value: 'nobody' });
  const body = queryBody.parse({ tableName: 'm', timeRange: { start: at(0) } });
  const down = newInstance(clickhouseAt('http://127.0.0.1:9'));
  await send(ctx, dataset, rows(20));
  const hidden = newDataset();
  await send(ctx, hidden, rows(0));
  for (const answer of [
    await queryTable(ctx, ofNobody, dataset, body, asked),
    await queryTable(ctx, ofNobody, dataset, { ...body, format: 'csv' }, { ...asked, format: 'csv' }),
    await querySql(ctx, ofNobody, sqlBody.parse({ sql: 'SELECT * FROM m', dataset }), asked),
    await queryTable(down, ofNobody, hidden, body, asked),
  ]) {
    expect(answer.notes.streaming).toMatchObject({ rows: null, latestTimestamp: null });
    const text = await textOf(answer);
    if (answer.format !== 'json') continue;
    expect(JSON.parse(text)).toMatchObject({
      rows: [],
      statistics: { rows: 0, rowsRead: null, tailRows: null },
      streaming: { rows: null, latestTimestamp: null },
    });
  }
});

/** Expressions that fail for the values of rows that are kept from the caller, and for no others. */
const attacks = [
  'intDiv(1, if(balance > 1000000, 0, 1)) > 5',
  'length(repeat(note, if(balance > 1000000, 100000000, 1))) = 3',
  "toUInt8(if(balance > 1000000, 'x', '1')) = 3",
  'factorial(if(balance > 1000000, 100, 1)) = 3',
  "toDate(if(balance > 1000000, 'no date', '2026-05-01')) = '2026-05-02'",
  "accurateCast(grade, 'UInt8') = 3",
  "CAST(grade AS Enum8('a' = 1)) = 3",
];
/** Where an expression can stand. */
const places = [
  (attack: string) => `SELECT count() AS c FROM m WHERE ${attack}`,
  (attack: string) => `SELECT countIf(${attack}) AS c FROM m`,
  (attack: string) => `SELECT sum(c) AS c FROM (SELECT ${attack} AS c FROM m)`,
  (attack: string) => `SELECT note FROM m WHERE ${attack} ORDER BY balance LIMIT 1`,
  (attack: string) => `SELECT note FROM m WHERE ${attack} ORDER BY timestamp DESC LIMIT 1`,
  (attack: string) => `SELECT any(note) AS c FROM m GROUP BY grade, balance, note, timestamp HAVING ${attack}`,
  (attack: string) => `SELECT note FROM m ORDER BY (${attack}) DESC, balance LIMIT 0`,
  (attack: string) => `SELECT note FROM m QUALIFY row_number() OVER (ORDER BY (${attack})) = 0`,
  (attack: string) => `SELECT note FROM m WHERE balance IN (SELECT balance FROM m WHERE ${attack})`,
  (attack: string) => `SELECT DISTINCT note FROM (SELECT DISTINCT * FROM m) WHERE ${attack}`,
  (attack: string) => `SELECT note FROM (SELECT * FROM m UNION ALL SELECT * FROM m) WHERE ${attack} LIMIT 1 BY note`,
  (attack: string) =>
    `WITH t AS (SELECT * FROM m) SELECT a.note FROM t AS a JOIN t AS b ON a.balance = b.balance WHERE ${attack.replace(/balance|note|grade|timestamp/g, 'b.$&')}`,
  (attack: string) =>
    `SELECT a.note FROM m AS a LEFT JOIN m AS b ON a.balance = b.balance AND ${attack.replace(/balance|note|grade|timestamp/g, 'b.$&')} WHERE b.balance = 7`,
];

const tenant = 'tenant-with-a-name-of-23';
const mine = readerOf({ column: 'tenant', value: tenant });

/** A table with rows of one tenant, stored and buffered, and with those of another, where they are wanted. */
async function shared(keyFields: string[], hasOthers: boolean): Promise<string> {
  const dataset = newDataset();
  const fields: Field[] = [
    { name: 'timestamp', type: 'timestamp' },
    ...(['tenant', 'note'] as const).map((name): Field => ({ name, type: 'string' })),
    { name: 'balance', type: 'double' },
    { name: 'grade', type: 'integer' },
  ];
  const schema = { version: 1, timestampColumn: 'timestamp', keyFields, fields };
  await setUpLanes(ctx, await createTable(ctx, { dataset, name: 'm', window: 'day', lanes: 1, schema }));
  const others = [
    { timestamp: at(3), tenant: 'another-tenant-than-that', balance: 7_654_321, note: '', grade: 5_000_000 },
  ];
  await send(ctx, dataset, [{ timestamp: at(1), tenant, balance: 1, note: 'mine', grade: 1 }]);
  await flush(ctx, dataset);
  await send(ctx, dataset, [
    { timestamp: at(2), tenant, balance: 2, note: '7', grade: 1 },
    ...(hasOthers ? others : []),
  ]);
  if (!hasOthers) return dataset;
  const table = await tableOf(ctx, dataset);
  // So many that the part is wide: conditions are read one after the other there, the narrowest column first.
  await onStored(
    ctx,
    table,
    `INSERT INTO ${qualifiedName(table)} (_lane, _seq, _row, _received_at, timestamp, tenant, balance, note, grade)
     SELECT 0, 1, 1 + number, now64(3), '2026-05-01 10:00:02', 'another-tenant-than-that', 7654321 - number, randomPrintableASCII(100), 5000000 + number
       FROM numbers(200000)`,
  );
  return dataset;
}

describe.each([
  ['an ordinary table', []],
  ['a table in the order of what the expression looks at', ['grade']],
])('no expression of the caller sees a row that is kept from it, in %s', (_, keyFields) => {
  let dataset = '';
  let alone = '';

  beforeAll(async () => {
    [dataset, alone] = await Promise.all([shared(keyFields, true), shared(keyFields, false)]);
  });

  /** Rows in the order of their text, or why there are none. */
  const outcome = async (of: string, query: string) => {
    return await sql(of, query, mine).then(
      ({ rows: found }) => found.map((row) => JSON.stringify(row)).sort(),
      ({ code, message }) => `${code}: ${message}`,
    );
  };

  test.each(attacks)('%s', async (attack) => {
    for (const place of places) {
      const query = place(attack);
      const expected = /AS c FROM \(|AS c FROM m(?! GROUP)/.test(query) ? ['{"c":0}'] : [];
      expect([query, await outcome(dataset, query)]).toEqual([query, expected]);
    }
  });

  test('whatever is asked, the answer is that of a table without them', async () => {
    const number = fc.constantFrom(
      'balance',
      'grade',
      'toUnixTimestamp(timestamp)',
      'length(note)',
      'cityHash64(tenant)',
    );
    const text = fc.oneof(
      fc.constantFrom('note', 'tenant'),
      number.map((of) => `toString(${of})`),
    );
    const limit = fc.constantFrom(0, 1, 2, 3, 255, 1_000_000, 5_000_001, 7_654_321);
    const value = fc.oneof(
      fc.tuple(number, limit).map(([of, n]) => `intDiv(10, toInt64(${of} - ${n}))`),
      fc.tuple(number, limit).map(([of, n]) => `modulo(10, toInt64(${of} - ${n}))`),
      fc.tuple(number, limit).map(([of, n]) => `length(range(toUInt64(if(${of} > ${n}, 1000000000, 1))))`),
      fc.tuple(number, limit).map(([of, n]) => `factorial(if(${of} > ${n}, 100, 1))`),
      fc
        .tuple(number, fc.constantFrom('UInt8', 'Int8', 'UInt16', 'Int32'))
        .map(([of, type]) => `accurateCast(${of}, '${type}')`),
      number.map((of) => `toDecimal32(${of}, 8)`),
      text.map((of) => `toInt32(${of})`),
      text.map((of) => `toDateTime(${of})`),
      text.map((of) => `length(toUUID(${of}))`),
      text.map((of) => `length(repeat(${of}, 100000))`),
      number,
    );
    const condition = fc
      .tuple(value, fc.constantFrom('=', '>', '<', '!='), limit)
      .map(([of, op, n]) => `${of} ${op} ${n}`);
    const query = fc.tuple(fc.constantFrom(...places), condition).map(([place, attack]) => place(attack));
    await fc.assert(
      fc.asyncProperty(query, async (asked_for) => {
        expect([asked_for, await outcome(dataset, asked_for)]).toEqual([asked_for, await outcome(alone, asked_for)]);
      }),
      { numRuns: Number(process.env.ROW_FILTER_RUNS ?? 30), endOnFailure: true },
    );
  });
});
