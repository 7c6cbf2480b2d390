import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { markDue } from '../../../src/buffer/due.ts';
import { sealLane } from '../../../src/buffer/seal.ts';
import { dropTable } from '../../../src/catalog/drop-table.ts';
import type { TimestoreError } from '../../../src/errors.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { settingsVersion } from '../../../src/flush/insert.ts';
import { drainOutbox } from '../../../src/flush/outbox.ts';
import { qualifiedName } from '../../../src/names.ts';
import {
  at,
  expectStored,
  flush,
  type Instance,
  newDataset,
  newInstance,
  onStored,
  query,
  send,
  storedRows,
  tableOf,
  through,
} from '../support.ts';
import { type OwnBuffer, startOwnBuffer } from './own-buffer.ts';

let buffer: OwnBuffer;
let ctx: Instance;

beforeAll(async () => {
  buffer = await startOwnBuffer();
  ctx = newInstance(buffer.env);
});
afterEach(() => buffer.freeMemory());
afterAll(() => buffer.stop());

const refusal = (sending: Promise<unknown>) =>
  sending.then(
    () => undefined,
    (error: TimestoreError) => error,
  );

const bufferFull = { code: 'buffer-full', retryAfterMs: expect.any(Number) };

/** Sends batches until the buffer takes no more; answers how many it has taken. */
async function fill(dataset: string, rowsOf: (n: number) => object[]): Promise<number> {
  for (let n = 0; n < 100_000; n += 1) {
    const refused = await refusal(send(ctx, dataset, rowsOf(n)));
    if (refused === undefined) continue;
    expect(refused).toMatchObject(bufferFull);
    expect(refused.retryAfterMs).toBeGreaterThanOrEqual(1_000);
    return n;
  }
  throw new Error('the buffer takes everything');
}

test('a buffer full of pending rows answers 429, drains, and takes rows again', async () => {
  const [dataset, other] = [newDataset(), newDataset()];
  await send(
    ctx,
    other,
    Array.from({ length: 50 }, (_, n) => ({ timestamp: at(n), v: n })),
  );
  await send(ctx, dataset, [{ timestamp: at(0), v: 'x' }]);
  await buffer.limitMemory(3_000_000);
  const text = 'x'.repeat(20_000);
  const taken = await fill(dataset, (n) => [{ timestamp: at(n % 60), v: text }]);
  expect(taken).toBeGreaterThan(50);
  // Small ones fit in for a while.
  const others = 50 + (await fill(other, (n) => [{ timestamp: at(n % 60), v: n }]));

  expect(await flush(ctx, other)).toMatchObject({ complete: true, rows: others });
  await expectStored(ctx, await tableOf(ctx, other), others);
  expect(await flush(ctx, dataset)).toMatchObject({ complete: true, rows: taken + 1 });
  await expectStored(ctx, await tableOf(ctx, dataset), taken + 1);

  await send(ctx, other, [{ timestamp: at(1), v: 1 }]);
  await send(ctx, dataset, [{ timestamp: at(1), v: text }]);
  expect((await query(ctx, other)).rows).toHaveLength(others + 1);
});

test('where nothing is left at all, rows are refused with 429 and pending ones still leave', async () => {
  const dataset = newDataset();
  const rows = [1, 2, 3].map((v) => ({ timestamp: at(v), v }));
  await send(ctx, dataset, rows);
  const table = await tableOf(ctx, dataset);
  await buffer.exhaustMemory();
  for (const key of [undefined, 'k']) expect(await refusal(send(ctx, dataset, rows, key))).toMatchObject(bufferFull);
  // A dataset that is new, too.
  expect(await refusal(send(ctx, newDataset(), rows))).toMatchObject(bufferFull);
  expect((await query(ctx, dataset)).rows).toHaveLength(3);

  // One flush fails at ClickHouse, and the lane waits for its next try.
  const failing = through(ctx, {
    clickhouse: (client) =>
      new Proxy(client, {
        get: (target, name) => {
          const member: unknown = Reflect.get(target, name);
          if (name === 'send') return () => Promise.reject(new Error('ClickHouse is unavailable'));
          return typeof member === 'function' ? member.bind(target) : member;
        },
      }),
  });
  await expect(flushLane(failing, table, 0, 'admin')).rejects.toThrow();
  expect(await flushLane(ctx, table, 0, 'cron')).toMatchObject({ outcome: 'busy' });
  // Its seal is taken over, published, and its manifest goes through the outbox.
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 3 });
  await expectStored(ctx, table, 3);
  await drainOutbox(ctx);
  const [manifest] = await ctx.postgres.rows('select rows from manifests where dataset = $1', [dataset]);
  expect(manifest).toEqual({ rows: '3' });

  await buffer.freeMemory();
  await send(ctx, dataset, rows);
  expect((await query(ctx, dataset)).rows).toHaveLength(6);
});

test('rows that ClickHouse refuses go into quarantine from a buffer that is full', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  await flush(ctx, dataset);
  const table = await tableOf(ctx, dataset);
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} ADD CONSTRAINT positive CHECK v >= 0`);
  await send(
    ctx,
    dataset,
    [1, -2, 3].map((v) => ({ timestamp: at(1), v })),
  );
  await buffer.exhaustMemory();
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 3 });
  expect(await storedRows(ctx, table)).toBe(3);
  expect((await query(ctx, dataset, { tableName: '_quarantine' })).rows).toMatchObject([{ seq: 2, row: 1 }]);
});

test('a full buffer loses and finds its due marks, and forgets a table that is dropped', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  const table = await tableOf(ctx, dataset);
  await ctx.redis.del(ctx.keys.due);
  await buffer.exhaustMemory();
  expect(await markDue(ctx, [{ table, lane: 0 }])).toBe(1);
  expect(await sealLane(ctx, table, 0, settingsVersion, true)).toMatchObject({ outcome: 'sealed' });
  await dropTable(ctx, table);
  expect(await ctx.redis.exists(ctx.keys.state(table, 0), ctx.keys.log(table, 0))).toBe(0);
});
