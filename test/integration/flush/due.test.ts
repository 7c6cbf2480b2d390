import { describe, expect, test } from 'vitest';
import { takeLease } from '../../../src/buffer/lease.ts';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { encodeToken, type LaneMark } from '../../../src/buffer/watermark-token.ts';
import { StoreError } from '../../../src/core/errors.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import type { Context } from '../../../src/create-context.ts';
import { enqueueDueLanes, flushMessage, type LaneMessage } from '../../../src/flush/enqueue-due-lanes.ts';
import { flushDue } from '../../../src/flush/flush-due.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { sweepDue } from '../../../src/flush/sweep-due.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import type { Table } from '../../../src/schema/table.ts';
import type { ClickHouse } from '../../../src/stores/clickhouse/client.ts';
import { stage } from '../buffer/support.ts';
import { at, expectStored, type Instance, newInstance, newTable, onStored, query, send, through } from '../support.ts';

let names = 0;
/** Due lanes of a test's own. */
const ownKeys = (overrides: Record<string, string> = {}) => {
  names += 1;
  return { TIMESTORE_KEY_PREFIX: `due-${process.pid}-${names}`, ...overrides };
};

const refused = () => Promise.reject(new StoreError('clickhouse', 'did not answer', undefined));

function withoutClickHouse(instance: Instance): Instance & { tried: { n: number } } {
  const tried = { n: 0 };
  const away = () => {
    tried.n += 1;
    return refused();
  };
  const clickhouse = (): ClickHouse => ({ open: away, send: away, command: away, rows: refused });
  return { ...through(instance, { clickhouse }), tried };
}

async function pending(ctx: Context, table: Table): Promise<number> {
  const snapshot = await snapshotTable(ctx, table, 'state');
  return snapshot === 'unknown' ? Number.NaN : snapshot.lanes.reduce((sum, lane) => sum + lane.pendingRows, 0);
}

const until = (ctx: Context) => ctx.now() + 20_000;

test('a flush of everything reports the lanes that are left: held by another flush, or out of time', async () => {
  const ctx = newInstance(ownKeys());
  const tables = [await newTable(ctx), await newTable(ctx)];
  for (const table of tables) await stage(ctx, table, [1]);
  expect(await flushDue(ctx, ctx.now(), 'admin')).toMatchObject({ lanes: 2, rows: 0, left: 2 });
  const [held] = tables;
  if (held === undefined) throw new Error('there are two');
  const release = await takeLease(ctx, held, 0);
  // The cron leaves such a lane to the other flush.
  expect(await flushDue(ctx, until(ctx))).toMatchObject({ lanes: 2, rows: 1, left: 0 });
  expect(await flushDue(ctx, ctx.now() + 200, 'admin')).toMatchObject({ lanes: 1, rows: 0, left: 1 });
  const asked = flushDue(ctx, until(ctx), 'admin');
  await release?.();
  expect(await asked).toMatchObject({ lanes: 1, rows: 1, left: 0 });
  expect(await pending(ctx, held)).toBe(0);
});

describe('a lane whose flush fails', () => {
  test('waits longer each time, up to a limit, and is tried at once by who asks for it', async () => {
    const keys = ownKeys({ TIMESTORE_RETRY_MS: '60000', TIMESTORE_RETRY_MS_MAX: '200000' });
    const ctx = newInstance(keys);
    const table = await newTable(ctx);
    await stage(ctx, table, [1]);
    const away = withoutClickHouse(newInstance(keys));
    const retry = async () => Number(await ctx.redis.hget(ctx.keys.state(table, 0), 'retry'));
    const waits: number[] = [];
    for (let n = 0; n < 4; n += 1) {
      const from = Date.now();
      await expect(flushLane(away, table, 0, 'admin')).rejects.toBeInstanceOf(StoreError);
      waits.push((await retry()) - from);
    }
    expect(waits.map((wait) => Math.round(wait / 10_000))).toEqual([6, 12, 20, 20]);
    // Nothing is sent while it waits: not by the cron, not by a large write.
    expect(await flushDue(ctx, until(ctx))).toMatchObject({ lanes: 0 });
    expect(await flushLane(ctx, table, 0, 'size')).toMatchObject({ outcome: 'busy' });
    await stage(ctx, table, [2]);
    expect(await flushDue(ctx, until(ctx))).toMatchObject({ lanes: 0 });
    expect(await flushDue(ctx, until(ctx), 'admin')).toMatchObject({ lanes: 1, rows: 2, failed: 0 });
    expect(await retry()).toBe(0);
    await stage(ctx, table, [3]);
    expect(await flushDue(ctx, until(ctx))).toMatchObject({ lanes: 1, rows: 1, failed: 0 });
    await expectStored(ctx, table, 3);
  });

  test('holds up no other, and is not tried again in the same pass', async () => {
    const keys = ownKeys();
    const ctx = newInstance(keys);
    const [bad, good] = [await newTable(ctx), await newTable(ctx)];
    await stage(ctx, bad, [1]);
    await stage(ctx, good, [1]);
    await onStored(ctx, bad, `RENAME TABLE ${qualifiedName(bad)} TO \`ts_${bad.dataset}\`.moved`);
    await onStored(ctx, bad, `CREATE VIEW ${qualifiedName(bad)} AS SELECT 1 AS x`);
    expect(await flushDue(ctx, until(ctx))).toMatchObject({ lanes: 2, rows: 1, failed: 1, stopped: false });
    expect(await pending(ctx, good)).toBe(0);
    expect(await pending(ctx, bad)).toBe(1);
  });
});

test('without ClickHouse a pass ends after the first tries, and rows are still accepted', async () => {
  const keys = ownKeys();
  const ctx = newInstance(keys);
  const tables: Table[] = [];
  for (let n = 0; n < 12; n += 1) tables.push(await newTable(ctx));
  for (const table of tables) await stage(ctx, table, [1]);
  const away = withoutClickHouse(newInstance(keys));
  const result = await flushDue(away, until(ctx));
  expect(result).toMatchObject({ lanes: 12, rows: 0, stopped: true });
  // As many as are tried at once, of each shard.
  expect(result.failed).toBeLessThanOrEqual(3 * (ctx.cluster?.shards.length ?? 1));
  for (const table of tables) expect((await stage(ctx, table, [2])).outcome).toBe('staged');
});

test('[elsewhere 22] after an outage a lane with a long backlog does not starve the others: each moves one seal in turn', async () => {
  const keys = ownKeys({ TIMESTORE_FLUSH_ROWS_MAX: '2' });
  const ctx = newInstance(keys);
  const [long, fresh] = [await newTable(ctx), await newTable(ctx)];
  for (let n = 0; n < 12; n += 1) await stage(ctx, long, [n, n]);
  await stage(ctx, fresh, [1]);
  const flusher = newInstance(keys);
  expect(await flushDue(flusher, until(ctx))).toMatchObject({ lanes: 2, rows: 25, failed: 0 });
  const order = flusher.events.filter(({ event }) => event === 'flush').map(({ dataset }) => dataset);
  expect(order).toHaveLength(13);
  expect(order.indexOf(fresh.dataset)).toBeLessThan(6);
});

test('lanes with pending rows that are not due, as after the loss of that key, are found by the sweep', async () => {
  const keys = ownKeys();
  const ctx = newInstance(keys);
  const [one, other, empty] = [await newTable(ctx, 2), await newTable(ctx), await newTable(ctx)];
  await stage(ctx, one, [1], { lane: 1 });
  await stage(ctx, other, [1]);
  await ctx.redis.del(ctx.keys.due);
  expect(await flushDue(ctx, until(ctx))).toMatchObject({ lanes: 0 });
  expect(await sweepDue(ctx)).toBe(2);
  expect(await sweepDue(ctx)).toBe(0);
  expect(await flushDue(ctx, until(ctx))).toMatchObject({ lanes: 2, rows: 2 });
  expect(await pending(ctx, empty)).toBe(0);
});

describe('with a queue', () => {
  test('due lanes are handed on, and flushed once although messages come twice and at once', async () => {
    const keys = ownKeys({ TIMESTORE_FLUSH_ROWS_MAX: '2' });
    const ctx = newInstance(keys);
    const tables = [await newTable(ctx), await newTable(ctx)];
    for (const table of tables) for (const n of [1, 2, 3]) await stage(ctx, table, [n, n]);
    const sent: LaneMessage[] = [];
    const queue = {
      sendBatch: async (messages: { body: LaneMessage }[]) => {
        await Promise.resolve();
        sent.push(...messages.map(({ body }) => body));
      },
    };
    expect(await enqueueDueLanes(ctx, queue)).toEqual({ lanes: 2, hasJobs: false });
    expect(sent).toHaveLength(2);
    const consumers = [...sent, ...sent].map((body) => flushMessage(newInstance(keys), body, until(ctx)));
    await Promise.all(consumers);
    // One that found the lane busy leaves it to the other, and to the next message.
    for (const body of sent) await flushMessage(ctx, body, until(ctx));
    for (const table of tables) {
      await expectStored(ctx, table, 6);
      expect(await pending(ctx, table)).toBe(0);
    }
  });

  test('a message that fails or is invalid is logged and discarded', async () => {
    const keys = ownKeys();
    const ctx = newInstance(keys);
    const table = await newTable(ctx);
    await stage(ctx, table, [1]);
    const away = withoutClickHouse(newInstance(keys));
    const events: unknown[] = [];
    const quiet = { ...away, log: (event: unknown) => events.push(event) };
    await flushMessage(quiet, { dataset: table.dataset, physical: table.physical, lane: 0 }, until(ctx));
    await flushMessage(quiet, { lane: 'x' }, until(ctx));
    expect(events).toContainEqual(expect.objectContaining({ event: 'queue-flush-failed' }));
    expect(events).toContainEqual(expect.objectContaining({ event: 'queue-message-malformed' }));
    expect(await pending(ctx, table)).toBe(1);
  });
});

test('what an isolate of another clock does is the same: turns and waits go by the buffer’s clock', async () => {
  const keys = ownKeys();
  const ctx = newInstance(keys);
  for (const shift_ms of [-3_600_000, 3_600_000]) {
    const skewed = { ...newInstance(keys), now: () => Date.now() + shift_ms };
    const dataset = `${(await newTable(ctx)).dataset}s`;
    await send(skewed, dataset, [{ timestamp: at(1), v: 1 }]);
    expect(await flushDue(skewed, skewed.now() + 20_000)).toMatchObject({ lanes: 1, rows: 1, failed: 0 });
  }
});

describe('a log that is not the one of its state, as after a split that the buffer has resolved by itself', () => {
  const alarms = ({ events }: Instance) => events.filter(({ event }) => event === 'lane-differs');

  test.each([
    ['a batch is gone', "redis.call('XDEL', KEYS[2], '3-0')", { batches: 1, rows: 1, logged: 0 }],
    ['the state is an older one', "redis.call('HINCRBY', KEYS[1], 'seq', -1)", { batches: 0, rows: 1, logged: 1 }],
    ['rows are counted that nothing has', "redis.call('HINCRBY', KEYS[1], 'rows', 5)", undefined],
  ])('is reported by the next flush: %s', async (_, change, waiting) => {
    const ctx = newInstance(ownKeys());
    const table = await newTable(ctx);
    for (const value of [1, 2]) await stage(ctx, table, [value]);
    const small = newInstance({
      TIMESTORE_KEY_PREFIX: ctx.config.TIMESTORE_KEY_PREFIX,
      TIMESTORE_FLUSH_BATCHES_MAX: '2',
    });
    await stage(ctx, table, [3]);
    await ctx.redis.eval(change, [ctx.keys.state(table, 0), ctx.keys.log(table, 0)], []);
    expect(await flushLane(small, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 2 });
    if (waiting !== undefined) {
      const { dataset } = table;
      expect(alarms(small)).toEqual([
        expect.objectContaining({ alarm: true, dataset, table: 'm', lane: 0, ...waiting }),
      ]);
      return;
    }
    // As long as batches wait, only a look at each of them could tell.
    expect(alarms(small)).toEqual([]);
    await flushLane(small, table, 0, 'admin');
    expect(alarms(small)).toEqual([expect.objectContaining({ batches: 0, rows: 5, logged: 0 })]);
  });

  /** A lane of two batches, whose second one each side of a split has given to rows of its own: state of one, log of the other. */
  async function merged(ctx: Instance): Promise<{ table: Table; gone: string }> {
    const table = await newTable(ctx);
    const copy = async (...pairs: string[]) => {
      const script = "for i = 1, #KEYS, 2 do redis.call('COPY', KEYS[i], KEYS[i + 1], 'REPLACE') end";
      await ctx.redis.eval(script, pairs, []);
    };
    const [state, log, kept] = [ctx.keys.state(table, 0), ctx.keys.log(table, 0), `${ctx.keys.due}:kept`];
    await stage(ctx, table, [1]);
    await copy(state, `${kept}-state`, log, `${kept}-log`);
    const staged = await stage(ctx, table, [2]);
    if (staged.outcome !== 'staged') throw new Error('expected a batch');
    const { incarnation, seq, receivedAt_ms } = staged.batch;
    await copy(state, `${kept}-other`, `${kept}-state`, state, `${kept}-log`, log);
    await expect.poll(() => Date.now()).toBeGreaterThan(receivedAt_ms);
    await stage(ctx, table, [3]);
    await copy(`${kept}-other`, state);
    const gone = { dataset: table.dataset, table: 'm', lanes: [[0, incarnation, seq, receivedAt_ms] as LaneMark] };
    return { table, gone: encodeToken(gone) };
  }

  test.each([
    ['before it is flushed', '1', { batches: 1, logged: 1 }],
    ['as it is flushed', '100', { batches: 0, logged: 0 }],
  ])('is reported where both have as many batches: %s', async (_, batches_max, waiting) => {
    const ctx = newInstance(ownKeys({ TIMESTORE_FLUSH_BATCHES_MAX: batches_max }));
    const { table, gone } = await merged(ctx);
    const asked = async () => await query(ctx, table.dataset, { minWatermark: gone });
    const lost = { code: 'stale-read', extra: { lost: true } };
    await expect(asked()).rejects.toMatchObject(lost);
    await sweepDue(ctx);
    const differing = expect.objectContaining({ alarm: true, dataset: table.dataset, batches: 2, isOther: true });
    expect(alarms(ctx)).toEqual([differing]);
    expect((await auditTable(ctx, table)).lanes).toMatchObject([{ buffer: { isWhole: false } }]);
    expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok' });
    expect(alarms(ctx)).toEqual([differing, expect.objectContaining({ ...waiting, isOther: true })]);
    await expect(asked()).rejects.toMatchObject(lost);
    // Whoever reads now has what is there, and a token of it that holds.
    const { watermark } = (await query(ctx, table.dataset)).streaming;
    expect(await query(ctx, table.dataset, { minWatermark: watermark })).toMatchObject({ rows: [{ v: 1 }, { v: 3 }] });
  });

  test('is reported by the hourly sweep where nothing is flushed, and what adds up is not', async () => {
    const ctx = newInstance(ownKeys());
    const [whole, merged] = [await newTable(ctx), await newTable(ctx)];
    for (const table of [whole, merged]) {
      await stage(ctx, table, [1]);
      await flushLane(ctx, table, 0, 'admin');
    }
    await stage(ctx, whole, [2]);
    await sweepDue(ctx);
    expect(alarms(ctx)).toEqual([]);
    await ctx.redis.xadd(ctx.keys.log(merged, 0), '7-0', { id: 'another', n: '1' });
    await sweepDue(ctx);
    expect(alarms(ctx)).toEqual([
      {
        event: 'lane-differs',
        alarm: true,
        dataset: merged.dataset,
        table: 'm',
        lane: 0,
        batches: 0,
        rows: 0,
        logged: 1,
        isOther: false,
      },
    ]);
  });
});
