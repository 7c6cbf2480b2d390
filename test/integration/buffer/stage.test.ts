import { expect, test, vi } from 'vitest';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { StoreError } from '../../../src/core/errors.ts';
import { newInstance, newTable } from '../support.ts';
import { laneContent, stage } from './support.ts';

const ctx = newInstance();

test('sequences of a lane are 1, 2, 3 … whoever stages at the same time', async () => {
  const table = await newTable(ctx);
  const outcomes = await Promise.all(Array.from({ length: 40 }, (_, n) => stage(ctx, table, [n])));
  const sequences = outcomes.map((each) => (each.outcome === 'staged' ? each.batch.seq : 0));
  expect(sequences.sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, n) => n + 1));
});

test('[elsewhere 4] a request sent again is answered as the first time and stored once, also by forty at once', async () => {
  const table = await newTable(ctx);
  const outcomes = await Promise.all(Array.from({ length: 40 }, () => stage(ctx, table, [1, 2], { key: 'k' })));
  const batches = outcomes.map((each) => ('batch' in each ? each.batch : undefined));
  expect(new Set(batches.map((batch) => JSON.stringify(batch)))).toHaveLength(1);
  expect(outcomes.filter(({ outcome }) => outcome === 'staged')).toHaveLength(1);
  expect((await laneContent(ctx, table)).log).toHaveLength(1);
});

test('a key used for another payload is reported, and changes nothing', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1], { key: 'k', hash: 'one' });
  const before = await laneContent(ctx, table);
  expect(await stage(ctx, table, [1], { key: 'k', hash: 'other' })).toEqual({ outcome: 'reused' });
  expect(await laneContent(ctx, table)).toEqual(before);
});

test('[elsewhere 5] the same key is another one in another table', async () => {
  const [one, other] = [await newTable(ctx), await newTable(ctx)];
  expect((await stage(ctx, one, [1], { key: 'k' })).outcome).toBe('staged');
  expect((await stage(ctx, other, [1], { key: 'k' })).outcome).toBe('staged');
});

test('a lane without state is unknown, not empty: nothing is staged', async () => {
  const table = await newTable(ctx);
  await ctx.redis.del(ctx.keys.state(table, 0));
  expect(await stage(ctx, table, [1])).toEqual({ outcome: 'unknown' });
  expect(await laneContent(ctx, table)).toEqual({ state: {}, log: [], due: null });
});

test('a frozen lane takes nothing new and still answers what it has accepted', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1], { key: 'k' });
  await ctx.redis.hset(ctx.keys.state(table, 0), { frozen: 'archived' });
  expect(await stage(ctx, table, [2])).toEqual({ outcome: 'frozen', state: 'archived' });
  expect((await stage(ctx, table, [1], { key: 'k' })).outcome).toBe('replayed');
});

test.each([
  ['rows', { TIMESTORE_PENDING_ROWS_MAX: '3' }],
  ['bytes', { TIMESTORE_PENDING_BYTES_MAX: '150' }],
])('a lane full of %s refuses a batch as a whole, and remembers no key for it', async (_, limits) => {
  const small = newInstance(limits);
  const table = await newTable(small);
  await stage(small, table, [1, 2]);
  const before = await laneContent(small, table);
  expect(await stage(small, table, [3, 4], { key: 'k' })).toMatchObject({ outcome: 'full', pending: { rows: 2 } });
  expect(await laneContent(small, table)).toEqual(before);
  // With room again, the same request is accepted, not replayed.
  expect((await stage(ctx, table, [3, 4], { key: 'k' })).outcome).toBe('staged');
});

test('[elsewhere 30] an append that fails leaves no trace: the key is not remembered for rows that are not there', async () => {
  const table = await newTable(ctx);
  // The append fails, so nothing after it happens: no sequence is taken, no key remembered.
  await ctx.redis.hset(ctx.keys.log(table, 0), { not: 'a stream' });
  const before = await laneState(table);
  await expect(stage(ctx, table, [1], { key: 'k' })).rejects.toBeInstanceOf(StoreError);
  expect(await laneState(table)).toEqual(before);
  await ctx.redis.del(ctx.keys.log(table, 0));
  expect((await stage(ctx, table, [1], { key: 'k' })).outcome).toBe('staged');

  async function laneState(of: typeof table) {
    return {
      state: await ctx.redis.hgetall(ctx.keys.state(of, 0)),
      key: await ctx.redis.get(ctx.keys.idem(of, 'k')),
    };
  }
});

test('what is staged is in the next snapshot, with its age', async () => {
  const table = await newTable(ctx);
  const staged = await stage(ctx, table, [1, 2]);
  const snapshot = await snapshotTable(ctx, table, 'entries');
  if (snapshot === 'unknown' || staged.outcome !== 'staged') throw new Error('unexpected');
  expect(snapshot.lanes).toMatchObject([
    { seq: 1, watermark: 0, pendingRows: 2, oldest_ms: staged.batch.receivedAt_ms, tail: [{ seq: 1, rows: 2 }] },
  ]);
  expect(snapshot.now_ms).toBeGreaterThanOrEqual(staged.batch.receivedAt_ms);
});

const many = Array.from({ length: 300 }, (_, n) => n);

test('a large batch, sent as the body of its request, is stored as a small one is, also by a Redis that has forgotten its scripts', async () => {
  const instance = newInstance();
  const withBody = vi.spyOn(instance.redis, 'evalshaWithBody');
  const table = await newTable(instance);
  await instance.redis.scriptFlush();
  await stage(instance, table, many, { key: 'k' });
  await stage(instance, table, many.slice(1), { key: 'k2' });
  expect(withBody).toHaveBeenCalledTimes(2);
  expect(await stage(instance, table, many, { key: 'k' })).toMatchObject({ outcome: 'replayed', batch: { seq: 1 } });
  const snapshot = await snapshotTable(instance, table, 'entries');
  const [first, second] = snapshot === 'unknown' ? [] : (snapshot.lanes[0]?.tail ?? []);
  expect(first?.payload.split('\n')[299]).toBe('{"_row":299,"timestamp":"2026-05-01 10:00:00.000","v":299}');
  expect(second?.payload.split('\n')).toHaveLength(300);
  // What Redis refuses is told, without the payload.
  await instance.redis.del(ctx.keys.log(table, 0));
  await instance.redis.set(ctx.keys.log(table, 0), 'not a stream');
  const refused = await stage(instance, table, many, { key: 'k3' }).catch((error: Error) => error);
  expect(refused).toMatchObject({ store: 'redis', message: expect.stringContaining('refused a command') });
  expect(JSON.stringify([refused, (refused as Error).cause])).not.toContain('2026-05-01');
});

test('a large batch under a key that a path could change is sent in the usual way', async () => {
  const instance = newInstance();
  const withBody = vi.spyOn(instance.redis, 'evalshaWithBody');
  const table = await newTable(instance);
  for (const key of ['a/b', 'a%2Fb', 'a b?c#d', '../x']) {
    expect((await stage(instance, table, many, { key })).outcome).toBe('staged');
    expect(await instance.redis.exists(instance.keys.idem(table, key))).toBe(1);
    expect((await stage(ctx, table, many, { key })).outcome).toBe('replayed');
  }
  expect(withBody).not.toHaveBeenCalled();
});
