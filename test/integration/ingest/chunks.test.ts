import { expect, test } from 'vitest';
import { at, expectStored, flush, newDataset, newInstance, query, send, tableOf } from '../support.ts';

const ctx = newInstance();

test('a request of many chunks is acknowledged as one, and all of it is there', async () => {
  const dataset = newDataset();
  const rows = Array.from({ length: 3_000 }, (_, v) => ({ timestamp: at(v % 60), v, s: 'x'.repeat(500) }));
  const { accepted } = await send(ctx, dataset, rows, 'k');
  expect(accepted).toMatchObject({ accepted: 3_000, replayed: false, chunks: 4 });
  const answer = await query(ctx, dataset, { columns: ['v'] });
  expect(answer.rows.map(({ v }) => Number(v)).sort((a, b) => a - b)).toEqual(rows.map(({ v }) => v));
  expect(answer.watermark).toBe(accepted.watermark);
  expect((await send(newInstance(), dataset, rows, 'k')).accepted).toEqual({ ...accepted, replayed: true });
  await flush(ctx, dataset);
  await expectStored(ctx, await tableOf(ctx, dataset), 3_000);
});

test('room is needed for the whole request before any of it is stored', async () => {
  const dataset = newDataset();
  const small = newInstance({ TIMESTORE_PENDING_ROWS_MAX: '5', TIMESTORE_CHUNK_BYTES_MAX: '60' });
  await send(small, dataset, [{ timestamp: at(0), v: 0 }]);
  const rows = [1, 2, 3, 4, 5].map((v) => ({ timestamp: at(v), v }));
  await expect(send(small, dataset, rows, 'k')).rejects.toMatchObject({ code: 'buffer-full' });
  expect((await query(small, dataset)).rows).toHaveLength(1);
  await flush(small, dataset);
  expect((await send(small, dataset, rows, 'k')).accepted).toMatchObject({ accepted: 5, chunks: 5, replayed: false });
});

test('the keys of all chunks are forgotten at the same moment, counted from the first', async () => {
  const dataset = newDataset();
  const small = newInstance({ TIMESTORE_CHUNK_BYTES_MAX: '60' });
  await send(
    small,
    dataset,
    [1, 2, 3].map((v) => ({ timestamp: at(v), v })),
    'k',
  );
  const table = await tableOf(small, dataset);
  const names = ['k', 'chunk:1:k', 'chunk:2:k'].map((key) => small.keys.idem(table, key));
  const expiries = await Promise.all(
    names.map((name) => small.redis.eval<string[], number>("return redis.call('PEXPIRETIME', KEYS[1])", [name], [])),
  );
  expect(new Set(expiries)).toHaveLength(1);
  expect(expiries[0]).toBeGreaterThan(0);
});
