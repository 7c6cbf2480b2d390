import { expect } from 'vitest';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { changeTable } from '../../../src/catalog/change-table.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import type { ClickHouse } from '../../../src/stores/clickhouse/client.ts';
import { test } from '../fixtures.ts';
import { at, expectStored, flush, newInstance, query, send, tableOf, through } from '../support.ts';

const ctx = newInstance();

test('[elsewhere 24] while the number of lanes changes, a repeated request is recognised and no answer is short', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(0), id: 'first' }], 'first');
  const acknowledged = new Set(['first']);
  const instances = Array.from({ length: 4 }, () => newInstance());
  let going = true;

  const writers = instances.map(async (instance, name) => {
    for (let n = 0; going; n += 1) {
      const id = `${name}-${n}`;
      const first = await send(instance, dataset, [{ timestamp: at(n % 60), id }], id);
      acknowledged.add(id);
      // By another instance, which may know another number of lanes.
      const again = await send(instances[(name + 1) % 4] ?? instance, dataset, [{ timestamp: at(n % 60), id }], id);
      expect(again.accepted).toEqual({ ...first.accepted, replayed: true });
    }
  });
  const reader = (async () => {
    const instance = newInstance();
    while (going) {
      const before = [...acknowledged];
      const { rows, streaming } = await query(instance, dataset, { columns: ['id'], limit: 500_000 });
      expect(streaming.fresh).toBe(true);
      const ids = rows.map(({ id }) => String(id));
      expect(new Set(ids)).toHaveLength(ids.length);
      const seen = new Set(ids);
      expect(before.filter((id) => !seen.has(id))).toEqual([]);
    }
  })();
  const flusher = (async () => {
    const instance = newInstance();
    while (going) {
      const snapshot = await snapshotTable(instance, await tableOf(instance, dataset), 'state');
      if (snapshot === 'unknown') throw new Error('a lane is unknown');
      for (const { lane } of snapshot.lanes) await flushLane(instance, await tableOf(instance, dataset), lane, 'admin');
    }
  })();
  for (const lanes of [4, 2, 7, 1, 3]) {
    const before = acknowledged.size;
    const table = await changeTable(newInstance(), dataset, 'm', { lanes });
    expect(table.lanes).toBe(lanes);
    await expect.poll(() => acknowledged.size).toBeGreaterThan(before + 20);
  }
  going = false;
  await Promise.all([...writers, reader, flusher]);
  const table = await tableOf(newInstance(), dataset);
  expect(await flush(newInstance(), dataset)).toMatchObject({ complete: true });
  await expectStored(ctx, table, acknowledged.size);
});

test('a request repeated after a change of lanes is recognised, whatever lane its key would take now', async ({
  dataset,
}) => {
  const rows = [{ timestamp: at(1), v: 1 }];
  const keys = Array.from({ length: 8 }, (_, n) => `k${n}`);
  for (const key of keys) await send(ctx, dataset, rows, key);
  await changeTable(ctx, dataset, 'm', { lanes: 4 });
  const other = newInstance();
  for (const key of keys) expect((await send(other, dataset, rows, key)).accepted.replayed).toBe(true);
});

test('a writer that knows more lanes than there are writes to none of the others', async ({ dataset }) => {
  const rows = [{ timestamp: at(1), v: 1 }];
  await send(ctx, dataset, rows);
  await changeTable(ctx, dataset, 'm', { lanes: 4 });
  const [old, table] = [newInstance(), await tableOf(newInstance(), dataset)];
  await send(old, dataset, rows, 'first');
  const sequences = async () => {
    const snapshot = await snapshotTable(ctx, table, 'state');
    return snapshot === 'unknown' ? [] : snapshot.lanes.slice(1).map(({ seq }) => seq);
  };
  await changeTable(newInstance(), dataset, 'm', { lanes: 1 });
  const before = await sequences();
  expect(before).toHaveLength(3);
  for (let n = 0; n < 8; n += 1) await send(old, dataset, rows, `k${n}`);
  expect(await sequences()).toEqual(before);
});

test('a change of lanes that broke off after it was recorded is completed by a retry', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(0) }]);
  const dying = newInstance();
  const { redis } = dying;
  dying.redis = new Proxy(redis, {
    get: (target, name, self) =>
      name === 'evalsha' || name === 'eval' ? () => Promise.reject(new Error('gone')) : Reflect.get(target, name, self),
  });
  await expect(changeTable(dying, dataset, 'm', { lanes: 3 })).rejects.toThrow();
  expect((await send(newInstance(), dataset, [{ timestamp: at(1) }])).accepted.accepted).toBe(1);
  await changeTable(ctx, dataset, 'm', { lanes: 3 });
  const snapshot = await snapshotTable(newInstance(), await tableOf(newInstance(), dataset), 'state');
  expect(snapshot === 'unknown' || snapshot.lanes).toHaveLength(3);
  expect((await query(ctx, dataset)).rows).toHaveLength(2);
});

test('lanes that the buffer lost come back as many as there were', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(0) }]);
  await changeTable(ctx, dataset, 'm', { lanes: 3 });
  for (let n = 1; n < 10; n += 1) await send(ctx, dataset, [{ timestamp: at(n) }]);
  const table = await tableOf(newInstance(), dataset);
  await flush(ctx, dataset);
  for (const lane of [0, 1, 2]) await ctx.redis.del(ctx.keys.state(table, lane), ctx.keys.log(table, lane));
  for (let n = 10; n < 20; n += 1) await send(newInstance(), dataset, [{ timestamp: at(n) }]);
  expect((await query(newInstance(), dataset)).rows).toHaveLength(20);
});

test('a lane that came between the snapshot of a query and its read does not show in part', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(0), id: 0 }]);
  await flush(ctx, dataset);
  await tableOf(ctx, dataset);
  let reads = 0;
  const spied = (client: ClickHouse): ClickHouse => ({
    ...client,
    async open(request) {
      reads += 1;
      if (reads === 1) {
        await changeTable(ctx, dataset, 'm', { lanes: 8 });
        for (let n = 1; n < 20; n += 1) await send(ctx, dataset, [{ timestamp: at(n), id: n }], `k${n}`);
        const table = await tableOf(ctx, dataset);
        for (let lane = 1; lane < 8; lane += 1) await flushLane(ctx, table, lane, 'admin');
      }
      return await client.open(request);
    },
  });
  const reader = through(newInstance(), { reader: spied });
  expect((await query(reader, dataset)).rows.map(({ id }) => id)).toEqual([0]);
  expect(reads).toBe(2);
  expect((await query(reader, dataset)).rows).toHaveLength(20);
});

test('a reader that knows fewer lanes than there are sets a lost one up without forgetting the others', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(0), id: 0 }]);
  const stale = newInstance();
  expect((await tableOf(stale, dataset)).readLanes).toBe(1);
  await changeTable(ctx, dataset, 'm', { lanes: 4 });
  for (let n = 1; n < 12; n += 1) await send(ctx, dataset, [{ timestamp: at(n), id: n }], `k${n}`);
  await ctx.redis.del(ctx.keys.state(await tableOf(ctx, dataset), 0));
  expect((await query(stale, dataset)).rows).toHaveLength(12);
  expect((await send(stale, dataset, [{ timestamp: at(3), id: 3 }], 'k3')).accepted.replayed).toBe(true);
  expect(await flush(stale, dataset)).toMatchObject({ complete: true });
  await expectStored(ctx, await tableOf(ctx, dataset), 12);
});
