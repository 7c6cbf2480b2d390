import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { sealLane } from '../../../src/buffer/seal.ts';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { stageBatch } from '../../../src/buffer/stage.ts';
import type { Table } from '../../../src/catalog/table.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { type CountingProxy, startCountingProxy } from '../../bench/counting-proxy.ts';
import { expectStored, type Instance, newInstance, newTable } from '../support.ts';
import { stage } from './support.ts';

let proxy: CountingProxy;
let ctx: Instance;

beforeAll(async () => {
  proxy = await startCountingProxy(newInstance().config.UPSTASH_REDIS_REST_URL);
  ctx = newInstance({ UPSTASH_REDIS_REST_URL: proxy.url });
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

test('a seal of 10,000 batches', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  // As if it had been sent so often: that many requests would take a minute.
  await ctx.redis.eval(
    `local entry = redis.call('XRANGE', KEYS[1], '-', '+')[1]
     for seq = 2, 10000 do
       entry[2][2] = string.format('%036d', seq)
       redis.call('XADD', KEYS[1], seq .. '-0', unpack(entry[2]))
     end
     local bytes = redis.call('HGET', KEYS[2], 'bytes')
     redis.call('HSET', KEYS[2], 'seq', 10000, 'rows', 10000, 'bytes', bytes * 10000)`,
    [ctx.keys.log(table, 0), ctx.keys.state(table, 0)],
    [],
  );
  await snapshotTable(ctx, table, 'entries');
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 10_000 });
});

test('a seal whose batches have much said of them', async () => {
  const table = await textTable();
  const meta = JSON.stringify({ attributes: { file: '"'.repeat(1_900) } });
  await stageTexts(table, 600, 'x', meta);
  let rows = 0;
  for (;;) {
    const flushed = await flushLane(ctx, table, 0, 'admin');
    if (flushed.outcome !== 'ok') break;
    rows += flushed.rows;
  }
  expect(rows).toBe(600);
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
