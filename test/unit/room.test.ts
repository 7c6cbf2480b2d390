import { expect, test } from 'vitest';
import { MemoryBudget } from '../../src/core/memory-budget.ts';

test('a body waits for those that leave no room for it, and no longer', async () => {
  const room = new MemoryBudget(100);
  const first = await room.reserveBody(60);
  const second = await room.reserveBody(40);
  let isIn = false;
  const third = room.reserveBody(41).then((release) => {
    isIn = true;
    return release;
  });
  second();
  await room.reserveBody(40).then((release) => release());
  expect(isIn).toBe(false);
  first();
  (await third)();
});

test('a body larger than all the room goes alone', async () => {
  const room = new MemoryBudget(100, 0);
  const release = await room.reserveBody(1_000);
  await expect(room.reserveBody(1)).rejects.toMatchObject({ code: 'unavailable', retryAfterMs: 1_000 });
  release();
  (await room.reserveBody(1))();
});

test('a flush does not wait, and takes the memory that is left', async () => {
  const mebibyte = 1024 * 1024;
  const room = new MemoryBudget(10 * mebibyte);
  const body = await room.reserveBody(10 * mebibyte);
  const first = room.reserveFlush(8 * mebibyte);
  expect(first.bytesMax).toBe(mebibyte);
  body();
  const second = room.reserveFlush(8 * mebibyte);
  expect(second.bytesMax).toBe(8 * mebibyte);
  const third = room.reserveFlush(8 * mebibyte);
  expect(third.bytesMax).toBe(mebibyte);
  second.holds(2 * mebibyte);
  expect(room.reserveFlush(8 * mebibyte).bytesMax).toBe(6 * mebibyte);
});

test('a flush has never more than its own limit', () => {
  expect(new MemoryBudget(1_000_000_000).reserveFlush(10).bytesMax).toBe(10);
  expect(new MemoryBudget(1).reserveFlush(10).bytesMax).toBe(10);
});
