import { describe, expect, test } from 'vitest';
import { sealLane } from '../../../src/buffer/seal.ts';
import { recordSkip } from '../../../src/buffer/skip.ts';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { atLane } from '../../../src/catalog/lane-location.ts';
import { drainManifestOutbox } from '../../../src/catalog/manifest-outbox.ts';
import { StoreError } from '../../../src/core/errors.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import type { Context } from '../../../src/create-context.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { insertSeal } from '../../../src/flush/insert.ts';
import { openRecords, replayRecords } from '../../../src/operations/quarantine/replay.ts';
import type { Table } from '../../../src/schema/table.ts';
import { ClickHouseError } from '../../../src/stores/clickhouse/client.ts';
import {
  at,
  expectStored,
  flush,
  newDataset,
  newInstance,
  newTable,
  onStored,
  query,
  send,
  storedRows,
  tableOf,
  through,
} from '../support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `quarantine-${process.pid}` };
const ctx = newInstance(prefix);
/** For which no insert lives for long: what was set aside can be sent again at once. */
const soon = newInstance({ ...prefix, TIMESTORE_INSERT_TIMEOUT_MS: '1' });

/** A table that takes no v below 0, as somebody who works on the server may have said: rows were accepted before. */
async function constrained(): Promise<{ dataset: string; table: Table }> {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  const table = await tableOf(ctx, dataset);
  await flush(ctx, dataset);
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} ADD CONSTRAINT positive CHECK v >= 0`);
  return { dataset, table };
}

async function mend(table: Table): Promise<void> {
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} DROP CONSTRAINT positive`);
}

const open = (dataset: string, instance: Context = ctx) => openRecords(instance, dataset, { limit: 1_000 });

async function watermark(table: Table) {
  const snapshot = await snapshotTable(ctx, table, 'state');
  return snapshot === 'unknown' ? undefined : snapshot.lanes[0];
}

test('[elsewhere 15] a poison row neither stops its lane nor is lost, and no good row goes with it', async () => {
  const { dataset, table } = await constrained();
  await send(ctx, dataset, [
    { timestamp: at(1), v: 1 },
    { timestamp: at(2, 2), v: -2 },
    { timestamp: at(3, 3), v: 3 },
  ]);
  await send(ctx, dataset, [{ timestamp: at(4), v: -4 }]);
  await send(ctx, dataset, [{ timestamp: at(5), v: 5 }]);
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 5 });
  await expectStored(ctx, table, 4);
  expect(await watermark(table)).toMatchObject({ watermark: 4, seq: 4, pendingRows: 0, sealedTo: undefined });
  expect((await query(ctx, dataset)).rows.map(({ v }) => v)).toEqual([0, 1, 5, 3]);

  const aside = await query(ctx, dataset, { tableName: '_quarantine' });
  expect(aside.rows.map(({ event, table: of, origin, seq, row }) => [event, of, origin, seq, row])).toEqual([
    ['quarantined', 'm', 'flush', 2, 1],
    ['quarantined', 'm', 'flush', 3, 0],
  ]);
  await drainManifestOutbox(ctx);
  const [manifest] = await ctx.postgres.rows(
    'select rows, quarantined from manifests where dataset = $1 and "table" = $2 and seq_from = 2',
    [dataset, 'm'],
  );
  expect(manifest).toEqual({ rows: '3', quarantined: '2' });
  // No twin is left behind.
  const tables = await (await atLane(ctx, table, 0)).clickhouse.rows(
    'SELECT name FROM system.tables WHERE database = {d:String} AND name LIKE {n:String}',
    {
      d: `ts_${dataset}`,
      n: '\\_twin%',
    },
  );
  expect(tables).toEqual([]);
});

test('what is in quarantine is accepted again after a fix, each row once, and is refused before it', async () => {
  const { dataset, table } = await constrained();
  await send(ctx, dataset, [
    { timestamp: at(1), v: -1 },
    { timestamp: at(2), v: -2 },
  ]);
  await flush(ctx, dataset);
  expect(await replayRecords(soon, dataset, await open(dataset))).toMatchObject({
    replayed: 0,
    stored: 0,
    waiting: 0,
    refused: [{ reason: 'refused-by-clickhouse' }, { reason: 'refused-by-clickhouse' }],
  });
  expect(await open(dataset)).toHaveLength(2);

  await mend(table);
  const records = await open(dataset);
  expect(await replayRecords(soon, dataset, records)).toMatchObject({ replayed: 2, refused: [] });
  // Again, as by somebody whose answer was lost.
  await replayRecords(soon, dataset, records);
  expect(await open(dataset)).toEqual([]);
  await flush(ctx, dataset);
  await expectStored(ctx, table, 3);
  expect((await query(ctx, dataset)).rows.map(({ v }) => v)).toEqual([0, -1, -2]);
});

test('a row set aside lately is not sent again while an insert with it may be on its way', async () => {
  const { dataset, table } = await constrained();
  await send(ctx, dataset, [{ timestamp: at(1), v: -1 }]);
  await flush(ctx, dataset);
  await mend(table);
  const result = await replayRecords(ctx, dataset, await open(dataset));
  expect(result).toMatchObject({ replayed: 0, waiting: 1, retryAfterMs: expect.any(Number) });
  expect(result.retryAfterMs).toBeLessThanOrEqual(60_000);
});

test('a list of rejected rows replaces only the one that its flusher has read', async () => {
  const { dataset, table } = await constrained();
  await send(ctx, dataset, [
    { timestamp: at(1), v: -1 },
    { timestamp: at(2), v: -2 },
  ]);
  const sealed = await sealLane(ctx, table, 0, 1, true);
  if (!('seal' in sealed)) throw new Error('expected a seal');
  expect(await recordSkip(ctx, table, 0, sealed.seal, new Map([[2, new Set([0])]]))).toBeDefined();
  expect(await recordSkip(ctx, table, 0, sealed.seal, new Map([[2, new Set([1])]]))).toBeUndefined();
});

test('an insert that comes after rows were set aside, and before their batch is recorded, brings none of them', async () => {
  const { dataset, table } = await constrained();
  // One in a partition of its own, for which no token is remembered.
  await send(ctx, dataset, [
    { timestamp: at(1, 5), v: -1 },
    { timestamp: at(3), v: 3 },
  ]);
  const sealed = await sealLane(ctx, table, 0, 1, true);
  if (!('seal' in sealed)) throw new Error('expected a seal');
  const dying = through(newInstance(prefix), {
    clickhouse: (client) => ({
      ...client,
      async command(text, ...rest) {
        if (text.includes('INTO timestore.stored_batches')) throw new StoreError('clickhouse', 'is gone', undefined);
        await client.command(text, ...rest);
      },
    }),
  });
  await expect(flushLane(dying, table, 0, 'admin')).rejects.toBeInstanceOf(StoreError);
  await mend(table);
  await insertSeal(await atLane(ctx, table, 0), table, 0, sealed.seal, 0, 10_000);
  await expectStored(ctx, table, 2);
});

test('the insert of a flusher that slept through the repair of the table and the replay adds no row', async () => {
  const { dataset, table } = await constrained();
  // One in a partition of its own, for which no token is remembered.
  await send(ctx, dataset, [
    { timestamp: at(1, 5), v: -1 },
    { timestamp: at(2), v: -2 },
    { timestamp: at(3), v: 3 },
  ]);
  const sealed = await sealLane(ctx, table, 0, 1, true);
  if (!('seal' in sealed)) throw new Error('expected a seal');
  await flush(ctx, dataset);
  await mend(table);
  expect(await replayRecords(soon, dataset, await open(dataset))).toMatchObject({ stored: 0, replayed: 2 });
  await insertSeal(await atLane(ctx, table, 0), table, 0, sealed.seal, 0, 10_000);
  await flush(ctx, dataset);
  await insertSeal(await atLane(ctx, table, 0), table, 0, sealed.seal, 0, 10_000);
  await expectStored(ctx, table, 4);
  expect((await query(ctx, dataset)).rows.map(({ v }) => v).sort()).toEqual([-1, -2, 0, 3]);
});

test('a row that came by an insert which had begun before it was set aside is found, and not sent again', async () => {
  const { dataset, table } = await constrained();
  await send(ctx, dataset, [
    { timestamp: at(1, 5), v: -1 },
    { timestamp: at(2), v: 2 },
  ]);
  await flush(ctx, dataset);
  await mend(table);
  // What such an insert does; it cannot be held half-way here.
  await onStored(
    ctx,
    table,
    `INSERT INTO ${qualifiedName(table)} (_lane, _seq, _row, _received_at, timestamp, v)
     SELECT lane, seq, row, received_at, '2026-05-05 10:00:01', -1 FROM timestore.skipped_rows
      WHERE dataset = '${table.dataset}' AND \`table\` = '${table.physical}' AND (lane, seq, row) = (0, 2, 0) LIMIT 1`,
  );
  expect(await replayRecords(soon, dataset, await open(dataset))).toMatchObject({ stored: 1, replayed: 0 });
  expect(await open(dataset)).toEqual([]);
  await expectStored(ctx, table, 3);
});

test('a row on the skip list that ClickHouse has is taken off the list, not quarantined', async () => {
  const { dataset, table } = await constrained();
  await send(ctx, dataset, [
    { timestamp: at(1), v: -1 },
    { timestamp: at(2, 2), v: 2 },
  ]);
  const sealed = await sealLane(ctx, table, 0, 1, true);
  if (!('seal' in sealed)) throw new Error('expected a seal');
  expect(await recordSkip(ctx, table, 0, sealed.seal, new Map([[2, new Set([0])]]))).toBeDefined();
  await mend(table);
  await insertSeal(await atLane(ctx, table, 0), table, 0, sealed.seal, 0, 10_000);
  await flush(ctx, dataset);
  await expectStored(ctx, table, 3);
  await expect(open(dataset)).rejects.toMatchObject({ code: 'not-found' });
});

test('a flusher that knew nothing of the skip list cannot publish, and cannot make it its own', async () => {
  const { dataset, table } = await constrained();
  await send(ctx, dataset, [
    { timestamp: at(1), v: -1 },
    { timestamp: at(2), v: 2 },
  ]);
  let others: Promise<unknown> | undefined;
  const late = through(newInstance(prefix), {
    clickhouse: (client) => ({
      ...client,
      // While it is about to insert, another flusher finds the poison and sets it aside, and somebody mends the table.
      async send(request) {
        others ??= (async () => {
          const sealed = await sealLane(ctx, table, 0, 1, true);
          if (!('seal' in sealed)) throw new Error('expected a seal');
          await recordSkip(ctx, table, 0, sealed.seal, new Map([[2, new Set([0])]]));
          await mend(table);
        })();
        await others;
        return await client.send(request);
      },
    }),
  });
  expect(await flushLane(late, table, 0, 'admin')).toMatchObject({ outcome: 'fenced' });
  await flush(ctx, dataset);
  await expectStored(ctx, table, 3);
});

test('[elsewhere 27] an error of a view over the table says nothing of the rows: none is set aside, none doubled', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), s: '0' }]);
  const table = await tableOf(ctx, dataset);
  await flush(ctx, dataset);
  await onStored(ctx, table, `CREATE TABLE \`ts_${dataset}\`.numbers (n UInt32) ENGINE = Null`);
  await onStored(
    ctx,
    table,
    `CREATE MATERIALIZED VIEW \`ts_${dataset}\`.mv TO \`ts_${dataset}\`.numbers
       AS SELECT toUInt32(assumeNotNull(s)) AS n FROM ${qualifiedName(table)}`,
  );
  await send(ctx, dataset, [
    { timestamp: at(1), s: 'not a number' },
    { timestamp: at(2, 2), s: '2' },
  ]);
  const flusher = newInstance(prefix);
  await flushLane(flusher, table, 0, 'admin').catch(() => undefined);
  expect(await flush(ctx, dataset)).toMatchObject({ complete: true });
  await expectStored(ctx, table, 3);
  await expect(open(dataset)).rejects.toMatchObject({ code: 'not-found' });
  await drainManifestOutbox(ctx);
  const [manifest] = await ctx.postgres.rows<{ inserts: number }>(
    'select inserts from manifests where dataset = $1 and seq_from = 2',
    [dataset],
  );
  expect(manifest?.inserts).toBeGreaterThan(1);
});

test.each([
  [241, 'out of memory'],
  [252, 'too many parts'],
  [243, 'a full disk'],
])('error %i (%s) says nothing of the rows: the seal is kept for another try', async (code) => {
  const { dataset, table } = await constrained();
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const instance = newInstance(prefix);
  const refusing = () => Promise.reject(new ClickHouseError(code, 'refused'));
  const failing = through(instance, { clickhouse: (client) => ({ ...client, send: refusing }) });
  await expect(flushLane(failing, table, 0, 'admin')).rejects.toMatchObject({ code });
  expect(await ctx.redis.hget(ctx.keys.state(table, 0), 's_skip')).toBeNull();
  await flush(ctx, dataset);
  await expectStored(ctx, table, 2);
  await expect(open(dataset)).rejects.toMatchObject({ code: 'not-found' });
});

test('a whole seal that is refused is set aside in bounded time, a part in each flush', async () => {
  const { dataset, table } = await constrained();
  const rows = Array.from({ length: 300 }, (_, n) => ({ timestamp: at(n % 60), v: -1 - n }));
  await send(ctx, dataset, rows);
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const hurried = newInstance({ ...prefix, TIMESTORE_PROBE_MS: '100' });
  await expect(flushLane(hurried, table, 0, 'admin')).rejects.toBeInstanceOf(StoreError);
  expect(await storedRows(ctx, table)).toBe(1);
  expect(await flush(ctx, dataset)).toMatchObject({ complete: true });
  await expectStored(ctx, table, 2);
  expect(await open(dataset)).toHaveLength(300);
});

test('columns in other types than their schema hold a lane, since values would be changed; back again it goes on', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(1), s: 'a' }]);
  const table = await tableOf(ctx, dataset);
  const alter = (type: string) =>
    onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} MODIFY COLUMN s ${type} SETTINGS mutations_sync = 1`);
  await alter('Nullable(UInt32)');
  await expect(flushLane(newInstance(prefix), table, 0, 'admin')).rejects.toThrow(
    /s \(Nullable\(UInt32\), not Nullable\(String\)\)/,
  );
  expect((await watermark(table))?.pendingRows).toBe(1);
  await alter('LowCardinality(Nullable(String))');
  await flush(ctx, dataset);
  expect((await query(ctx, dataset)).rows).toEqual([{ timestamp: at(1), s: 'a' }]);
});

/** Text where the buffered row has a number. */
async function spoil(table: Table): Promise<void> {
  await ctx.redis.eval(
    `local e = redis.call('XRANGE', KEYS[1], '-', '+')[1]
     local f = e[2]
     for i = 1, #f, 2 do if f[i] == 'p' then f[i + 1] = string.gsub(f[i + 1], '"v":1', '"v":"x"') end end
     redis.call('DEL', KEYS[1])
     redis.call('XADD', KEYS[1], e[1], unpack(f))`,
    [ctx.keys.log(table, 0)],
    [],
  );
}

describe('while refused rows are in the tail', () => {
  test('the buffer alone does not answer with them, also where ClickHouse has nothing of the range', async () => {
    // Nobody flushes before it has been asked, and nothing was flushed before.
    const table = await newTable(ctx);
    await send(ctx, table.dataset, [{ timestamp: at(1), v: 1 }]);
    await spoil(table);
    const asked = { limit: 10, timeRange: { start: at(0) } };
    await expect(query(newInstance(prefix), table.dataset, asked)).rejects.toMatchObject({ store: 'clickhouse' });
  });

  test('a query says so and starts the flush that sets them aside; then it is answered', async () => {
    const { dataset, table } = await constrained();
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await spoil(table);
    await expect(query(newInstance(prefix), dataset)).rejects.toMatchObject({ code: 'unavailable' });
    await expect.poll(async () => (await watermark(table))?.pendingRows).toBe(0);
    expect((await query(newInstance(prefix), dataset)).rows.map(({ v }) => v)).toEqual([0]);
    expect(await open(dataset)).toMatchObject([{ payload: expect.stringContaining('"v":"x"') }]);
  });
});

test('a large row in quarantine is in the object store, and comes back from there; without it the lane goes on', async () => {
  const { dataset, table } = await constrained();
  const large = 'x'.repeat(100_000);
  await send(ctx, dataset, [{ timestamp: at(1), v: -1, s: large }]);
  await flush(ctx, dataset);
  const [record] = await open(dataset);
  expect(record).toMatchObject({ object: expect.stringMatching(/^quarantine\//), bytes: expect.any(Number) });
  expect(record?.payload).toBeUndefined();

  await send(ctx, dataset, [{ timestamp: at(2), v: -2, s: large }]);
  const away = newInstance({ ...prefix, S3_ENDPOINT: 'http://127.0.0.1:1' });
  expect(await flushLane(away, table, 0, 'admin')).toMatchObject({ outcome: 'ok' });

  await mend(table);
  expect(await replayRecords(soon, dataset, await open(dataset))).toMatchObject({ replayed: 2 });
  await flush(ctx, dataset);
  expect((await query(ctx, dataset)).rows.map(({ v, s }) => [v, String(s ?? '').length])).toEqual([
    [0, 0],
    [-1, 100_000],
    [-2, 100_000],
  ]);
});
