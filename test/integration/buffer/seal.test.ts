import { expect, test } from 'vitest';
import { type Seal, sealLane } from '../../../src/buffer/seal.ts';
import type { Context } from '../../../src/create-context.ts';
import type { Table } from '../../../src/schema/table.ts';
import { newInstance, newTable } from '../support.ts';
import { laneContent, stage } from './support.ts';

const ctx = newInstance();

async function sealOf(instance: Context, table: Table): Promise<Seal> {
  const sealed = await sealLane(instance, table, 0, 1, true);
  if (!('seal' in sealed)) throw new Error(`expected a seal, got ${sealed.outcome}`);
  return sealed.seal;
}

test('a lane without pending batches is empty, and keeps its epoch', async () => {
  const table = await newTable(ctx);
  const before = await laneContent(ctx, table);
  expect(await sealLane(ctx, table, 0, 1, true)).toEqual({ outcome: 'empty' });
  expect(await laneContent(ctx, table)).toEqual(before);
});

test('[elsewhere 1] a seal stays the same until it is published, whatever is staged meanwhile', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1, 2]);
  const seal = await sealOf(ctx, table);
  expect(seal).toMatchObject({ from: 1, to: 1, rows: 2 });
  await stage(ctx, table, [3]);
  expect(await sealLane(ctx, table, 0, 1, true)).toEqual({ outcome: 'taken-over', seal: { ...seal, timesTaken: 2 } });
});

test('a seal is taken over as it is stored, also by code with other limits and other insert settings', async () => {
  const table = await newTable(ctx);
  for (const value of [1, 2, 3]) await stage(ctx, table, [value]);
  const seal = await sealOf(ctx, table);
  const narrower = newInstance({ TIMESTORE_FLUSH_ROWS_MAX: '1' });
  expect(await sealLane(narrower, table, 0, 2, true)).toEqual({
    outcome: 'taken-over',
    seal: { ...seal, timesTaken: 2 },
  });
  expect(seal.settingsVersion).toBe(1);
});

test.each([
  ['rows', { TIMESTORE_FLUSH_ROWS_MAX: '4' }, 2],
  ['bytes', { TIMESTORE_FLUSH_BYTES_MAX: '250' }, 2],
  ['partitions', { TIMESTORE_FLUSH_PARTITIONS_MAX: '1' }, 1],
  ['cells', { TIMESTORE_FLUSH_CELLS_MAX: '8' }, 2],
  ['batches', { TIMESTORE_FLUSH_BATCHES_MAX: '3' }, 3],
])('one flush is bounded by its %s, and counts only what it takes', async (_, limits, batches) => {
  const bounded = newInstance(limits);
  const table = await newTable(bounded);
  for (const day of [1, 2, 3, 4]) await stage(bounded, table, [day, day], { day });
  const seal = await sealOf(bounded, table);
  expect(seal.batches).toHaveLength(batches);
  expect(seal.rows).toBe(2 * batches);
  expect(seal.bytes).toBe(seal.batches.reduce((sum, batch) => sum + batch.payload.length, 0));
});

test('a batch that is over a limit by itself goes alone: no lane is stuck behind it', async () => {
  const bounded = newInstance({ TIMESTORE_FLUSH_ROWS_MAX: '1' });
  const table = await newTable(bounded);
  await stage(bounded, table, [1, 2, 3]);
  await stage(bounded, table, [4]);
  expect(await sealOf(bounded, table)).toMatchObject({ from: 1, to: 1, rows: 3 });
});

test('the token depends on the batches and not on their rows, and a new seal has a new epoch', async () => {
  const [one, other] = [await newTable(ctx), await newTable(ctx)];
  await stage(ctx, one, [1]);
  await stage(ctx, other, [1]);
  const [first, second] = [await sealOf(ctx, one), await sealOf(ctx, other)];
  expect(first.token).toMatch(/^0:1-1:[0-9a-f]{40}$/);
  expect(second.token).not.toBe(first.token);
});

test('a gap in the log is fenced, with and without a seal', async () => {
  const table = await newTable(ctx);
  for (const value of [1, 2, 3]) await stage(ctx, table, [value]);
  const seal = await sealOf(ctx, table);
  await ctx.redis.xdel(ctx.keys.log(table, 0), '2-0');
  expect(await sealLane(ctx, table, 0, 1, true)).toEqual({ outcome: 'fenced', what: 'gap' });
  expect(seal.batches).toHaveLength(3);

  const unsealed = await newTable(ctx);
  for (const value of [1, 2]) await stage(ctx, unsealed, [value]);
  await ctx.redis.xdel(ctx.keys.log(unsealed, 0), '1-0');
  expect(await sealLane(ctx, unsealed, 0, 1, true)).toEqual({ outcome: 'fenced', what: 'gap' });
});

test('other batches under the numbers of a seal are fenced: they were acknowledged in another life of the buffer', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await sealOf(ctx, table);
  const [entry] = await ctx.redis.eval<string[], [[string, string[]]]>(
    `local e = redis.call('XRANGE', KEYS[1], '-', '+')
     redis.call('DEL', KEYS[1])
     local f = e[1][2]
     f[2] = 'another-batch'
     redis.call('XADD', KEYS[1], e[1][1], unpack(f))
     return e`,
    [ctx.keys.log(table, 0)],
    [],
  );
  expect(entry[0]).toBe('1-0');
  expect(await sealLane(ctx, table, 0, 1, true)).toEqual({ outcome: 'fenced', what: 'other-batches' });
});
