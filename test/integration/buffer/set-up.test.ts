import { expect, test } from 'vitest';
import { setUpLane } from '../../../src/buffer/set-up.ts';
import { requireLane, snapshotTable } from '../../../src/buffer/snapshot.ts';
import { findTable } from '../../../src/catalog/find-table.ts';
import { atLane, shardsOf } from '../../../src/catalog/lane-location.ts';
import { setUpLanes } from '../../../src/catalog/provision-lanes.ts';
import { knownTables } from '../../../src/catalog/table-cache.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import type { Table } from '../../../src/schema/table.ts';
import { at, expectStored, flush, newDataset, newInstance, newTable, query, through } from '../support.ts';
import { laneContent, stage } from './support.ts';

const ctx = newInstance();

async function laneOf(table: Table) {
  const snapshot = await snapshotTable(ctx, table, 'entries');
  if (snapshot === 'unknown') throw new Error('the lane is unknown');
  return snapshot.lanes[0];
}

test('a lane that is there is left as it is', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  const before = await laneContent(ctx, table);
  expect(await setUpLane(ctx, table, 0, { incarnation: 'other', watermark: 7 })).toMatchObject({ outcome: 'exists' });
  expect(await laneContent(ctx, table)).toEqual(before);
});

test('set up by many at once, a lane begins once, before its first batch', async () => {
  const table = await newTable(ctx);
  await ctx.redis.del(ctx.keys.state(table, 0));
  await ctx.postgres.rows('delete from lanes where dataset = $1', [table.dataset]);
  await Promise.all(Array.from({ length: 8 }, () => setUpLanes(newInstance(), table)));
  const staged = await stage(ctx, table, [1]);
  expect(staged).toMatchObject({ outcome: 'staged' });
  expect(await laneOf(table)).toMatchObject({ pendingRows: 1 });
});

test('a lost state is read from the log that is still there: nothing pending is lost, nothing trimmed comes back', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await flush(ctx, table.dataset);
  await stage(ctx, table, [2]);
  await stage(ctx, table, [3]);
  const before = await laneOf(table);
  await ctx.redis.del(ctx.keys.state(table, 0));
  await setUpLanes(ctx, table);
  const after = await laneOf(table);
  expect(after).toMatchObject({ seq: 3, watermark: 1, pendingRows: 2, oldest_ms: before?.oldest_ms });
  expect(after?.tail.map((batch) => batch.id)).toEqual(before?.tail.map((batch) => batch.id));
  expect(after?.incarnation).not.toBe(before?.incarnation);
  expect(after?.epoch).toBeGreaterThan(before?.epoch ?? 0);
  await flush(ctx, table.dataset);
  await expectStored(ctx, table, 3);
});

test('with an empty log the lane goes on after the last sequence it gave', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await flush(ctx, table.dataset);
  await ctx.redis.del(ctx.keys.state(table, 0));
  await setUpLanes(ctx, table);
  expect(await laneOf(table)).toMatchObject({ seq: 1, watermark: 1, pendingRows: 0 });
});

test('a lane lost whole goes on beyond every sequence that an insert on its way can still bring', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await flush(ctx, table.dataset);
  await ctx.redis.del(ctx.keys.state(table, 0), ctx.keys.log(table, 0));
  await setUpLanes(ctx, table);
  const { flush_batches_max } = ctx.config.limits;
  expect(await laneOf(table)).toMatchObject({ seq: 1 + flush_batches_max, watermark: 1 + flush_batches_max });
  await stage(ctx, table, [2]);
  await flush(ctx, table.dataset);
  await expectStored(ctx, table, 2);
  expect((await query(ctx, table.dataset)).rows).toHaveLength(2);
});

test('a lane lost before its first flush does not give its first sequence again', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await ctx.redis.del(ctx.keys.state(table, 0), ctx.keys.log(table, 0));
  await setUpLanes(ctx, table);
  const staged = await stage(ctx, table, [2]);
  expect('batch' in staged && staged.batch.seq).toBeGreaterThan(1);
});

test('a lane is not set up again where ClickHouse does not return its watermark', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await flush(ctx, table.dataset);
  await ctx.redis.del(ctx.keys.state(table, 0), ctx.keys.log(table, 0));
  const silent = through(newInstance(), { clickhouse: (client) => ({ ...client, rows: async () => [] }) });
  await expect(setUpLanes(silent, table)).rejects.toMatchObject({ code: 'unavailable', store: 'clickhouse' });
  await setUpLanes(ctx, table);
  expect((await laneOf(table))?.watermark).toBeGreaterThan(1);
});

test('a lane that is missing in a snapshot is an error, and no other lane replaces it', async () => {
  const table = await newTable(ctx);
  const snapshot = await snapshotTable(ctx, table, 'state');
  if (snapshot === 'unknown') throw new Error('the lane is unknown');
  expect(requireLane(snapshot.lanes, 0)).toBe(snapshot.lanes[0]);
  expect(() => requireLane(snapshot.lanes, 1)).toThrow(
    expect.objectContaining({ code: 'unavailable', store: 'redis' }),
  );
  await expect(atLane(ctx, table, 1)).rejects.toMatchObject({ code: 'unavailable', store: 'postgres' });
  expect(shardsOf(ctx, { ...table, shards: [1, 1] }).map(({ node, lanes }) => [node.shard, lanes])).toEqual([
    [1, [0, 1]],
  ]);
});

test('an instance remembers as many tables as it has room for, and reads the others again', async () => {
  const dataset = newDataset();
  const small = newInstance({ TIMESTORE_KEPT_FIELDS_MAX: '12' });
  for (let n = 0; n < 6; n += 1) {
    await ingestRows(small, {
      dataset,
      table: `t${n}`,
      text: `{"timestamp":"${at(n)}","v":${n}}`,
      format: 'json',
      idempotencyKey: undefined,
    });
  }
  expect(knownTables(small).size).toBe(4);
  const found = await Promise.all(Array.from({ length: 6 }, (_, n) => findTable(small, dataset, `t${n}`)));
  expect(found.map((table) => table?.name)).toEqual(['t0', 't1', 't2', 't3', 't4', 't5']);
});
