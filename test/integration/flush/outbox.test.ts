import { beforeEach, expect, test } from 'vitest';
import { StoreError } from '../../../src/errors.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { drainOutbox, tryDrainingOutbox } from '../../../src/flush/outbox.ts';
import { stage } from '../buffer/support.ts';
import { newInstance, newTable } from '../support.ts';

// An outbox of this file's own: other files drain theirs at the same time.
const prefix = { TIMESTORE_KEY_PREFIX: `outbox-${process.pid}` };
const ctx = newInstance(prefix);

beforeEach(async () => {
  await ctx.redis.del(ctx.keys.outbox);
});

const manifestsOf = (dataset: string) =>
  ctx.postgres.rows<Record<string, unknown>>('select * from manifests where dataset = $1 order by seq_from', [dataset]);

test('a flush is on record in Postgres: what, where, how much, in which partitions', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1, 2], { day: 1 });
  await stage(ctx, table, [3], { day: 2 });
  await flushLane(ctx, table, 0, 'admin');
  expect(await drainOutbox(ctx)).toBe(1);
  const [manifest, ...others] = await manifestsOf(table.dataset);
  expect(others).toEqual([]);
  expect(manifest).toMatchObject({
    ...{ dataset: table.dataset, table: 'm', physical_table: 'm', lane: 0, trigger: 'admin', schema_version: 1 },
    ...{ rows: '3', seq_from: '1', seq_to: '2', token: expect.stringMatching(/^0:1-2:/) },
  });
  const partitions = await ctx.postgres.rows(
    'select partition, rows, seq_from, seq_to, time_from from manifest_partitions where manifest_id = $1 order by partition',
    [manifest?.id],
  );
  expect(partitions).toEqual([
    { partition: '20260501', rows: '2', seq_from: '1', seq_to: '1', time_from: new Date('2026-05-01T10:00:00Z') },
    { partition: '20260502', rows: '1', seq_from: '2', seq_to: '2', time_from: new Date('2026-05-02T10:00:00Z') },
  ]);
  expect(await ctx.redis.xlen(ctx.keys.outbox)).toBe(0);
});

test('a manifest drained twice, as by a drain that died before it removed it, is one line', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await flushLane(ctx, table, 0, 'admin');
  const entries = (await ctx.redis.xrange(ctx.keys.outbox, '-', '+')) as unknown as [string, [string, string]][];
  await drainOutbox(ctx);
  for (const [, [name, value]] of entries) await ctx.redis.xadd(ctx.keys.outbox, '*', { [name]: value });
  expect(await drainOutbox(ctx)).toBe(1);
  expect(await manifestsOf(table.dataset)).toHaveLength(1);
});

test('the same manifest with other content is an alarm, and what was recorded stays', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await flushLane(ctx, table, 0, 'admin');
  const [[, [, text]]] = (await ctx.redis.xrange(ctx.keys.outbox, '-', '+')) as unknown as [[string, [string, string]]];
  await drainOutbox(ctx);
  await ctx.redis.xadd(ctx.keys.outbox, '*', { m: JSON.stringify({ ...JSON.parse(text), rows: 99 }) });
  const other = newInstance(prefix);
  await drainOutbox(other);
  expect(other.events).toContainEqual(expect.objectContaining({ event: 'manifest-conflict', alarm: true }));
  expect(await manifestsOf(table.dataset)).toMatchObject([{ rows: '1' }]);
});

test('with Postgres away a flush succeeds, and its manifest waits in the outbox', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  const away = {
    ...newInstance(prefix),
    postgres: {
      rows: () => Promise.reject(new StoreError('postgres', 'did not answer', undefined)),
      transaction: () => Promise.reject(new StoreError('postgres', 'did not answer', undefined)),
    },
  };
  expect(await flushLane(away, table, 0, 'admin')).toMatchObject({ outcome: 'ok' });
  await tryDrainingOutbox(away);
  expect(await ctx.redis.xlen(ctx.keys.outbox)).toBe(1);
  expect(await drainOutbox(ctx)).toBe(1);
  expect(await manifestsOf(table.dataset)).toHaveLength(1);
});

test('many manifests are drained page by page', async () => {
  const [table] = [await newTable(ctx)];
  await stage(ctx, table, [1]);
  await flushLane(ctx, table, 0, 'admin');
  const [[, [, text]]] = (await ctx.redis.xrange(ctx.keys.outbox, '-', '+')) as unknown as [[string, [string, string]]];
  const manifest = JSON.parse(text);
  for (let n = 0; n < 120; n += 1) {
    await ctx.redis.xadd(ctx.keys.outbox, '*', { m: JSON.stringify({ ...manifest, id: `${manifest.id}/${n}` }) });
  }
  expect(await drainOutbox(ctx)).toBe(121);
  expect(await manifestsOf(table.dataset)).toHaveLength(121);
});
