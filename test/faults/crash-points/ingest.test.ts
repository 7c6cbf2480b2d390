import { describe, expect, test } from 'vitest';
import type { Context } from '../../../src/create-context.ts';
import { openRecords } from '../../../src/operations/quarantine/replay.ts';
import { at, newDataset, newInstance, type Row, send } from '../../integration/support.ts';
import { faulty, sendFaulty } from './refused-rows.ts';
import {
  ctx,
  expectAnswered,
  expectFlushed,
  firstBatch,
  known,
  points,
  prefix,
  secondBatch,
  withFault,
} from './support.ts';

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
