import { expect } from 'vitest';
import { takeLease } from '../../../src/buffer/lease.ts';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { type ApiError, StoreError } from '../../../src/core/errors.ts';
import { test } from '../fixtures.ts';
import { at, expectStored, flush, newDataset, newInstance, query, send, tableOf, through } from '../support.ts';

const ctx = newInstance();
const away = { rows: refuse, transaction: refuse, command: refuse, send: refuse, open: refuse };

function refuse(): Promise<never> {
  return Promise.reject(new StoreError('postgres', 'did not answer', undefined));
}

test('[elsewhere 10] first writes at once to a new dataset all succeed, and each row is there once', async ({
  dataset,
}) => {
  const writers = Array.from({ length: 12 }, (_, n) => send(newInstance(), dataset, [{ timestamp: at(n), v: n }]));
  await Promise.all(writers);
  await flush(ctx, dataset);
  await expectStored(ctx, await tableOf(ctx, dataset), 12);
});

test('new fields from many writers at once all become part of one schema', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  const writers = Array.from({ length: 8 }, (_, n) =>
    send(newInstance(), dataset, [{ timestamp: at(n + 1), [`f${n}`]: n, shared: `s${n}` }]),
  );
  await Promise.all(writers);
  const { schema } = await tableOf(newInstance(), dataset);
  expect(schema.fields.map(({ name }) => name).sort()).toEqual(
    ['timestamp', 'v', 'shared', ...Array.from({ length: 8 }, (_, n) => `f${n}`)].sort(),
  );
  expect(schema.version).toBeLessThanOrEqual(9);
  const { rows } = await query(newInstance(), dataset);
  expect(
    rows.filter((row) => Object.entries(row).some(([name, value]) => /^f\d$/.test(name) && value !== null)),
  ).toHaveLength(8);
});

test('[elsewhere 14] rows that do not fit are refused with index, field and reason before anything is stored or changed', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const before = await tableOf(newInstance(), dataset);
  const refused = send(ctx, dataset, [
    { timestamp: at(2), v: 2, brandNew: true },
    { timestamp: at(3), v: 'three' },
    { v: 4 },
  ]);
  await expect(refused).rejects.toMatchObject({
    code: 'rows-refused',
    extra: {
      accepted: 0,
      rejected: 3,
      errorsTotal: 2,
      errors: [
        { index: 1, field: 'v', reason: 'wrong-type' },
        { index: 2, field: 'timestamp', reason: 'missing' },
      ],
    },
  });
  expect((await tableOf(newInstance(), dataset)).schema).toEqual(before.schema);
  expect((await query(ctx, dataset)).rows).toHaveLength(1);
});

test('[elsewhere 23] a counter that began with 0 goes on with 0.5', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), cpu: 0 }]);
  await send(ctx, dataset, [{ timestamp: at(2), cpu: 0.5 }]);
  expect((await query(ctx, dataset)).rows.map(({ cpu }) => cpu)).toEqual([0, 0.5]);
});

test('[elsewhere 12] names that would run together in one string are apart: a_b and c, a and b_c', async () => {
  const base = newDataset();
  const one = newInstance();
  await send(one, `${base}a_b`, [{ timestamp: at(1), v: 1 }]);
  await send(one, `${base}a`, [{ timestamp: at(1), v: 2 }]);
  expect((await query(one, `${base}a_b`)).rows.map(({ v }) => v)).toEqual([1]);
  expect((await query(one, `${base}a`)).rows.map(({ v }) => v)).toEqual([2]);
});

test('the same request again is answered as at first, and a key with another payload is refused', async ({
  dataset,
}) => {
  const rows = [{ timestamp: at(1), v: 1 }];
  const first = await send(ctx, dataset, rows, 'k');
  const second = await send(newInstance(), dataset, rows, 'k');
  expect(second.accepted).toEqual({ ...first.accepted, replayed: true });
  await flush(ctx, dataset);
  expect((await send(ctx, dataset, rows, 'k')).accepted.replayed).toBe(true);
  await expect(send(ctx, dataset, [{ timestamp: at(1), v: 2 }], 'k')).rejects.toMatchObject({ code: 'key-reused' });
  await expectStored(ctx, await tableOf(ctx, dataset), 1);
});

test('Postgres and ClickHouse are not on the way of rows of a known schema', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  // An instance that starts while both are away: what it needs is in the hot buffer.
  const instance = { ...through(newInstance(), { clickhouse: () => away }), postgres: away };
  await send(instance, dataset, [{ timestamp: at(2), v: 2 }]);
  expect((await query(ctx, dataset)).rows).toHaveLength(2);
  // A new field needs the catalogue, and says so without storing anything.
  await expect(send(instance, dataset, [{ timestamp: at(3), w: 3 }])).rejects.toMatchObject({ code: 'unavailable' });
  expect((await query(ctx, dataset)).rows).toHaveLength(2);
});

test('a new field is accepted while ClickHouse is unavailable, and its column is added by the flush', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const instance = through(newInstance(), { clickhouse: () => away });
  await send(instance, dataset, [{ timestamp: at(2), fresh: 'x' }]);
  await flush(newInstance(), dataset);
  expect((await query(ctx, dataset)).rows.map(({ fresh }) => fresh)).toEqual([null, 'x']);
});

test('a lane that the buffer lost is set up again by the next write, with a new incarnation', async ({ dataset }) => {
  const first = await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const table = await tableOf(ctx, dataset);
  await flush(ctx, dataset);
  await ctx.redis.del(ctx.keys.state(table, 0), ctx.keys.log(table, 0));
  const second = await send(ctx, dataset, [{ timestamp: at(2), v: 2 }]);
  expect(second.accepted.watermark).not.toBe(first.accepted.watermark);
  expect((await query(ctx, dataset)).rows.map(({ v }) => v)).toEqual([1, 2]);
});

test('a full lane says how long to wait, and stores nothing', async () => {
  const small = newInstance({ TIMESTORE_PENDING_ROWS_MAX: '2' });
  const dataset = newDataset();
  await send(small, dataset, [{ timestamp: at(1) }, { timestamp: at(2) }]);
  const refused = await send(small, dataset, [{ timestamp: at(3) }]).catch((error: ApiError) => error);
  expect(refused).toMatchObject({ code: 'buffer-full' });
  expect((refused as ApiError).retryAfterMs).toBeGreaterThanOrEqual(1_000);
  expect((refused as ApiError).retryAfterMs).toBeLessThanOrEqual(60_000);
  await flush(small, dataset);
  expect((await send(small, dataset, [{ timestamp: at(3) }])).accepted.accepted).toBe(1);
});

test('enough pending rows ask for a flush at once', async () => {
  const eager = newInstance({ TIMESTORE_TRIGGER_ROWS: '2' });
  const dataset = newDataset();
  expect((await send(eager, dataset, [{ timestamp: at(1) }])).flush).toBeUndefined();
  expect((await send(eager, dataset, [{ timestamp: at(2) }])).flush).toBe('size');
  // One under way takes them along, or leaves them to whoever comes next.
  const release = await takeLease(eager, await tableOf(eager, dataset), 0);
  expect((await send(eager, dataset, [{ timestamp: at(3) }])).flush).toBeUndefined();
  await release?.();
  expect((await send(eager, dataset, [{ timestamp: at(4) }])).flush).toBe('size');
});

test('a snapshot after a thousand writes of one table adds up', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(0), v: -1 }]);
  for (let n = 0; n < 10; n += 1) {
    await Promise.all(Array.from({ length: 100 }, (_, k) => send(ctx, dataset, [{ timestamp: at(k % 60), v: k }])));
  }
  const snapshot = await snapshotTable(ctx, await tableOf(ctx, dataset), 'entries');
  expect(snapshot).toMatchObject({ lanes: [{ seq: 1001, pendingRows: 1001 }] });
  await flush(ctx, dataset);
  await expectStored(ctx, await tableOf(ctx, dataset), 1001);
});
