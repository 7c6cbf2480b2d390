import { describe, expect, test } from 'vitest';
import { inject } from '../../faults/injection.ts';
import { at, expectStored, flush, type Instance, newDataset, newInstance, query, send, tableOf } from '../support.ts';

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

test.each([
  ['smaller', ctx, newInstance({ TIMESTORE_CHUNK_BYTES_MAX: '60' })],
  ['larger', newInstance({ TIMESTORE_CHUNK_BYTES_MAX: '60' }), ctx],
])('a request repeated where chunks are %s has the chunks of its first attempt', async (_, first, again) => {
  const dataset = newDataset();
  const rows = [1, 2, 3, 4, 5].map((v) => ({ timestamp: at(v), v }));
  const { accepted } = await send(first, dataset, rows, 'k');
  expect((await send(again, dataset, rows, 'k')).accepted).toEqual({ ...accepted, replayed: true });
  expect((await query(ctx, dataset)).rows).toHaveLength(5);
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

describe('a request that comes again when its key is about to be forgotten', () => {
  const life_ms = 10_000;
  const limits = { TIMESTORE_IDEMPOTENCY_MS: String(life_ms), TIMESTORE_CHUNK_BYTES_MAX: '1000' };
  const short = newInstance(limits);
  const rows = Array.from({ length: 400 }, (_, v) => ({ timestamp: at(v % 60), v }));

  /** A dataset with its table, so that a request makes nothing but its chunks. */
  async function known(): Promise<string> {
    const dataset = newDataset();
    await send(short, dataset, [{ timestamp: at(0), v: -1 }]);
    return dataset;
  }

  async function left(dataset: string): Promise<number> {
    return await short.redis.pttl(short.keys.idem(await tableOf(short, dataset), 'k'));
  }

  const values = async (dataset: string) => {
    const answer = await query(ctx, dataset, { columns: ['v'] });
    return answer.rows.map(({ v }) => Number(v)).filter((v) => v >= 0);
  };

  /** Whose calls to the hot buffer wait, from the n-th script on, until the first chunk is forgotten. */
  function waiting(dataset: string, from: number): Instance {
    const instance = newInstance(limits);
    let scripts = 0;
    const redis = new Proxy(instance.redis, {
      get(target, name, self) {
        const member: unknown = Reflect.get(target, name, self);
        if (name !== 'evalsha') return member;
        return async (sha1: string, keys: string[], args: string[]) => {
          scripts += 1;
          if (scripts === from) await expect.poll(() => left(dataset)).toBe(-2);
          return await target.evalsha(sha1, keys, args);
        };
      },
    });
    return { ...instance, redis };
  }

  test('at every age it is answered as before, or is a new one: never stored again in part', async () => {
    const dataset = await known();
    const first = (await send(short, dataset, rows, 'k')).accepted;
    expect(first.chunks).toBeGreaterThan(10);
    let replayed = 0;
    for (;;) {
      const again = await send(short, dataset, rows, 'k').catch((error) => error);
      // One that began just in time, and went on for too long.
      if (again.code === 'key-expired') continue;
      expect(again.accepted.accepted).toBe(400);
      if (!again.accepted.replayed) break;
      expect(again.accepted).toEqual({ ...first, replayed: true });
      replayed += 1;
    }
    expect(replayed).toBeGreaterThan(1);
    const stored = await values(dataset);
    expect(stored).toHaveLength(800);
    expect(new Set(stored)).toHaveLength(400);
  });

  test.each([2, 9])('held up before its chunk %i until the first is forgotten, it stores nothing', async (n) => {
    const dataset = await known();
    await send(short, dataset, rows, 'k');
    await expect(send(waiting(dataset, n), dataset, rows, 'k')).rejects.toMatchObject({
      code: 'key-expired',
      extra: { stored: expect.any(Number) },
    });
    expect(await values(dataset)).toHaveLength(400);
  });

  test('broken off, it is completed while there is time, and refused with what is stored of it later', async () => {
    const dataset = await known();
    const broken = inject(newInstance(limits), { call: 8, kind: 'dies before' });
    await Promise.race([send(broken, dataset, rows, 'k'), broken.died]);
    const stored = (await values(dataset)).length;
    expect(stored).toBeGreaterThan(0);
    expect(stored).toBeLessThan(400);
    await expect.poll(() => left(dataset), { interval: 5 }).toBeLessThan(life_ms / 8);
    await expect(send(short, dataset, rows, 'k')).rejects.toMatchObject({ code: 'key-expired', extra: { stored } });
    expect((await values(dataset)).sort((a, b) => a - b)).toEqual(rows.slice(0, stored).map(({ v }) => v));

    const second = await known();
    const other = inject(newInstance(limits), { call: 8, kind: 'dies before' });
    await Promise.race([send(other, second, rows, 'k'), other.died]);
    expect((await send(short, second, rows, 'k')).accepted).toMatchObject({ accepted: 400, replayed: false });
    expect(new Set(await values(second))).toHaveLength(400);
    expect(await values(second)).toHaveLength(400);
  });
});
