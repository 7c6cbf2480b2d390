import { expect, test } from 'vitest';
import type { RowFilter } from '../../../src/keys/key.ts';
import { queryTable } from '../../../src/query/query.ts';
import { type QueryBody, queryBody } from '../../../src/query/request.ts';
import { querySql, sqlBody } from '../../../src/query/sql/query-sql.ts';
import { at, clickhouseAt, flush, newDataset, newInstance, send, textOf } from '../support.ts';

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
      ...{ intervalUnit: 'minute', intervalSize: 1 },
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
