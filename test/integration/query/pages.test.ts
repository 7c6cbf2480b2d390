import { describe, expect } from 'vitest';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { queryTable } from '../../../src/query/execution/query-table.ts';
import { type Format, formatNames } from '../../../src/query/request/format.ts';
import { queryBody } from '../../../src/query/request/parse.ts';
import { test } from '../fixtures.ts';
import { at, everyone, flush, newDataset, newInstance, query, send, tableOf, textOf } from '../support.ts';

const ctx = newInstance();
const signal = new AbortController().signal;

type Sent = { timestamp: string; id: number; k: string | null };

/** Rows with equal times and equal, missing and odd sort keys. */
const rowsOf = (from: number, to: number): Sent[] =>
  Array.from({ length: to - from }, (_, i) => {
    const id = from + i;
    return { timestamp: at(id % 5), id, k: [null, 'a', "b'\\", 'ü', ''][id % 5] ?? null };
  });

async function pagesOf(
  dataset: string,
  body: object,
  between: (page: number) => Promise<unknown>,
): Promise<number[][]> {
  const pages: number[][] = [];
  let cursor: string | null | undefined;
  do {
    const answer = await query(ctx, dataset, { ...body, ...(cursor && { cursor }) });
    pages.push(answer.rows.map(({ id }) => Number(id)));
    expect(answer.columns).toEqual(['timestamp', 'id', 'k']);
    cursor = answer.cursor;
    await between(pages.length);
  } while (cursor !== null);
  return pages;
}

describe('pages are of the first one’s cut', () => {
  test.each<[string, object]>([
    ['in the order of time', {}],
    ['in another order', { orderBy: [{ column: 'k' }] }],
    [
      'in a falling order with nulls',
      {
        orderBy: [
          { column: 'k', direction: 'desc' },
          { column: 'id', direction: 'desc' },
        ],
      },
    ],
    ['by time falling', { orderBy: [{ column: 'timestamp', direction: 'desc' }] }],
  ])('%s, while rows and a field come and are flushed', async (_, order) => {
    const dataset = newDataset();
    await send(ctx, dataset, rowsOf(0, 20));
    await flush(ctx, dataset);
    await send(ctx, dataset, rowsOf(20, 40));
    const whole = (await query(ctx, dataset, { ...order, limit: 100 })).rows.map(({ id }) => Number(id));
    const pages = await pagesOf(dataset, { ...order, limit: 7 }, async (page) => {
      if (page % 2 === 0) await flush(ctx, dataset);
      await send(ctx, dataset, [{ timestamp: at(page), id: 1_000 + page, k: 'a', fresh: page }]);
    });
    expect(pages.flat()).toEqual(whole);
    expect(new Set(pages.flat()).size).toBe(40);
    expect(pages.map(({ length }) => length)).toEqual([7, 7, 7, 7, 7, 5]);
  });

  test('a last page that is full is known to be the last', async ({ dataset }) => {
    await send(ctx, dataset, rowsOf(0, 4));
    expect((await query(ctx, dataset, { limit: 4 })).cursor).toBeNull();
    expect((await query(ctx, dataset, { limit: 3 })).cursor).not.toBeNull();
  });

  test('whatever the format, the cursor is the same', async ({ dataset }) => {
    await send(ctx, dataset, rowsOf(0, 9));
    const cursors = await Promise.all(
      formatNames.map(async (format: Format) => {
        const answer = await queryTable(ctx, everyone, dataset, queryBody.parse({ tableName: 'm', limit: 4 }), {
          format,
          signal,
        });
        const text = await textOf(answer);
        return format === 'json' ? JSON.parse(text).cursor : answer.cursor;
      }),
    );
    expect(new Set(cursors).size).toBe(1);
    expect(cursors[0]).toMatch(/^c1\./);
  });

  test('a cursor goes with its own query, and is refused with any other', async ({ dataset }) => {
    await send(ctx, dataset, rowsOf(0, 9));
    const { cursor } = await query(ctx, dataset, { limit: 4 });
    for (const body of [
      { cursor, orderBy: [{ column: 'k' }] },
      { cursor, columns: ['id'] },
      { cursor, filters: { columns: [{ column: 'id', op: 'gt', value: 1 }] } },
      { cursor: 'c1.nonsense' },
      { cursor: `${cursor}x`.replace('c1.', 'c2.') },
    ]) {
      await expect(query(ctx, dataset, body)).rejects.toMatchObject({ code: 'invalid-request' });
    }
    // Of how many rows at a time nothing depends.
    expect((await query(ctx, dataset, { cursor, limit: 100 })).rows).toHaveLength(5);
  });

  test('a cut that the buffer has lost is refused, and not continued with less', async ({ dataset }) => {
    await send(ctx, dataset, rowsOf(0, 9));
    const { cursor } = await query(ctx, dataset, { limit: 4 });
    const table = await tableOf(ctx, dataset);
    await ctx.redis.del(ctx.keys.state(table, 0), ctx.keys.log(table, 0));
    await expect(query(ctx, dataset, { cursor, limit: 4 })).rejects.toMatchObject({ code: 'stale-read' });
  });

  test('pages of an eventual read are of no cut, and say so', async ({ dataset }) => {
    await send(ctx, dataset, rowsOf(0, 9));
    await flush(ctx, dataset);
    const first = await query(ctx, dataset, { limit: 4, consistency: 'eventual' });
    const second = await query(ctx, dataset, { limit: 9, cursor: first.cursor });
    expect([...first.rows, ...second.rows]).toHaveLength(9);
    expect(second.warnings).toEqual([expect.stringContaining('without a snapshot')]);
  });

  test('a sort key that is too long makes no cursor, and a warning', async ({ dataset }) => {
    await send(
      ctx,
      dataset,
      [1, 2].map((id) => ({ timestamp: at(id), id, k: 'x'.repeat(10_000) })),
    );
    const answer = await query(ctx, dataset, { limit: 1, orderBy: [{ column: 'k' }] });
    expect(answer).toMatchObject({ cursor: null, warnings: [expect.stringContaining('too long for a cursor')] });
  });
});

const refused: [body: object, code: string, words: string][] = [
  [{ limit: null }, 'invalid-request', 'requires the format NDJSON'],
  [{ orderBy: [{ column: 'none' }] }, 'invalid-request', 'no field none'],
  [{ orderBy: [{ column: 'id' }, { column: 'id' }] }, 'invalid-request', 'duplicate column'],
  [{ filters: { columns: [{ column: 'none', op: 'eq', value: 1 }] } }, 'invalid-request', 'no field none'],
  [
    { filters: { columns: [{ column: 'id', op: 'contains', value: 'x' }] } },
    'invalid-request',
    'operator contains does not apply',
  ],
  [{ filters: { columns: [{ column: 'id', op: 'eq', value: 'x' }] } }, 'invalid-request', 'takes a double'],
  [{ filters: { columns: [{ column: 'k', op: 'eq', value: 1 }] } }, 'invalid-request', 'takes a string'],
  [{ filters: { columns: [{ column: 'id', op: 'in', value: 1 }] } }, 'invalid-request', 'takes a list'],
  [{ filters: { columns: [{ column: 'id', op: 'in', value: [1, null] }] } }, 'invalid-request', 'isNull'],
  [{ filters: { columns: [{ column: 'id', op: 'between', value: [1] }] } }, 'invalid-request', 'two values'],
  [{ filters: { columns: [{ column: 'id', op: 'isNull', value: 1 }] } }, 'invalid-request', 'no value'],
  [{ filters: { columns: [{ column: 'k', op: 'like', value: 'a\\' }] } }, 'invalid-request', 'incomplete escape'],
  [{ filters: { columns: [{ column: 'id', op: 'gt' }] } }, 'invalid-request', 'a value'],
  [
    { filters: { columns: [{ column: 'timestamp', op: 'gt', value: 'soon' }] } },
    'invalid-request',
    'takes a timestamp',
  ],
  [{ filters: { columns: Array(101).fill({ column: 'id', op: 'isNull' }) } }, 'limit-exceeded', 'query_filters_max'],
  [
    { filters: { columns: [{ column: 'id', op: 'in', value: Array(10_001).fill(1) }] } },
    'limit-exceeded',
    'query_list_max',
  ],
];

// Two of the bodies have thousands of values.
const titled = refused.map((each) => [JSON.stringify(each[0]).slice(0, 120), ...each] as const);

test.each(titled)('%s is refused in words', async (_, body, code, words) => {
  const dataset = newDataset();
  await send(ctx, dataset, rowsOf(0, 2));
  await expect(query(ctx, dataset, body)).rejects.toMatchObject({ code, message: expect.stringContaining(words) });
});

test('rows are found by the partition key that they were sent with, flushed or not', async ({ dataset }) => {
  const sendWith = (id: number, key: Record<string, string> | undefined) =>
    ingestRows(ctx, {
      dataset,
      table: 'm',
      text: JSON.stringify({ timestamp: at(id), id }),
      format: 'json',
      idempotencyKey: undefined,
      ...(key !== undefined && { meta: JSON.stringify({ key }) }),
    });
  const keys = [{ source: 'shop', region: 'eu' }, { source: 'web' }, { source: '' }, undefined];
  for (const [id, key] of keys.entries()) await sendWith(id, key);
  await flush(ctx, dataset);
  for (const [id, key] of keys.entries()) await sendWith(id + 10, key);
  const ids = async (partitionKey: object) =>
    (await query(ctx, dataset, { filters: { partitionKey }, columns: ['id'], orderBy: [{ column: 'id' }] })).rows.map(
      ({ id }) => id,
    );
  expect(await ids({ source: 'shop' })).toEqual([0, 10]);
  expect(await ids({ source: ['shop', 'web'] })).toEqual([0, 1, 10, 11]);
  expect(await ids({ source: 'shop', region: 'us' })).toEqual([]);
  // An empty value is one; a key that is not there is none.
  expect(await ids({ source: '' })).toEqual([2, 12]);
});
