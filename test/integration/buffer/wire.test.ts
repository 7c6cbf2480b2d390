import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { sealLane } from '../../../src/buffer/seal.ts';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { stageBatch } from '../../../src/buffer/stage.ts';
import { findTable } from '../../../src/catalog/find-table.ts';
import { drainManifestOutbox } from '../../../src/catalog/manifest-outbox.ts';
import { knownTables } from '../../../src/catalog/table-cache.ts';
import { StoreError } from '../../../src/core/errors.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import type { Table } from '../../../src/schema/table.ts';
import { readCounters } from '../../../src/stores/counters.ts';
import { type CountingProxy, startCountingProxy } from '../../bench/counting-proxy.ts';
import { at, expectStored, flush, type Instance, newInstance, newTable, query, send } from '../support.ts';
import { stage } from './support.ts';

let proxy: CountingProxy;
let ctx: Instance;

beforeAll(async () => {
  proxy = await startCountingProxy(newInstance().config.UPSTASH_REDIS_REST_URL);
  ctx = newInstance({ UPSTASH_REDIS_REST_URL: proxy.url, TIMESTORE_REDIS_TIMEOUT_MS: '60000' });
});
afterAll(() => proxy.stop());

/** Whatever a test did: no request and no reply was longer than the limit, which the local front holds to the hosted one's as well. */
afterEach(() => {
  const { requestBytesMax, replyBytesMax } = proxy.take();
  expect(Math.max(requestBytesMax, replyBytesMax)).toBeLessThanOrEqual(ctx.config.limits.redis_wire_bytes_max);
});

/** Stages so many batches, each of one row with a text. */
async function stageTexts(table: Table, batches: number, text: string, meta = ''): Promise<void> {
  const value = JSON.stringify(text);
  const send = async (n: number) => {
    const payload = `{"_row":0,"timestamp":"2026-05-01 10:00:00.000","s":${value}}\n`;
    const time_ms = Date.parse('2026-05-01T10:00:00Z');
    const place = { first: { rows: 1, bytes: payload.length + meta.length } };
    const batch = { payload, rows: 1, timeMin_ms: time_ms, timeMax_ms: time_ms, windows: [20574] };
    const request = { lane: 0, idempotencyKey: `${n}`, requestHash: 'h', plan: { rows: [1], quarantined: [] }, meta };
    const staged = await stageBatch(ctx, table, { ...request, batch, place, durable: false });
    if (staged.outcome !== 'staged') throw new Error(`not staged: ${staged.outcome}`);
  };
  for (let n = 0; n < batches; n += 50) {
    await Promise.all(Array.from({ length: Math.min(50, batches - n) }, (_, i) => send(n + i)));
  }
}

const textTable = (lanes = 1) => newTable(ctx, lanes, [{ name: 's', type: 'string' }]);
const quotes = '"\\'.repeat(60_000);

test('a seal of 8 MiB of quotes and backslashes comes in several replies, and all of it is stored', async () => {
  const table = await textTable();
  await stageTexts(table, 40, quotes);
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 34 });
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 6 });
  await expectStored(ctx, table, 40);
});

test('a tail of 8 MiB of quotes comes in several replies as one snapshot', async () => {
  const table = await textTable();
  await stageTexts(table, 34, quotes);
  const snapshot = await snapshotTable(ctx, table, 'entries');
  if (snapshot === 'unknown') throw new Error('expected a snapshot');
  expect(snapshot.tail).toBe('ready');
  expect(snapshot.lanes[0]?.tail.map(({ seq }) => seq)).toEqual(Array.from({ length: 34 }, (_, i) => i + 1));
  expect(new Set(snapshot.lanes[0]?.tail.map(({ payload }) => payload)).size).toBe(1);
});

/** As if the one batch that there is had been sent so often: that many requests would take a minute. */
async function repeatBatch(table: Table, times: number): Promise<void> {
  await ctx.redis.eval(
    `local entry = redis.call('XRANGE', KEYS[1], '-', '+')[1]
     for seq = 2, tonumber(ARGV[1]) do
       entry[2][2] = string.format('%036d', seq)
       redis.call('XADD', KEYS[1], seq .. '-0', unpack(entry[2]))
     end
     local bytes = redis.call('HGET', KEYS[2], 'bytes')
     redis.call('HSET', KEYS[2], 'seq', ARGV[1], 'rows', ARGV[1], 'bytes', bytes * ARGV[1])`,
    [ctx.keys.log(table, 0), ctx.keys.state(table, 0)],
    [times],
  );
}

test('a seal of 10,000 batches', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await repeatBatch(table, 10_000);
  expect(await snapshotTable(ctx, table, 'entries')).toMatchObject({ tail: 'ready', lanes: [{ pendingRows: 10_000 }] });
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 10_000 });
});

/** As much as may be said of a batch. */
const meta = JSON.stringify({ attributes: { file: '"'.repeat(2_000) } });

test('of batches with much said of them a flush takes no more than a manifest may say', async () => {
  const table = await textTable();
  await stageTexts(table, 1, 'x', meta);
  await repeatBatch(table, 1_900);
  let flushes = 0;
  let rows = 0;
  for (let more = true; more; flushes += 1) {
    const flushed = await flushLane(ctx, table, 0, 'admin');
    rows += flushed.rows;
    more = flushed.more;
  }
  expect(rows).toBe(1_900);
  expect(flushes).toBe(9);
  await drainManifestOutbox(ctx);
  const [found] = await ctx.postgres.rows<{ n: string }>(
    'select sum(jsonb_array_length(batches)) as n from manifests where dataset = $1',
    [table.dataset],
  );
  expect(found?.n).toBe('1900');
});

test('a seal that was fixed under a larger limit is published with what its manifest may say of its batches', async () => {
  const larger = newInstance({
    TIMESTORE_FLUSH_META_BYTES_MAX: '8388608',
    TIMESTORE_REDIS_WIRE_BYTES_MAX: '80000000',
    UPSTASH_REDIS_REST_URL: proxy.url,
    TIMESTORE_REDIS_TIMEOUT_MS: '60000',
  });
  const table = await textTable();
  await stageTexts(table, 1, 'x', meta);
  await repeatBatch(table, 1_900);
  // Its reply is too long; what it has fixed stays.
  await expect(sealLane(larger, table, 0, 1, true)).rejects.toThrow(StoreError);
  const own = newInstance({ UPSTASH_REDIS_REST_URL: proxy.url, TIMESTORE_REDIS_TIMEOUT_MS: '60000' });
  expect(await flushLane(own, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 1_900 });
  expect(own.events).toContainEqual(expect.objectContaining({ event: 'manifest-cut', alarm: true, said: 1_900 }));
});

test('50,000 sums of what has happened, with long labels', async () => {
  const own = newInstance({
    UPSTASH_REDIS_REST_URL: proxy.url,
    TIMESTORE_REDIS_TIMEOUT_MS: '60000',
    TIMESTORE_KEY_PREFIX: `wire-${process.pid}`,
  });
  for (let n = 0; n < 50_000; n += 1) {
    own.counters.add('timestore_ingest_rows_total', { dataset: `${'d'.repeat(56)}${String(n).padStart(6, '0')}` });
  }
  await own.counters.send(own);
  const sums = await readCounters(own);
  await own.redis.del(own.keys.metrics);
  expect(sums.size).toBe(50_000);
});

test('a table of 1,000 fields with names as long as they may be, and defaults', async () => {
  const names = Array.from({ length: 998 }, (_, n) => `${'ü'.repeat(124)}${String(n).padStart(4, '0')}`);
  const given = { name: 'given', type: 'string' as const, default: JSON.stringify('"'.repeat(30_000)), since: 1 };
  const table = await newTable(ctx, 1, [...names.map((name) => ({ name, type: 'string' as const })), given]);
  await send(ctx, table.dataset, [{ timestamp: at(0), given: 'x' }]);
  expect(await flush(ctx, table.dataset)).toMatchObject({ complete: true });
  expect((await query(ctx, table.dataset)).rows[0]).toMatchObject({ given: 'x' });
  await ctx.redis.del(ctx.keys.table(table.dataset, 'm'));
  knownTables(ctx).clear();
  expect((await findTable(ctx, table.dataset, 'm'))?.schema.fields).toHaveLength(1_000);
  knownTables(ctx).clear();
  expect((await findTable(ctx, table.dataset, 'm'))?.schema.fields).toHaveLength(1_000);
  expect(await ctx.redis.hexists(ctx.keys.table(table.dataset, 'm'), 'definition')).toBe(1);
});

test('a lane takes no more than its log may have, however little is in a batch', async () => {
  const small = newInstance({
    UPSTASH_REDIS_REST_URL: proxy.url,
    TIMESTORE_REDIS_TIMEOUT_MS: '60000',
    TIMESTORE_PENDING_BYTES_MAX: '100000',
  });
  const table = await newTable(small);
  let staged = 0;
  while ((await stage(small, table, [staged])).outcome === 'staged') staged += 1;
  const [used] = await small.redis.eval<[], [number]>(
    "return {redis.call('MEMORY', 'USAGE', KEYS[1])}",
    [small.keys.log(table, 0)],
    [],
  );
  expect(used).toBeLessThan(100_000);
  expect(staged).toBeGreaterThan(200);
});

test('a seal that another flusher publishes between two pages is fenced, and nothing of it is moved again', async () => {
  const table = await textTable();
  await stageTexts(table, 34, quotes);
  const slow = newInstance();
  let published = false;
  const between = new Proxy(slow.redis, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown;
      if (name !== 'evalsha') return typeof member === 'function' ? member.bind(target) : member;
      return async (...args: unknown[]) => {
        const reply = await (member as (...all: unknown[]) => Promise<unknown>).apply(target, args);
        // The first page is there, the others are not.
        if (!published && Array.isArray(reply) && reply[0] === 'sealed') {
          published = true;
          await flushLane(ctx, table, 0, 'admin');
        }
        return reply;
      };
    },
  });
  expect(await sealLane({ ...slow, redis: between }, table, 0, 1, true)).toEqual({
    outcome: 'fenced',
    what: 'published',
  });
  expect(published).toBe(true);
  await expectStored(ctx, table, 34);
});
