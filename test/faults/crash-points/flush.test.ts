import { describe, expect, test } from 'vitest';
import { drainManifestOutbox } from '../../../src/catalog/manifest-outbox.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import type { Context } from '../../../src/create-context.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { at, expectStored, newDataset, onStored, send, tableOf } from '../../integration/support.ts';
import {
  allPoints,
  ctx,
  expectAnswered,
  expectFlushed,
  firstBatch,
  isWhole,
  secondBatch,
  withFault,
} from './support.ts';

async function twoBatches(): Promise<string> {
  const dataset = newDataset();
  await send(ctx, dataset, firstBatch);
  await send(ctx, dataset, secondBatch);
  // The column of the new field is not there yet, as when ClickHouse was away: the flush has to add it.
  const table = await tableOf(ctx, dataset);
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} DROP COLUMN extra`);
  return dataset;
}

const flushAndDrain = (dataset: string) => async (instance: Context) => {
  await flushLane(instance, await tableOf(instance, dataset), 0, 'admin');
  await drainManifestOutbox(instance);
};

// Once, so that Redis knows the scripts and the calls counted are those of every later time.
await flushAndDrain(await twoBatches())(ctx);

const flushCalls = (await withFault(undefined, flushAndDrain(await twoBatches()))).calls;

describe('a flush that goes wrong at any call: every acknowledged row is in every answer, and in ClickHouse once', () => {
  test('there are calls to go wrong', () => {
    expect(flushCalls).toEqual([
      'redis.hget',
      'redis.evalsha',
      'redis.evalsha',
      'clickhouse.command',
      'clickhouse.rows',
      'clickhouse.send',
      'clickhouse.rows',
      'clickhouse.command',
      'clickhouse.command',
      'redis.evalsha',
      'redis.evalsha',
      'redis.evalsha',
      'postgres.transaction',
      'redis.xdel',
    ]);
  });

  test.each(allPoints(flushCalls).filter((_, i) => isWhole || i % 2 === 0))('$name', async ({ fault }) => {
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

    await drainManifestOutbox(ctx);
    const [recorded] = await ctx.postgres.rows<{ rows: string; ranges: string }>(
      `select sum(rows) as rows, string_agg(seq_from || '-' || seq_to, ' ' order by seq_from) as ranges
         from manifests where dataset = $1`,
      [dataset],
    );
    expect(recorded).toEqual({ rows: '4', ranges: expect.stringMatching(/^1-2 3-3$|^1-3$/) });
  });
});
