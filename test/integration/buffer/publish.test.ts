import { beforeEach, expect, test } from 'vitest';
import { publishSeal } from '../../../src/buffer/publish.ts';
import { type Seal, sealLane } from '../../../src/buffer/seal.ts';
import type { Table } from '../../../src/schema/table.ts';
import { newInstance, newTable } from '../support.ts';
import { laneContent, stage } from './support.ts';

// An outbox of this file's own: others drain the shared one.
const ctx = newInstance({ TIMESTORE_KEY_PREFIX: `publish-${process.pid}`, TIMESTORE_OUTBOX_MAX: '2' });

let table: Table;
let seal: Seal;

beforeEach(async () => {
  await ctx.redis.del(ctx.keys.outbox);
  table = await newTable(ctx);
  await stage(ctx, table, [1, 2]);
  await stage(ctx, table, [3]);
  const sealed = await sealLane(ctx, table, 0, 1, true);
  if (!('seal' in sealed)) throw new Error('expected a seal');
  seal = sealed.seal;
  await stage(ctx, table, [4]);
});

test('moves the watermark to the end of the seal, trims exactly that, and hands the manifest on', async () => {
  const published = await publishSeal(ctx, table, 0, seal, '{"m":1}');
  expect(published).toEqual({
    outcome: 'published',
    batchesTrimmed: 2,
    manifestKept: true,
    waiting: { batches: 1, rows: 1, logged: 1, isOther: false },
  });
  const { state, log, due } = await laneContent(ctx, table);
  expect(state).toMatchObject({ w: '2', seq: '3', rows: '1' });
  expect(Object.keys(state ?? {}).filter((name) => name.startsWith('s_'))).toEqual([]);
  expect(log).toMatchObject([['3-0', expect.anything()]]);
  expect(due).not.toBeNull();
  expect(await ctx.redis.xlen(ctx.keys.outbox)).toBe(1);
});

test('a second call after the first had its effect says so and changes nothing', async () => {
  await publishSeal(ctx, table, 0, seal, '{}');
  const before = await laneContent(ctx, table);
  expect(await publishSeal(ctx, table, 0, seal, '{}')).toEqual({ outcome: 'already' });
  expect(await laneContent(ctx, table)).toEqual(before);
  expect(await ctx.redis.xlen(ctx.keys.outbox)).toBe(1);
});

test.each([
  ['another epoch', { epoch: 1 }],
  ['another token', { token: '0:1-2:other' }],
])('with %s it is fenced and changes nothing', async (_, change) => {
  const before = await laneContent(ctx, table);
  expect(await publishSeal(ctx, table, 0, { ...seal, ...change }, '{}')).toEqual({ outcome: 'fenced' });
  expect(await laneContent(ctx, table)).toEqual(before);
});

test('the last batch published leaves nothing due', async () => {
  await publishSeal(ctx, table, 0, seal, '{}');
  const rest = await sealLane(ctx, table, 0, 1, true);
  if (!('seal' in rest)) throw new Error('expected a seal');
  await publishSeal(ctx, table, 0, rest.seal, '{}');
  const { state, log, due } = await laneContent(ctx, table);
  expect(state).toMatchObject({ w: '3', rows: '0', bytes: '0' });
  expect(state).not.toHaveProperty('oldest');
  expect({ log, due }).toEqual({ log: [], due: null });
});

test('a full outbox holds no publish up: the manifest is dropped, and that is said', async () => {
  for (const n of [1, 2]) await ctx.redis.xadd(ctx.keys.outbox, '*', { m: String(n) });
  expect(await publishSeal(ctx, table, 0, seal, '{}')).toMatchObject({ outcome: 'published', manifestKept: false });
  expect(await ctx.redis.xlen(ctx.keys.outbox)).toBe(2);
});

test('a lane that lost its state is unknown', async () => {
  await ctx.redis.del(ctx.keys.state(table, 0));
  expect(await publishSeal(ctx, table, 0, seal, '{}')).toEqual({ outcome: 'unknown' });
});
