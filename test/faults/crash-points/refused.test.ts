import { describe, expect, test } from 'vitest';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import type { Context } from '../../../src/create-context.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { openRecords, replayRecords } from '../../../src/operations/quarantine/replay.ts';
import { at, expectStored, newInstance, onStored, type Row, tableOf } from '../../integration/support.ts';
import { poison, poisoned } from './refused-rows.ts';
import { ctx, expectAnswered, expectFlushed, points, prefix, withFault } from './support.ts';

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
    await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} DROP CONSTRAINT positive`);
    const later = newInstance({ ...prefix, TIMESTORE_INSERT_TIMEOUT_MS: '1' });
    expect(await replayRecords(later, dataset, records)).toMatchObject({ replayed: 2 });
    await expectFlushed(dataset, 4);
  });
});
