import { expect, test } from 'vitest';
import type { BufferedBatch } from '../../../src/buffer/buffered-batch.ts';
import { dueWork } from '../../../src/buffer/due.ts';
import { takeLease } from '../../../src/buffer/lease.ts';
import { sealLane } from '../../../src/buffer/seal.ts';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { TailCache } from '../../../src/buffer/tail-cache.ts';
import { flush, newInstance, newTable } from '../support.ts';
import { stage } from './support.ts';

const ctx = newInstance();

test('a snapshot has every lane, its seal, and the batches beyond its watermark in order', async () => {
  const table = await newTable(ctx, 2);
  await stage(ctx, table, [1], { lane: 0 });
  await stage(ctx, table, [2, 3], { lane: 1 });
  await sealLane(ctx, table, 1, 1, true);
  await stage(ctx, table, [4], { lane: 1 });
  const snapshot = await snapshotTable(ctx, table, 'entries');
  expect(snapshot).toMatchObject({
    tail: 'ready',
    lanes: [
      { lane: 0, seq: 1, sealedTo: undefined, schemaVersion: 1, tail: [{ seq: 1, rows: 1 }] },
      {
        lane: 1,
        seq: 2,
        sealedTo: 1,
        pendingRows: 3,
        tail: [
          { seq: 1, rows: 2 },
          { seq: 2, rows: 1 },
        ],
      },
    ],
  });
});

test('the state alone comes without rows', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  expect(await snapshotTable(ctx, table, 'state')).toMatchObject({ tail: 'skipped', lanes: [{ seq: 1, tail: [] }] });
});

test.each([
  ['rows', { TIMESTORE_TAIL_ROWS_MAX: '2' }],
  ['bytes', { TIMESTORE_TAIL_BYTES_MAX: '100' }],
])('a tail with more %s than can be sent along is named, not cut', async (_, limits) => {
  const small = newInstance(limits);
  const table = await newTable(small, 2);
  await stage(small, table, [1, 2], { lane: 0 });
  await stage(small, table, [3], { lane: 1 });
  expect(await snapshotTable(small, table, 'entries')).toMatchObject({
    tail: 'too-large',
    lanes: [
      { seq: 1, pendingRows: 2, tail: [] },
      { seq: 1, pendingRows: 1, tail: [] },
    ],
  });
});

test('one lane without state makes the whole snapshot unknown', async () => {
  const table = await newTable(ctx, 2);
  await ctx.redis.del(ctx.keys.state(table, 1));
  expect(await snapshotTable(ctx, table, 'entries')).toBe('unknown');
});

test('a lease is one flusher’s, and only its holder gives it back', async () => {
  const table = await newTable(ctx);
  const release = await takeLease(ctx, table, 0);
  expect(await takeLease(ctx, table, 0)).toBeUndefined();
  // The lease ran out and another flusher took it: a late release must not free that one's.
  await ctx.redis.set(ctx.keys.lease(table, 0), 'another flusher');
  await release?.();
  expect(await takeLease(ctx, table, 0)).toBeUndefined();
});

test('what waits longest is due first', async () => {
  const own = newInstance({ TIMESTORE_KEY_PREFIX: `due-${process.pid}` });
  const [first, second] = [await newTable(own), await newTable(own)];
  await stage(own, first, [1]);
  await stage(own, second, [1]);
  await stage(own, first, [2]);
  expect((await dueWork(own, 10)).lanes.map((due) => due.table.dataset)).toEqual([first.dataset, second.dataset]);
});

/** An instance that notes what snapshots bring: of lane 0 the first batch that was sent, and how many. */
function noting(overrides: Record<string, string> = {}) {
  const instance = newInstance(overrides);
  const sent: { first: number; batches: number }[] = [];
  const { redis } = instance;
  instance.redis = new Proxy(redis, {
    get(target, name, self) {
      if (name !== 'evalsha') return Reflect.get(target, name, self);
      return async (...args: Parameters<typeof redis.evalsha>) => {
        const reply = (await redis.evalsha(...args)) as [number, string, unknown[][]];
        const lane = reply[2];
        if (Array.isArray(lane)) sent.push({ first: lane[10], batches: lane[11]?.length } as never);
        return reply;
      };
    },
  });
  return { instance, sent };
}

test('an instance that has seen a batch does not get it again, and has the same tail as one that gets all', async () => {
  const table = await newTable(ctx);
  const { instance, sent } = noting();
  for (const value of [1, 2, 3]) {
    await stage(ctx, table, [value]);
    expect(await snapshotTable(instance, table, 'entries')).toMatchObject({
      lanes: await snapshotTable(newInstance(), table, 'entries').then((all) => (all === 'unknown' ? [] : all.lanes)),
    });
  }
  expect(sent.map(({ first, batches }) => [first, batches])).toEqual([
    [1, 1],
    [2, 1],
    [3, 1],
  ]);
  await flush(ctx, table.dataset);
  await stage(ctx, table, [4]);
  expect(await snapshotTable(instance, table, 'entries')).toMatchObject({ lanes: [{ tail: [{ seq: 4 }] }] });
  expect(sent.at(-1)).toEqual({ first: 4, batches: 1 });
});

test('batches of another life of a lane are not taken for those that were seen under the same numbers', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await stage(ctx, table, [2]);
  const { instance, sent } = noting();
  await snapshotTable(instance, table, 'entries');
  // What a buffer that failed over may have: the same sequence, given to another batch.
  await ctx.redis.eval(
    `local log = redis.call('XRANGE', KEYS[1], '-', '+')
     redis.call('DEL', KEYS[1])
     for i, e in ipairs(log) do
       local f = e[2]
       for j = 1, #f, 2 do
         if i == 2 and f[j] == 'id' then f[j + 1] = 'another' end
         if i == 2 and f[j] == 'p' then f[j + 1] = string.gsub(f[j + 1], '"v":2', '"v":7') end
       end
       redis.call('XADD', KEYS[1], e[1], unpack(f))
     end`,
    [ctx.keys.log(table, 0)],
    [],
  );
  const snapshot = await snapshotTable(instance, table, 'entries');
  const tail = snapshot === 'unknown' ? [] : snapshot.lanes[0]?.tail;
  expect(tail?.map(({ id, payload }) => [id === 'another', payload.includes('"v":7')])).toEqual([
    [false, false],
    [true, true],
  ]);
  const all = { first: 1, batches: 2 };
  expect(sent).toEqual([all, all]);
});

test('a tail is kept only as far as the memory of an instance allows', () => {
  const kept = new TailCache(100);
  const tail = (chars: number) => [{ lane: 0, tail: [{ payload: 'x'.repeat(chars) } as BufferedBatch] }];
  const of = (physical: string) => ({ dataset: 'd', physical });
  kept.keep(of('a'), tail(60));
  kept.keep(of('b'), tail(30));
  expect([kept.of(of('a')), kept.of(of('b'))].map((lanes) => lanes?.size)).toEqual([1, 1]);
  kept.keep(of('c'), tail(30));
  expect(['a', 'b', 'c'].map((name) => kept.of(of(name))?.size)).toEqual([undefined, 1, 1]);
  kept.keep(of('b'), tail(101));
  expect(kept.of(of('b'))).toBeUndefined();
});
