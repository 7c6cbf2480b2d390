import { expect, test } from 'vitest';
import { sealLane } from '../../../src/buffer/seal.ts';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { atLane } from '../../../src/catalog/lane-location.ts';
import { StoreError } from '../../../src/core/errors.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { insertSeal } from '../../../src/flush/insert.ts';
import { countSeal } from '../../../src/flush/row-count.ts';
import type { Table } from '../../../src/schema/table.ts';
import type { Request } from '../../../src/stores/clickhouse/client.ts';
import { stage } from '../buffer/support.ts';
import { expectStored, type Instance, newInstance, newTable, onStored, storedRows, through } from '../support.ts';

const ctx = newInstance();
const insertTimeout_ms = 10_000;

async function sealOf(table: Table) {
  const sealed = await sealLane(ctx, table, 0, 1, true);
  if (!('seal' in sealed)) throw new Error(`expected a seal, got ${sealed.outcome}`);
  return sealed.seal;
}

async function watermarkOf(table: Table): Promise<number | undefined> {
  const snapshot = await snapshotTable(ctx, table, 'state');
  return snapshot === 'unknown' ? undefined : snapshot.lanes[0]?.watermark;
}

/** An instance whose inserts go through `around`. */
function withInserts(around: (insert: () => Promise<string>, request: Request) => Promise<string>): Instance {
  return through(newInstance(), {
    clickhouse: (client) => ({ ...client, send: (request) => around(() => client.send(request), request) }),
  });
}

test('a flush moves everything pending, once, with its heartbeat', async () => {
  const table = await newTable(ctx);
  for (const day of [1, 2, 3]) await stage(ctx, table, [day, day], { day });
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 6 });
  await expectStored(ctx, table, 6);
  expect(await watermarkOf(table)).toBe(3);
  const { clickhouse } = await atLane(ctx, table, 0);
  const heartbeat = await clickhouse.rows(
    'SELECT lane, watermark FROM timestore.ingest_watermarks FINAL WHERE dataset = {dataset:String}',
    { dataset: table.dataset },
  );
  expect(heartbeat).toEqual([{ lane: 0, watermark: '3' }]);
});

test('[elsewhere 3] a flusher that died after its insert is followed by one that publishes the same rows, not more', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1, 2]);
  await insertSeal(await atLane(ctx, table, 0), table, 0, await sealOf(table), 0, insertTimeout_ms);
  await stage(ctx, table, [3]);
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 2 });
  await expectStored(ctx, table, 2);
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 1 });
  await expectStored(ctx, table, 3);
});

test('a flusher that died with a part of its partitions stored is completed', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1, 2], { day: 1 });
  await stage(ctx, table, [3, 4], { day: 2 });
  const seal = await sealOf(table);
  await insertSeal(
    await atLane(ctx, table, 0),
    table,
    0,
    { ...seal, batches: seal.batches.slice(1) },
    0,
    insertTimeout_ms,
  );
  expect(await storedRows(ctx, table)).toBe(2);
  await flushLane(ctx, table, 0, 'admin');
  await expectStored(ctx, table, 4);
});

test('an insert that times out, and arrives late and more than once, adds nothing', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1, 2], { day: 1 });
  await stage(ctx, table, [3], { day: 2 });
  const seal = await sealOf(table);
  const ghosts: (() => Promise<string>)[] = [];
  const timesOut = withInserts((insert) => {
    ghosts.push(insert);
    return Promise.reject(new StoreError('clickhouse', 'did not answer', undefined));
  });
  await expect(flushLane(timesOut, table, 0, 'admin')).rejects.toBeInstanceOf(StoreError);
  await flushLane(ctx, table, 0, 'admin');
  for (const ghost of [...ghosts, ...ghosts]) await ghost();
  expect(ghosts).toHaveLength(1);
  await expectStored(ctx, table, 3);
  expect((await countSeal(await atLane(ctx, table, 0), table, 0, seal)).map(({ rows }) => rows)).toEqual([2, 1]);
});

test('six inserts of one seal at the same moment store it once', async () => {
  const table = await newTable(ctx);
  for (const day of [1, 2, 3, 4, 5]) await stage(ctx, table, [1, 2, 3], { day });
  const seal = await sealOf(table);
  const at = await atLane(ctx, table, 0);
  await Promise.all(Array.from({ length: 6 }, () => insertSeal(at, table, 0, seal, 0, insertTimeout_ms)));
  await expectStored(ctx, table, 15);
});

test('[elsewhere 2] two flushers at once without a lease publish one seal once', async () => {
  const table = await newTable(ctx);
  for (const day of [1, 2, 3]) await stage(ctx, table, [1, 2], { day });
  const lease = ctx.keys.lease(table, 0);
  const leaseless = () => {
    const instance = newInstance();
    // Every lease is granted: as when the first flusher outlived its own.
    const redis = new Proxy(instance.redis, {
      get(target, name, self) {
        const member: unknown = Reflect.get(target, name, self);
        if (name !== 'evalsha') return member;
        return async (sha1: string, keys: string[], args: string[]) => {
          return keys.length === 1 && keys[0] === lease ? 1 : await target.evalsha(sha1, keys, args);
        };
      },
    });
    return { ...instance, redis };
  };
  const results = await Promise.all(Array.from({ length: 4 }, () => flushLane(leaseless(), table, 0, 'admin')));
  for (const { outcome } of results) expect(['ok', 'empty', 'fenced']).toContain(outcome);
  await expectStored(ctx, table, 6);
  expect(await watermarkOf(table)).toBe(3);
});

test('a lane whose lease is held is busy', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await ctx.redis.set(ctx.keys.lease(table, 0), 'somebody');
  expect(await flushLane(ctx, table, 0, 'admin')).toMatchObject({ outcome: 'busy' });
  expect(await watermarkOf(table)).toBe(0);
});

test('rows that the server answered OK for and does not have are sent again, and those it has are not doubled', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1, 2], { day: 1 });
  await stage(ctx, table, [3], { day: 2 });
  const seal = await sealOf(table);
  await insertSeal(await atLane(ctx, table, 0), table, 0, seal, 0, insertTimeout_ms);
  // One partition's token is remembered and its rows are gone: what a kill between the two leaves behind.
  await onStored(
    ctx,
    table,
    `ALTER TABLE ${qualifiedName(table)} DELETE WHERE toDate(timestamp) = '2026-05-01' SETTINGS mutations_sync = 1`,
  );
  await insertSeal(await atLane(ctx, table, 0), table, 0, seal, 0, insertTimeout_ms);
  expect(await storedRows(ctx, table)).toBe(1);

  const flusher = newInstance();
  expect(await flushLane(flusher, table, 0, 'admin')).toMatchObject({ outcome: 'ok', rows: 3 });
  await expectStored(ctx, table, 3);
  expect(flusher.events).toContainEqual(expect.objectContaining({ event: 'rows-missing', expected: 3, found: 1 }));
});

test('[elsewhere 26] after an error the next try starts at the seal’s own token', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  const { token } = await sealOf(table);
  const tokens: unknown[] = [];
  let fails = 1;
  const flusher = withInserts((insert, { settings }) => {
    tokens.push(settings.insert_deduplication_token);
    if (fails-- > 0) return Promise.reject(new StoreError('clickhouse', 'did not answer', undefined));
    return insert();
  });
  await expect(flushLane(flusher, table, 0, 'admin')).rejects.toBeInstanceOf(StoreError);
  await flushLane(flusher, table, 0, 'admin');
  expect(tokens).toEqual([token, token]);
});

test('a seal that newer code has begun is left to it: other settings would cut other blocks', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await sealLane(ctx, table, 0, 2, true);
  await expect(flushLane(ctx, table, 0, 'admin')).rejects.toMatchObject({ code: 'unavailable' });
  expect([await storedRows(ctx, table), await watermarkOf(table)]).toEqual([0, 0]);
});

test('a seal is not published while a row of it is missing', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1, 2]);
  const pretends = withInserts(() => Promise.resolve(''));
  await expect(flushLane(pretends, table, 0, 'admin')).rejects.toBeInstanceOf(StoreError);
  expect(await watermarkOf(table)).toBe(0);
  await flushLane(ctx, table, 0, 'admin');
  await expectStored(ctx, table, 2);
});

test('a table that ClickHouse has lost is made again', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await onStored(ctx, table, `DROP TABLE ${qualifiedName(table)} SYNC`);
  await flushLane(newInstance(), table, 0, 'admin');
  await expectStored(ctx, table, 1);
});

test('[elsewhere 16] tokens are remembered by every table, for more blocks than can come in the life of an insert', async () => {
  const table = await newTable(ctx);
  const [found] = await (await atLane(ctx, table, 0)).clickhouse.rows<{ engine_full: string }>(
    'SELECT engine_full FROM system.tables WHERE database = {d:String} AND name = {n:String}',
    { d: `ts_${table.dataset}`, n: table.physical },
  );
  expect(found?.engine_full).toContain('non_replicated_deduplication_window = 10000');
});
