import { describe, expect, test } from 'vitest';
import { snapshotTable } from '../../src/buffer/snapshot.ts';
import { changeTable } from '../../src/catalog/change-table.ts';
import { findTable } from '../../src/catalog/find-table.ts';
import type { Context } from '../../src/context.ts';
import { StoreError } from '../../src/errors.ts';
import { flushLane } from '../../src/flush/flush-lane.ts';
import { drainOutbox } from '../../src/flush/outbox.ts';
import { ingestRows } from '../../src/ingest/ingest.ts';
import { qualifiedName } from '../../src/names.ts';
import { openRecords, replayRecords } from '../../src/quarantine/replay.ts';
import {
  at,
  expectStored,
  flush,
  newDataset,
  newInstance,
  query,
  type Row,
  send,
  tableOf,
} from '../integration/support.ts';
import { type Fault, faultKinds, type Injected, inject } from './injection.ts';

// Keys of this file's own: nobody else flushes its lanes or drains its outbox.
const prefix = { TIMESTORE_KEY_PREFIX: `crash-${process.pid}` };
const ctx = newInstance(prefix);

/** One batch with rows in two partitions, and one with a field that the first lacks. */
const firstBatch = [
  { timestamp: at(1), v: 1 },
  { timestamp: at(1, 2), v: 2 },
];
const secondBatch = [{ timestamp: at(2), v: 3, extra: 'x' }];

/** Runs work in an instance of its own with a fault; resolves when it has ended, well or badly, or died. */
async function withFault(
  fault: Fault | undefined,
  work: (instance: Context) => Promise<unknown>,
  overrides: Record<string, string> = prefix,
): Promise<Injected<Context>> {
  const instance = inject(newInstance(overrides), fault);
  const ended = work(instance).then(
    () => undefined,
    (error) => {
      if (!(error instanceof StoreError)) throw error;
    },
  );
  await Promise.race([ended, instance.died]);
  return instance;
}

function inOrder(rows: object[]): string[] {
  return rows.map((row) => JSON.stringify(Object.entries(row).filter(([, value]) => value !== null))).sort();
}

/** Every acknowledged row, once, in the answer of a function that knows nothing of what happened. */
async function expectAnswered(dataset: string, rows: object[]): Promise<void> {
  const answer = await query(newInstance(prefix), dataset);
  expect(inOrder(answer.rows as Row[])).toEqual(inOrder(rows));
  expect(answer.streaming.fresh).toBe(true);
}

async function expectFlushed(dataset: string, rows: number): Promise<void> {
  // The lease of a dead flusher runs out.
  const table = await tableOf(ctx, dataset);
  await ctx.redis.del(...[0, 1, 2].map((lane) => ctx.keys.lease(table, lane)));
  expect(await flush(newInstance(prefix), dataset)).toMatchObject({ complete: true });
  await expectStored(ctx, table, rows);
  const snapshot = await snapshotTable(ctx, table, 'state');
  if (snapshot === 'unknown') throw new Error('the lane is unknown');
  for (const lane of snapshot.lanes) {
    expect(lane).toMatchObject({ watermark: lane.seq, pendingRows: 0, sealedTo: undefined, oldest_ms: undefined });
  }
}

const points = (calls: string[]) =>
  calls.flatMap((name, call) => faultKinds.map((kind) => ({ name: `${call} ${name} ${kind}`, fault: { call, kind } })));

async function twoBatches(): Promise<string> {
  const dataset = newDataset();
  await send(ctx, dataset, firstBatch);
  await send(ctx, dataset, secondBatch);
  // The column of the new field is not there yet, as when ClickHouse was away: the flush has to add it.
  const { dataset: database, physical } = await tableOf(ctx, dataset);
  await ctx.clickhouse.command(`ALTER TABLE \`ts_${database}\`.\`${physical}\` DROP COLUMN extra`);
  return dataset;
}

const flushAndDrain = (dataset: string) => async (instance: Context) => {
  await flushLane(instance, await tableOf(instance, dataset), 0, 'admin');
  await drainOutbox(instance);
};

// Once, so that Redis knows the scripts and the calls counted are those of every later time.
await flushAndDrain(await twoBatches())(ctx);

const flushCalls = (await withFault(undefined, flushAndDrain(await twoBatches()))).calls;

describe('a flush that goes wrong at any call: every acknowledged row is in every answer, and in ClickHouse once', () => {
  test('there are calls to go wrong', () => {
    expect(flushCalls).toEqual([
      ...['redis.hget', 'redis.set', 'redis.evalsha', 'clickhouse.command', 'clickhouse.rows', 'clickhouse.send'],
      ...['clickhouse.rows', 'clickhouse.command', 'redis.evalsha', 'redis.evalsha', 'redis.xrange'],
      ...['postgres.transaction', 'redis.xdel'],
    ]);
  });

  test.each(points(flushCalls))('$name', async ({ fault }) => {
    const dataset = await twoBatches();
    const instance = await withFault(fault, flushAndDrain(dataset));
    await expectAnswered(dataset, [...firstBatch, ...secondBatch]);

    const later = { timestamp: at(5), v: 5 };
    await send(ctx, dataset, [later]);
    await expectAnswered(dataset, [...firstBatch, ...secondBatch, later]);

    await expectFlushed(dataset, 4);
    await instance.releaseLate();
    await expectStored(ctx, await tableOf(ctx, dataset), 4);
    await expectAnswered(dataset, [...firstBatch, ...secondBatch, later]);

    await drainOutbox(ctx);
    const [recorded] = await ctx.postgres.rows<{ rows: string; ranges: string }>(
      `select sum(rows) as rows, string_agg(seq_from || '-' || seq_to, ' ' order by seq_from) as ranges
         from manifests where dataset = $1`,
      [dataset],
    );
    expect(recorded).toEqual({ rows: '4', ranges: expect.stringMatching(/^1-2 3-3$|^1-3$/) });
  });
});

const sendOnce = (dataset: string) => (instance: Context) => send(instance, dataset, firstBatch, 'the-key');

const firstCalls = (await withFault(undefined, sendOnce(newDataset()))).calls;

describe('a first write that goes wrong at any call: sent again with its key it is stored once', () => {
  test.each(points(firstCalls))('$name', async ({ fault }) => {
    const dataset = newDataset();
    const instance = await withFault(fault, sendOnce(dataset));
    const { accepted } = await send(newInstance(prefix), dataset, firstBatch, 'the-key');
    expect(accepted).toMatchObject({ accepted: 2 });
    await expectAnswered(dataset, firstBatch);
    await instance.releaseLate();
    await expectAnswered(dataset, firstBatch);
    await expectFlushed(dataset, 2);
    expect((await send(newInstance(prefix), dataset, firstBatch, 'the-key')).accepted).toMatchObject({
      replayed: true,
    });
    await expectAnswered(dataset, firstBatch);
  });
});

const sendNewField = (dataset: string) => (instance: Context) => send(instance, dataset, secondBatch, 'the-key');

async function oneBatch(): Promise<string> {
  const dataset = newDataset();
  await send(ctx, dataset, firstBatch);
  return dataset;
}

const evolveCalls = (await withFault(undefined, sendNewField(await oneBatch()))).calls;

describe('a write with a new field that goes wrong at any call: sent again with its key it is stored once', () => {
  test.each(points(evolveCalls))('$name', async ({ fault }) => {
    const dataset = await oneBatch();
    const instance = await withFault(fault, sendNewField(dataset));
    await send(newInstance(prefix), dataset, secondBatch, 'the-key');
    await instance.releaseLate();
    await expectAnswered(dataset, [...firstBatch, ...secondBatch]);
    await expectFlushed(dataset, 3);
    await expectAnswered(dataset, [...firstBatch, ...secondBatch]);
  });
});

// Three chunks of one row each.
const small = { ...prefix, TIMESTORE_CHUNK_BYTES_MAX: '60' };
const chunked = [1, 2, 3].map((v) => ({ timestamp: at(v, v), v }));
const sendChunked = (dataset: string) => (instance: Context) => send(instance, dataset, chunked, 'the-key');

async function known(): Promise<string> {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  return dataset;
}

const chunkCalls = (await withFault(undefined, sendChunked(await known()), small)).calls;

describe('a request cut in chunks that goes wrong at any call: sent again with its key it is completed, each chunk once', () => {
  test('there is a call for each chunk', () => {
    expect(chunkCalls.filter((name) => name === 'redis.evalsha')).toHaveLength(3);
  });

  test.each(points(chunkCalls))('$name', async ({ fault }) => {
    const dataset = await known();
    const instance = await withFault(fault, sendChunked(dataset), small);
    // By an instance that would cut it in another way: the plan of the first time holds.
    const { accepted } = await send(newInstance(prefix), dataset, chunked, 'the-key');
    expect(accepted.accepted).toBe(3);
    await instance.releaseLate();
    const rows = [{ timestamp: at(0), v: 0 }, ...chunked];
    await expectAnswered(dataset, rows);
    await expectFlushed(dataset, 4);
    const again = await send(newInstance(small), dataset, chunked, 'the-key');
    expect(again.accepted).toEqual({ ...accepted, replayed: true });
    await expectAnswered(dataset, rows);
  });
});

/** Batches with rows that the table takes no more, in a partition of their own and beside others. */
async function poisoned(): Promise<string> {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  await flush(ctx, dataset);
  const table = await tableOf(ctx, dataset);
  await ctx.clickhouse.command(`ALTER TABLE ${qualifiedName(table)} ADD CONSTRAINT positive CHECK v >= 0`);
  await send(ctx, dataset, poison);
  return dataset;
}

const poison = [
  { timestamp: at(1), v: 1 },
  { timestamp: at(2), v: -2 },
  { timestamp: at(3, 2), v: -3 },
];

const flushPoison = (dataset: string) => async (instance: Context) => {
  await flushLane(instance, await tableOf(instance, dataset), 0, 'admin');
};

const poisonCalls = (await withFault(undefined, flushPoison(await poisoned()))).calls;

describe('a flush that meets rows ClickHouse refuses, and goes wrong at any call: good rows are stored once, the others set aside once', () => {
  test('the refused rows are looked for, recorded and set aside on the way', () => {
    expect(poisonCalls.filter((name) => name === 'clickhouse.send').length).toBeGreaterThan(4);
    expect(poisonCalls.filter((name) => name === 'redis.evalsha').length).toBeGreaterThan(4);
  });

  test.each(points(poisonCalls))('$name', async ({ fault }) => {
    const dataset = await poisoned();
    const instance = await withFault(fault, flushPoison(dataset));
    await expectFlushed(dataset, 2);
    await instance.releaseLate();
    await expectStored(ctx, await tableOf(ctx, dataset), 2);
    await expectAnswered(dataset, [{ timestamp: at(0), v: 0 }, poison[0] as Row]);
    const records = await openRecords(newInstance(prefix), dataset, { limit: 10 });
    expect(records.map(({ seq, row }) => [seq, row])).toEqual([
      [2, 1],
      [2, 2],
    ]);
    const table = await tableOf(ctx, dataset);
    await ctx.clickhouse.command(`ALTER TABLE ${qualifiedName(table)} DROP CONSTRAINT positive`);
    const later = newInstance({ ...prefix, TIMESTORE_INSERT_TIMEOUT_MS: '1' });
    expect(await replayRecords(later, dataset, records)).toMatchObject({ replayed: 2 });
    await expectFlushed(dataset, 4);
  });
});

const faulty = [{ timestamp: at(1), v: 1 }, { timestamp: at(2), v: 'two' }, { v: 3 }];
const sendFaulty = (dataset: string) => (instance: Context) =>
  ingestRows(instance, {
    ...{ dataset, table: 'm', text: JSON.stringify(faulty), format: 'json', idempotencyKey: 'the-key' },
    onError: 'quarantine',
  });

const faultyCalls = (await withFault(undefined, sendFaulty(await known()))).calls;

describe('a request with rows for the quarantine that goes wrong at any call: sent again each row is there once', () => {
  test.each(points(faultyCalls))('$name', async ({ fault }) => {
    const dataset = await known();
    const instance = await withFault(fault, sendFaulty(dataset));
    const { accepted } = await sendFaulty(dataset)(newInstance(prefix));
    expect(accepted).toMatchObject({ accepted: 1, rejected: 0, quarantined: 2 });
    await instance.releaseLate();
    await expectAnswered(dataset, [{ timestamp: at(0), v: 0 }, faulty[0] as Row]);
    const records = await openRecords(newInstance(prefix), dataset, { limit: 10 });
    expect(records.map(({ index }) => index)).toEqual([1, 2]);
    await expectFlushed(dataset, 2);
  });
});

/** Rows that ClickHouse refused and would take by now, and one that was refused when it was sent and would be still. */
async function aside(): Promise<string> {
  const dataset = await poisoned();
  await flush(ctx, dataset);
  await sendFaulty(dataset)(ctx);
  await ctx.clickhouse.command(`ALTER TABLE ${qualifiedName(await tableOf(ctx, dataset))} DROP CONSTRAINT positive`);
  return dataset;
}

const soon = { ...prefix, TIMESTORE_INSERT_TIMEOUT_MS: '1' };
const replayAll = (dataset: string) => async (instance: Context) => {
  await replayRecords(instance, dataset, await openRecords(instance, dataset, { limit: 10 }));
};

/** What a flusher that died has taken, or takes late. */
async function quarantineLeaseRunsOut(dataset: string): Promise<void> {
  const quarantine = await findTable(newInstance(prefix), dataset, '_quarantine');
  if (quarantine !== undefined) await ctx.redis.del(ctx.keys.lease(quarantine, 0));
}

const replayCalls = (await withFault(undefined, replayAll(await aside()), soon)).calls;

describe('a replay from quarantine that goes wrong at any call: asked for again, each row is accepted once', () => {
  test.each(points(replayCalls))('$name', async ({ fault }) => {
    const dataset = await aside();
    const instance = await withFault(fault, replayAll(dataset), soon);
    await quarantineLeaseRunsOut(dataset);
    await replayAll(dataset)(newInstance(soon));
    await instance.releaseLate();
    await quarantineLeaseRunsOut(dataset);
    await replayAll(dataset)(newInstance(soon));
    expect(await openRecords(newInstance(prefix), dataset, { limit: 10 })).toHaveLength(2);
    const rows = [{ timestamp: at(0), v: 0 }, ...poison, faulty[0] as Row];
    await expectAnswered(dataset, rows);
    await expectFlushed(dataset, rows.length);
  });
});

const changeLanes = (dataset: string) => (instance: Context) => changeTable(instance, dataset, 'm', { lanes: 3 });
const lanesCalls = (await withFault(undefined, changeLanes(await known()))).calls;

describe('a change of lanes that goes wrong at any call: rows are taken and read before and after, and asked for again it is done', () => {
  test.each(points(lanesCalls))('$name', async ({ fault }) => {
    const dataset = await known();
    const instance = await withFault(fault, changeLanes(dataset));
    const rows = [1, 2, 3, 4].map((v) => ({ timestamp: at(v), v }));
    for (const row of rows) await send(newInstance(prefix), dataset, [row], `key ${row.v}`);
    await expectAnswered(dataset, [{ timestamp: at(0), v: 0 }, ...rows]);
    await instance.releaseLate();
    await changeLanes(dataset)(newInstance(prefix));
    for (const row of rows) {
      expect((await send(newInstance(prefix), dataset, [row], `key ${row.v}`)).accepted.replayed).toBe(true);
    }
    await expectAnswered(dataset, [{ timestamp: at(0), v: 0 }, ...rows]);
    expect((await tableOf(newInstance(prefix), dataset)).lanes).toBe(3);
    await expectFlushed(dataset, 5);
  });
});
