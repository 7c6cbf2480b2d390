import { expect, test } from 'vitest';
import { dueLanes } from '../../../src/buffer/due.ts';
import { takeLease } from '../../../src/buffer/lease.ts';
import { sealLane } from '../../../src/buffer/seal.ts';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { newInstance, newTable } from '../support.ts';
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
  expect((await dueLanes(own, 10)).map((due) => due.table.dataset)).toEqual([first.dataset, second.dataset]);
});
