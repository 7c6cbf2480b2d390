import { expect, test } from 'vitest';
import { Room } from '../../src/core/memory-budget.ts';

test('a body waits for those that leave no room for it, and no longer', async () => {
  const room = new Room(100);
  const first = await room.forBody(60);
  const second = await room.forBody(40);
  let isIn = false;
  const third = room.forBody(41).then((release) => {
    isIn = true;
    return release;
  });
  second();
  await room.forBody(40).then((release) => release());
  expect(isIn).toBe(false);
  first();
  (await third)();
});

test('a body larger than all the room goes alone', async () => {
  const room = new Room(100, 0);
  const release = await room.forBody(1_000);
  await expect(room.forBody(1)).rejects.toMatchObject({ code: 'unavailable', retryAfterMs: 1_000 });
  release();
  (await room.forBody(1))();
});

test('a flush waits for nobody, and takes what others leave', async () => {
  const mebibyte = 1024 * 1024;
  const room = new Room(10 * mebibyte);
  const body = await room.forBody(10 * mebibyte);
  const first = room.forFlush(8 * mebibyte);
  expect(first.bytesMax).toBe(mebibyte);
  body();
  const second = room.forFlush(8 * mebibyte);
  expect(second.bytesMax).toBe(8 * mebibyte);
  const third = room.forFlush(8 * mebibyte);
  expect(third.bytesMax).toBe(mebibyte);
  second.holds(2 * mebibyte);
  expect(room.forFlush(8 * mebibyte).bytesMax).toBe(6 * mebibyte);
});

test('a flush has never more than its own limit', () => {
  expect(new Room(1_000_000_000).forFlush(10).bytesMax).toBe(10);
  expect(new Room(1).forFlush(10).bytesMax).toBe(10);
});
