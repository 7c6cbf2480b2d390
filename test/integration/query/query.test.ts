import { describe, expect } from 'vitest';
import { sealLane } from '../../../src/buffer/seal.ts';
import { decodeToken } from '../../../src/buffer/watermark-token.ts';
import { atLane } from '../../../src/catalog/lane-location.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { insertSeal } from '../../../src/flush/insert.ts';
import type { ClickHouse } from '../../../src/stores/clickhouse/client.ts';
import { test } from '../fixtures.ts';
import {
  at,
  flush,
  type Instance,
  newDataset,
  newInstance,
  newTable,
  onStored,
  query,
  send,
  tableOf,
  through,
} from '../support.ts';

const ctx = newInstance();

/** An instance in which `meanwhile` happens once, after ClickHouse was asked and before the answer is given out. */
function during(meanwhile: () => Promise<unknown>): Instance & { asked: number } {
  const spied = { ...newInstance(), asked: 0 };
  const reader = (client: ClickHouse): ClickHouse => ({
    ...client,
    async open(request) {
      spied.asked += 1;
      const answer = await client.open(request);
      if (spied.asked === 1) await meanwhile();
      return answer;
    },
  });
  return Object.assign(spied, through(spied, { reader }));
}

describe('a row acknowledged before the query starts is in its answer, once', () => {
  test('before any flush, from an instance that has never seen the table', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    const answer = await query(newInstance(), dataset);
    expect(answer.rows).toEqual([{ timestamp: at(1), v: 1 }]);
    expect(answer).toMatchObject({ mode: 'replica+hot-buffer', replicaAge_ms: expect.any(Number) });
    expect(answer.sources).toEqual({ published: { rows: 0, partitions: 0 }, hotBuffer: { rows: 1 } });
  });

  test('after the flush, from ClickHouse alone', async ({ dataset }) => {
    await send(ctx, dataset, [
      { timestamp: at(1), v: 1 },
      { timestamp: at(1, 2), v: 2 },
    ]);
    await flush(ctx, dataset);
    const answer = await query(ctx, dataset);
    expect(answer.rows.map(({ v }) => v)).toEqual([1, 2]);
    expect(answer).toMatchObject({ mode: 'replica-only', replicaAge_ms: 0 });
    expect(answer.sources).toEqual({ published: { rows: 2, partitions: 2 }, hotBuffer: { rows: 0 } });
  });

  test('[elsewhere 29] while a flush has stored some of its partitions and not others', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await send(ctx, dataset, [{ timestamp: at(1, 2), v: 2 }]);
    const table = await tableOf(ctx, dataset);
    const sealed = await sealLane(ctx, table, 0, 1, true);
    if (!('seal' in sealed)) throw new Error('expected a seal');
    await insertSeal(
      await atLane(ctx, table, 0),
      table,
      0,
      { ...sealed.seal, batches: sealed.seal.batches.slice(0, 1) },
      0,
      10_000,
    );
    await send(ctx, dataset, [{ timestamp: at(3), v: 3 }]);
    const answer = await query(ctx, dataset);
    expect(answer.rows.map(({ v }) => v)).toEqual([1, 3, 2]);
    expect(answer.sources.hotBuffer.rows).toBe(3);
  });

  test('[elsewhere 17] while a flush begins, inserts and publishes between the snapshot and the answer', async ({
    dataset,
  }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await flush(ctx, dataset);
    await send(ctx, dataset, [{ timestamp: at(2), v: 2 }]);
    const instance = during(() => flush(ctx, dataset));
    const answer = await query(instance, dataset);
    expect(answer.rows.map(({ v }) => v)).toEqual([1, 2]);
    // The first read was of a state that a flush has changed: it was read again, with a fence.
    expect(instance.asked).toBe(2);
  });

  test('[elsewhere 28] with an empty tail, while a flush of several partitions is between two of them', async ({
    dataset,
  }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await flush(ctx, dataset);
    let asked = 0;
    const reader = (client: ClickHouse): ClickHouse => ({
      ...client,
      async open(request) {
        asked += 1;
        if (asked === 1) {
          // Both days are one batch; only one of them is there when the read comes.
          await send(ctx, dataset, [
            { timestamp: at(2), v: 2 },
            { timestamp: at(2, 2), v: 3 },
          ]);
          const table = await tableOf(ctx, dataset);
          const sealed = await sealLane(ctx, table, 0, 1, true);
          if (!('seal' in sealed)) throw new Error('expected a seal');
          const [batch] = sealed.seal.batches;
          if (batch === undefined) throw new Error('expected a batch');
          const half = { ...batch, payload: `${batch.payload.split('\n')[0]}\n` };
          await insertSeal(await atLane(ctx, table, 0), table, 0, { ...sealed.seal, batches: [half] }, 0, 10_000);
        }
        return await client.open(request);
      },
    });
    const answer = await query(through(newInstance(), { reader }), dataset);
    expect(answer.rows.map(({ v }) => v)).toEqual([1]);
    expect(asked).toBe(2);
  });

  test('when it brought a field that ClickHouse’s table does not have yet', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await flush(ctx, dataset);
    await send(ctx, dataset, [{ timestamp: at(2), v: 2, fresh: true }]);
    const table = await tableOf(ctx, dataset);
    await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} DROP COLUMN fresh`);
    expect((await query(newInstance(), dataset)).rows).toEqual([
      { timestamp: at(1), v: 1, fresh: null },
      { timestamp: at(2), v: 2, fresh: true },
    ]);
  });

  test('when another instance made its schema version', async ({ dataset }) => {
    const late = newInstance();
    await send(late, dataset, [{ timestamp: at(1), v: 1 }]);
    await query(late, dataset);
    await send(newInstance(), dataset, [{ timestamp: at(2), w: 'x' }]);
    const both = [
      { timestamp: at(1), v: 1, w: null },
      { timestamp: at(2), v: null, w: 'x' },
    ];
    expect((await query(late, dataset)).rows).toEqual(both);
    // And by name, also when a third one has flushed it.
    const later = newInstance();
    await query(later, dataset);
    await send(newInstance(), dataset, [{ timestamp: at(3), x: 3 }]);
    await flush(newInstance(), dataset);
    expect((await query(later, dataset, { columns: ['x'] })).rows).toEqual([{ x: null }, { x: null }, { x: 3 }]);
  });
});

describe('filters, order and limit count for both sides alike', () => {
  const columns = ['timestamp', 'v'];

  test('the range takes its start and leaves its end out, flushed or not', async ({ dataset }) => {
    await send(
      ctx,
      dataset,
      [at(1), at(3), at(5)].map((timestamp, v) => ({ timestamp, v })),
    );
    await flush(ctx, dataset);
    await send(
      ctx,
      dataset,
      [at(2), at(3), at(5)].map((timestamp, v) => ({ timestamp, v: v + 10 })),
    );
    const { rows } = await query(ctx, dataset, { timeRange: { start: at(2), end: at(5) }, columns });
    expect(rows.map(({ v }) => v)).toEqual([10, 1, 11]);
  });

  test('times before or after all rows are bounds like others, in ranges and filters', async ({ dataset }) => {
    const table = (v: number) => ({ timestamp: at(v), v });
    await send(ctx, dataset, [1, 2].map(table));
    await flush(ctx, dataset);
    await send(ctx, dataset, [3].map(table));
    const count = async (body: object) => (await query(ctx, dataset, body)).rows.length;
    const [early, late] = ['1900-01-01T00:00:00Z', '9999-12-31T23:59:59.999Z'];
    expect(await count({ timeRange: { start: early, end: late } })).toBe(3);
    expect(await count({ timeRange: { start: '0001-01-01 00:00:00', end: at(2) } })).toBe(1);
    expect(await count({ timeRange: { end: early } })).toBe(0);
    expect(await count({ timeRange: { start: late } })).toBe(0);
    for (const [op, value, expected] of [
      ['gte', early, 3],
      ['lt', early, 0],
      ['lte', late, 3],
      ['gt', late, 0],
      ['eq', late, 0],
      ['ne', early, 3],
    ] as const) {
      const columns = [{ column: 'timestamp', op, value }];
      expect({ op, rows: await count({ filters: { columns } }) }).toEqual({ op, rows: expected });
    }
  });

  test('[elsewhere 8] the limit takes the earliest rows, wherever they are', async ({ dataset }) => {
    await send(ctx, dataset, [
      { timestamp: at(2), v: 2 },
      { timestamp: at(4), v: 4 },
    ]);
    await flush(ctx, dataset);
    await send(ctx, dataset, [
      { timestamp: at(1), v: 1 },
      { timestamp: at(3), v: 3 },
    ]);
    const { rows, sources } = await query(ctx, dataset, { limit: 3 });
    expect(rows.map(({ v }) => v)).toEqual([1, 2, 3]);
    expect(sources).toEqual({ published: { rows: 1, partitions: 1 }, hotBuffer: { rows: 2 } });
  });

  test('[elsewhere 9] late rows for an earlier day are there before and after their flush', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1, 9), v: 9 }]);
    await flush(ctx, dataset);
    await send(ctx, dataset, [{ timestamp: at(1, 2), v: 2 }]);
    expect((await query(ctx, dataset)).rows.map(({ v }) => v)).toEqual([2, 9]);
    await flush(ctx, dataset);
    expect((await query(ctx, dataset)).rows.map(({ v }) => v)).toEqual([2, 9]);
  });

  test('[elsewhere 6] rows that happen to be equal are all there', async ({ dataset }) => {
    const row = { timestamp: at(1), v: 1 };
    await send(ctx, dataset, [row, row]);
    await flush(ctx, dataset);
    await send(ctx, dataset, [row]);
    expect((await query(ctx, dataset)).rows).toEqual([row, row, row]);
  });
});

test('[elsewhere 7] values come back exactly as they were sent, in one form, before and after the flush', async ({
  dataset,
}) => {
  const text = `{"timestamp":"2026-05-01T12:00:00.123+02:00","big":9007199254740993,"neg":-9223372036854775808,"d":0.1,"tiny":5e-324,"s":"ü \\"q\\" \\\\ \\u0000 / 😀 \\n","zero":"007","b":false,"tags":["a","b\\"c"],"j":{"n":1.50,"k":[1,{"x":null}]},"empty":""}`;
  const { ingestRows } = await import('../../../src/ingest/ingest.ts');
  await ingestRows(ctx, { dataset, table: 'm', text, format: 'json', idempotencyKey: undefined });
  const rowsOf = (answer: { text: string }) => /"rows":(\[.*\]),"warnings"/.exec(answer.text)?.[1];
  const before = await query(ctx, dataset);
  await flush(ctx, dataset);
  const after = await query(ctx, dataset);
  expect(rowsOf(after)).toEqual(rowsOf(before));
  expect(rowsOf(before)).toContain('"big":9007199254740993,"neg":-9223372036854775808,"d":0.1,"tiny":5e-324,');
  expect(before.rows[0]).toMatchObject({
    timestamp: '2026-05-01T10:00:00.123Z',
    s: 'ü "q" \\ \0 / 😀 \n',
    zero: '007',
    b: false,
    empty: '',
    tags: ['a', 'b"c'],
    j: '{"n":1.50,"k":[1,{"x":null}]}',
  });
});

test('a name that SQL has a meaning for is only a name', async ({ dataset }) => {
  const name = 'a`b\\c "d" \'e\' -- {x:Int8} ; DROP';
  await send(ctx, dataset, [{ timestamp: at(1), [name]: 1 }]);
  await flush(ctx, dataset);
  await send(ctx, dataset, [{ timestamp: at(2), [name]: 2 }]);
  const answer = await query(ctx, dataset, { columns: [name] });
  expect(answer.rows).toEqual([{ [name]: 1 }, { [name]: 2 }]);
});

test('the watermark names what the answer includes', async ({ dataset }) => {
  const { accepted } = await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const { watermark } = await query(ctx, dataset);
  expect(watermark).toBe(accepted.watermark);
  expect(decodeToken(watermark ?? '')).toMatchObject({
    dataset,
    table: 'm',
    lanes: [[0, expect.any(String), 1, expect.any(Number)]],
  });
});

test('a tail too large to send along is flushed first', async () => {
  const small = newInstance({ TIMESTORE_TAIL_ROWS_MAX: '2' });
  const dataset = newDataset();
  for (const n of [1, 2, 3]) await send(small, dataset, [{ timestamp: at(n), v: n }]);
  const answer = await query(small, dataset);
  expect(answer.rows).toHaveLength(3);
  expect(answer.mode).toBe('replica-only');
  expect(answer.warnings).toEqual([]);
});

test('a tail too large that cannot be flushed in time is left out, whole, and the answer says so', async () => {
  const small = newInstance({ TIMESTORE_TAIL_ROWS_MAX: '2', TIMESTORE_QUERY_WAIT_MS: '100' });
  const dataset = newDataset();
  await send(small, dataset, [{ timestamp: at(1), v: 1 }]);
  await flush(small, dataset);
  for (const n of [2, 3, 4]) await send(small, dataset, [{ timestamp: at(n), v: n }]);
  const table = await tableOf(small, dataset);
  await small.redis.set(small.keys.lease(table, 0), 'another flusher');
  // That flusher has stored some of it already.
  const sealed = await sealLane(small, table, 0, 1, true);
  if (!('seal' in sealed)) throw new Error('expected a seal');
  await insertSeal(
    await atLane(small, table, 0),
    table,
    0,
    { ...sealed.seal, batches: sealed.seal.batches.slice(0, 1) },
    0,
    10_000,
  );
  const answer = await query(small, dataset);
  expect(answer.rows.map(({ v }) => v)).toEqual([1]);
  expect(answer.warnings).toEqual([expect.stringContaining('acknowledged rows waiting to be flushed')]);
  expect(answer.streaming).toMatchObject({ bufferState: 'too-large', fresh: false });
  expect(answer.replicaAge_ms).toBeGreaterThan(0);
});

test('without the hot buffer the answer is ClickHouse’s alone, and says so', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await flush(ctx, dataset);
  // A port without a listener.
  const away = newInstance({ UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:1' });
  const answer = await query(away, dataset);
  expect(answer.rows).toHaveLength(1);
  expect(answer).toMatchObject({ mode: 'replica-only', replicaAge_ms: undefined, watermark: undefined });
  expect(answer.streaming.bufferState).toBe('unavailable');
  expect(answer.warnings).toHaveLength(1);
});

test.each([
  ['a table that is not there', { tableName: 'none' }, 'not-found'],
  ['a column that is not there', { columns: ['v', 'none'] }, 'invalid-request'],
  ['another timestamp column', { timestampColumn: 'v' }, 'invalid-request'],
  ['a time that is none', { timeRange: { start: 'yesterday' } }, 'invalid-request'],
  ['a range that ends before it starts', { timeRange: { start: at(2), end: at(1) } }, 'invalid-request'],
  ['more rows than a query may answer', { limit: 500_001 }, 'limit-exceeded'],
])('%s is refused by name', async (_, body, code) => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await expect(query(ctx, dataset, body)).rejects.toMatchObject({ code });
});

test('of two lanes, one sealed and half stored, the other open: each row once, validated', async () => {
  const reader = newInstance({ TIMESTORE_FENCE_ROWS_MAX: '1' });
  const table = await newTable(ctx, 2);
  const { dataset } = table;
  // Keys are spread over the lanes: some of these in each.
  for (let n = 0; n < 8; n += 1) {
    const rows = [1, 2].map((day) => ({ timestamp: at(n, day), v: n }));
    await send(ctx, dataset, rows, `k${n}`);
  }
  const sealed = await sealLane(ctx, table, 0, 1, true);
  if (!('seal' in sealed)) throw new Error('expected a seal');
  const halves = sealed.seal.batches.map((batch) => ({ ...batch, payload: `${batch.payload.split('\n')[0]}\n` }));
  await insertSeal(await atLane(ctx, table, 0), table, 0, { ...sealed.seal, batches: halves }, 0, 10_000);
  const answer = await query(reader, dataset, { limit: 100 });
  expect(answer.streaming).toMatchObject({ exactness: 'validated', rows: 16 });
  expect(answer.rows).toHaveLength(16);
});
