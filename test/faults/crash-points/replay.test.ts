import { describe, expect, test } from 'vitest';
import { findTable } from '../../../src/catalog/find-table.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import type { Context } from '../../../src/create-context.ts';
import { openRecords, replayRecords } from '../../../src/operations/quarantine/replay.ts';
import { at, flush, newInstance, onStored, type Row, tableOf } from '../../integration/support.ts';
import { faulty, poison, poisoned, sendFaulty } from './refused-rows.ts';
import { ctx, expectAnswered, expectFlushed, points, prefix, withFault } from './support.ts';

/** Rows that ClickHouse refused and would take by now, and one that was refused when it was sent and would be still. */
async function aside(): Promise<string> {
  const dataset = await poisoned();
  await flush(ctx, dataset);
  await sendFaulty(dataset)(ctx);
  const table = await tableOf(ctx, dataset);
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} DROP CONSTRAINT positive`);
  return dataset;
}

/**
 * An insert that has not come after twice its timeout does not come any more: here that is at once. And every key of a
 * request is forgotten at once, so that whoever asks again is always too late for it.
 */
const soon = newInstance({ ...prefix, TIMESTORE_INSERT_TIMEOUT_MS: '1', TIMESTORE_IDEMPOTENCY_MS: '1' }).config;
const replayAll = (dataset: string) => async (instance: Context) => {
  const records = await openRecords(instance, dataset, { limit: 10 });
  await replayRecords({ ...instance, config: soon }, dataset, records);
};

/** What a flusher that died has taken, or takes late. */
async function quarantineLeaseRunsOut(dataset: string): Promise<void> {
  const quarantine = await findTable(newInstance(prefix), dataset, '_quarantine');
  if (quarantine !== undefined) await ctx.redis.del(ctx.keys.lease(quarantine, 0));
}

const replayCalls = (await withFault(undefined, replayAll(await aside()))).calls;

describe('a replay from quarantine that goes wrong at any call: asked for again, each row is accepted once', () => {
  test.each(points(replayCalls))('$name', async ({ fault }) => {
    const dataset = await aside();
    const instance = await withFault(fault, replayAll(dataset));
    await quarantineLeaseRunsOut(dataset);
    // What was staged is in the hot buffer, or in ClickHouse by now.
    if (fault.call % 2 === 0) await flush(newInstance(prefix), dataset);
    await replayAll(dataset)(newInstance(prefix));
    await instance.releaseLate();
    await quarantineLeaseRunsOut(dataset);
    await replayAll(dataset)(newInstance(prefix));
    expect(await openRecords(newInstance(prefix), dataset, { limit: 10 })).toHaveLength(2);
    const rows = [{ timestamp: at(0), v: 0 }, ...poison, faulty[0] as Row];
    await expectAnswered(dataset, rows);
    await expectFlushed(dataset, rows.length);
  });
});
