import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { markDue } from '../../../src/buffer/due.ts';
import { measureMemory, readMemory } from '../../../src/buffer/memory.ts';
import { sealLane } from '../../../src/buffer/seal.ts';
import { dropTable } from '../../../src/catalog/drop-table.ts';
import { drainManifestOutbox } from '../../../src/catalog/manifest-outbox.ts';
import type { ApiError } from '../../../src/core/errors.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { settingsVersion } from '../../../src/flush/insert.ts';
import { test } from '../fixtures.ts';
import {
  at,
  expectStored,
  flush,
  type Instance,
  newDataset,
  newInstance,
  onStored,
  query,
  send,
  storedRows,
  tableOf,
  through,
} from '../support.ts';
import { type OwnBuffer, startOwnBuffer } from './own-buffer.ts';

let buffer: OwnBuffer;
let ctx: Instance;

beforeAll(async () => {
  buffer = await startOwnBuffer();
  ctx = newInstance(buffer.env);
});
afterEach(() => buffer.freeMemory());
afterAll(() => buffer.stop());

const refusal = (sending: Promise<unknown>) =>
  sending.then(
    () => undefined,
    (error: ApiError) => error,
  );

const bufferFull = { code: 'buffer-full', retryAfterMs: expect.any(Number) };

/** Sends batches until the buffer takes no more; answers how many it has taken. */
async function fill(dataset: string, rowsOf: (n: number) => object[]): Promise<number> {
  for (let n = 0; n < 100_000; n += 1) {
    const refused = await refusal(send(ctx, dataset, rowsOf(n)));
    if (refused === undefined) continue;
    expect(refused).toMatchObject(bufferFull);
    expect(refused.retryAfterMs).toBeGreaterThanOrEqual(1_000);
    return n;
  }
  throw new Error('the buffer takes everything');
}

test('a buffer full of pending rows answers 429, drains, and takes rows again', async () => {
  const [dataset, other] = [newDataset(), newDataset()];
  await send(
    ctx,
    other,
    Array.from({ length: 50 }, (_, n) => ({ timestamp: at(n), v: n })),
  );
  await send(ctx, dataset, [{ timestamp: at(0), v: 'x' }]);
  await buffer.limitMemory(3_000_000);
  const text = 'x'.repeat(20_000);
  const taken = await fill(dataset, (n) => [{ timestamp: at(n % 60), v: text }]);
  expect(taken).toBeGreaterThan(50);
  // Small ones fit in for a while.
  const others = 50 + (await fill(other, (n) => [{ timestamp: at(n % 60), v: n }]));

  expect(await flush(ctx, other)).toMatchObject({ complete: true, rows: others });
  await expectStored(ctx, await tableOf(ctx, other), others);
  expect(await flush(ctx, dataset)).toMatchObject({ complete: true, rows: taken + 1 });
  await expectStored(ctx, await tableOf(ctx, dataset), taken + 1);

  await send(ctx, other, [{ timestamp: at(1), v: 1 }]);
  await send(ctx, dataset, [{ timestamp: at(1), v: text }]);
  expect((await query(ctx, other)).rows).toHaveLength(others + 1);
});

test('where nothing is left at all, rows are refused with 429 and pending ones still leave', async ({ dataset }) => {
  const rows = [1, 2, 3].map((v) => ({ timestamp: at(v), v }));
  await send(ctx, dataset, rows);
  const table = await tableOf(ctx, dataset);
  await buffer.exhaustMemory();
  for (const key of [undefined, 'k']) expect(await refusal(send(ctx, dataset, rows, key))).toMatchObject(bufferFull);
  // A dataset that is new, too.
  expect(await refusal(send(ctx, newDataset(), rows))).toMatchObject(bufferFull);
  expect((await query(ctx, dataset)).rows).toHaveLength(3);

  // One flush fails at ClickHouse, and the lane waits for its next try.
  const failing = through(ctx, {
    clickhouse: (client) =>
      new Proxy(client, {
        get: (target, name) => {
          const member: unknown = Reflect.get(target, name);
          if (name === 'send') return () => Promise.reject(new Error('ClickHouse is unavailable'));
          return typeof member === 'function' ? member.bind(target) : member;
        },
      }),
  });
  await expect(flushLane(failing, table, 0, 'admin')).rejects.toThrow();
  expect(await flushLane(ctx, table, 0, 'cron')).toMatchObject({ outcome: 'busy' });
  // Its seal is taken over, published, and its manifest goes through the outbox.
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 3 });
  await expectStored(ctx, table, 3);
  await drainManifestOutbox(ctx);
  const [manifest] = await ctx.postgres.rows('select rows from manifests where dataset = $1', [dataset]);
  expect(manifest).toEqual({ rows: '3' });

  await buffer.freeMemory();
  await send(ctx, dataset, rows);
  expect((await query(ctx, dataset)).rows).toHaveLength(6);
});

test('rows that ClickHouse refuses go into quarantine from a buffer that is full', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  await flush(ctx, dataset);
  const table = await tableOf(ctx, dataset);
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} ADD CONSTRAINT positive CHECK v >= 0`);
  await send(
    ctx,
    dataset,
    [1, -2, 3].map((v) => ({ timestamp: at(1), v })),
  );
  await buffer.exhaustMemory();
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 3 });
  expect(await storedRows(ctx, table)).toBe(3);
  expect((await query(ctx, dataset, { tableName: '_quarantine' })).rows).toMatchObject([{ seq: 2, row: 1 }]);
});

test('a full buffer loses and finds its due marks, and forgets a table that is dropped', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  const table = await tableOf(ctx, dataset);
  await ctx.redis.del(ctx.keys.due);
  await buffer.exhaustMemory();
  expect(await markDue(ctx, [{ table, lane: 0 }])).toEqual({ added: 1, differing: [] });
  expect(await sealLane(ctx, table, 0, settingsVersion, true)).toMatchObject({ outcome: 'sealed' });
  await dropTable(ctx, table);
  expect(await ctx.redis.exists(ctx.keys.state(table, 0), ctx.keys.log(table, 0))).toBe(0);
});

const one = [{ timestamp: at(0), v: 0 }];

/** Sends requests under keys of their own until one is refused. */
async function useKeys(instance: Instance, dataset: string): Promise<{ taken: number; refused: ApiError }> {
  for (let n = 0; n < 1_000; n += 1) {
    const refused = await refusal(send(instance, dataset, one, `key-${n}`));
    if (refused !== undefined) return { taken: n, refused };
  }
  throw new Error('every key is taken');
}

describe('what is remembered of keys', () => {
  test('is bounded for each dataset, reported with its limit, and released when keys are forgotten', async () => {
    const life_ms = 3_000;
    const limits = { TIMESTORE_IDEMPOTENCY_BYTES_MAX: '3000', TIMESTORE_IDEMPOTENCY_MS: String(life_ms) };
    const small = newInstance({ ...buffer.env, ...limits });
    const [dataset, other] = [newDataset(), newDataset()];
    const { taken, refused } = await useKeys(small, dataset);
    expect(refused).toMatchObject({ ...bufferFull, message: expect.stringContaining('limit idempotency_bytes_max') });
    expect(refused.retryAfterMs).toBeLessThanOrEqual(life_ms + 1_000);
    expect(taken).toBeGreaterThan(5);
    // What was accepted is known, and nobody else is kept off.
    expect((await send(small, dataset, one, 'key-0')).accepted.replayed).toBe(true);
    await send(small, other, one, 'key');
    await expect.poll(() => refusal(send(small, dataset, one, 'later'))).toBeUndefined();
    expect((await query(ctx, dataset)).rows).toHaveLength(taken + 1);
  });

  test('is counted at about what it takes', async ({ dataset }) => {
    await send(ctx, dataset, one);
    const counted = async () => Number(await ctx.redis.hget(ctx.keys.remembered(dataset), 'bytes'));
    const before = { counted: await counted(), used: (await readMemory(ctx))?.used ?? 0 };
    const keys = Array.from({ length: 1_000 }, () => crypto.randomUUID());
    for (let n = 0; n < keys.length; n += 50) {
      await Promise.all(keys.slice(n, n + 50).map((key) => send(ctx, dataset, one, key)));
    }
    await flush(ctx, dataset);
    const bytes = ((await counted()) - before.counted) / keys.length;
    const took = (((await readMemory(ctx))?.used ?? 0) - before.used) / keys.length;
    expect(bytes / took).toBeGreaterThan(0.8);
    expect(bytes / took).toBeLessThan(1.3);
  });

  test('is forgotten after minutes where the client sent no key', async ({ dataset }) => {
    await send(ctx, dataset, one);
    const table = await tableOf(ctx, dataset);
    const [key = ''] = (await buffer.command('KEYS', ctx.keys.idem(table, 'auto:*'))) as string[];
    const left_ms = Number(await buffer.command('PTTL', key));
    expect(left_ms).toBeGreaterThan(0);
    expect(left_ms).toBeLessThanOrEqual(ctx.config.limits.idempotency_auto_ms);
  });

  test('is read as earlier versions have written it', async ({ dataset }) => {
    await send(ctx, dataset, one, 'k');
    const table = await tableOf(ctx, dataset);
    const name = ctx.keys.idem(table, 'k');
    const [id, rows, inc, seq, time] = String(await buffer.command('GET', name)).split(' ');
    const hash = createHash('sha256')
      .update(`ndjson\n${JSON.stringify(one[0])}`)
      .digest('hex');
    const old = { hash, id, rows: Number(rows), inc, seq: Number(seq), at: Number(time), plan: rows, lane: 0 };
    await buffer.command('SET', name, JSON.stringify(old), 'PX', '60000');
    expect((await send(ctx, dataset, one, 'k')).accepted).toMatchObject({ accepted: 1, replayed: true });
    await expect(send(ctx, dataset, [{ timestamp: at(1), v: 1 }], 'k')).rejects.toMatchObject({ code: 'key-reused' });
    expect((await query(ctx, dataset)).rows).toHaveLength(1);
  });
});

describe('where the limit of the memory is known', () => {
  const text = 'x'.repeat(20_000);

  test('rows are refused before it is reached, and taken again once others have left', async () => {
    const used = (await readMemory(ctx))?.used ?? 0;
    const limited = newInstance({ ...buffer.env, BUFFER_BYTES_MAX: String(used + 2_000_000) });
    await measureMemory(limited);
    const dataset = newDataset();
    let taken = 0;
    let refused: ApiError | undefined;
    while (refused === undefined) {
      refused = await refusal(send(limited, dataset, [{ timestamp: at(0), v: text }]));
      taken += refused === undefined ? 1 : 0;
    }
    expect(refused).toMatchObject({ ...bufferFull, message: expect.stringContaining('memory') });
    expect((await readMemory(ctx))?.used).toBeLessThan(used + 2_500_000);
    expect(await flush(limited, dataset)).toMatchObject({ complete: true, rows: taken });
    // What is known of the memory is measured again for whoever would be refused.
    await expect.poll(() => refusal(send(limited, dataset, [{ timestamp: at(0), v: text }]))).toBeUndefined();
  });

  test('near it a dataset with many keys is refused, and one with few is not', async () => {
    const [dataset, other] = [newDataset(), newDataset()];
    const used = (await readMemory(ctx))?.used ?? 0;
    const limits = { BUFFER_BYTES_MAX: String(Math.ceil(used * 1.2)), TIMESTORE_IDEMPOTENCY_BYTES_MIN: '3000' };
    const limited = newInstance({ ...buffer.env, ...limits });
    await measureMemory(limited);
    const { refused } = await useKeys(limited, dataset);
    expect(refused).toMatchObject({ ...bufferFull, message: expect.stringContaining('limit idempotency_bytes_min') });
    await send(limited, other, one, 'key');
  });

  test('it is read from the report of the server', async () => {
    await buffer.command('CONFIG', 'SET', 'maxmemory', '123456789');
    expect(await readMemory(ctx)).toEqual({ used: expect.any(Number), max: 123_456_789 });
    // As the hosted service tells it; its maxmemory is that of a cache.
    const info =
      '# Memory\r\nused_memory:1024\r\nmaxmemory:67108864\r\n# Persistence\r\ntotal_data_size:2048\r\nmax_data_size:1000\r\n';
    const hosted = Object.create(ctx.redis, { inTurn: { value: async () => [{ result: info }] } });
    expect(await readMemory({ ...ctx, redis: hosted })).toEqual({ used: 2_048, max: 900 });
  });
});
