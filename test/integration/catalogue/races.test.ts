import { expect } from 'vitest';
import { setUpLane } from '../../../src/buffer/set-up.ts';
import { sweepStates } from '../../../src/catalog/apply-states.ts';
import { changeTable, deleteTable, requireTable } from '../../../src/catalog/change-table.ts';
import { changeDataset, deleteDataset } from '../../../src/catalog/datasets.ts';
import { findTable, readTable } from '../../../src/catalog/find-table.ts';
import { LifeEndedError } from '../../../src/catalog/life.ts';
import { setUpLanes } from '../../../src/catalog/provision-lanes.ts';
import { physicalName } from '../../../src/core/identifiers.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import type { Params } from '../../../src/stores/postgres/client.ts';
import { inject } from '../../faults/injection.ts';
import { test } from '../fixtures.ts';
import { workUntilOver } from '../jobs/support.ts';
import { at, flush, newDataset, newInstance, query, send, tableOf } from '../support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `races-${process.pid}` };
const ctx = newInstance(prefix);

const row = (n: number) => [{ timestamp: at(n), v: n }];
const forget = (dataset: string) =>
  ctx.redis.del(ctx.keys.state({ dataset, physical: 'm' }, 0), ctx.keys.log({ dataset, physical: 'm' }, 0));

async function drop(dataset: string, between: () => Promise<void> = async () => undefined): Promise<void> {
  await deleteTable(ctx, dataset, 'm', 0);
  await between();
  const [job] = await ctx.postgres.rows<{ id: string }>(
    `select id from jobs where dataset = $1 and kind = 'drop-table'`,
    [dataset],
  );
  expect(await workUntilOver(ctx, { id: job?.id ?? '' })).toMatchObject({ state: 'done', result: { dropped: true } });
}

const tablesIn = (dataset: string) =>
  ctx.clickhouse.rows('SELECT name FROM system.tables WHERE database = {d:String}', { d: `ts_${dataset}` });

test('a lane that is set up from the record before a freeze is set up again from the record', async ({ dataset }) => {
  await send(ctx, dataset, row(1));
  await flush(ctx, dataset);
  const before = await tableOf(ctx, dataset);
  await forget(dataset);
  await changeTable(ctx, dataset, 'm', { state: 'frozen' });
  expect(await setUpLane(ctx, before, 0, { incarnation: 'x', watermark: 9 })).toEqual({ outcome: 'stale' });
  await setUpLanes(ctx, before);
  await expect(send(newInstance(prefix), dataset, row(2))).rejects.toMatchObject({ code: 'dataset-frozen' });
});

test('of concurrent freezes and thaws the last recorded one holds in every lane', async ({ dataset }) => {
  await send(ctx, dataset, row(1));
  await changeTable(ctx, dataset, 'm', { lanes: 4 });
  for (let round = 0; round < 5; round += 1) {
    const states = ['frozen', 'active', 'archived', 'active', 'frozen', 'active'] as const;
    await Promise.all(
      states.map((state, i) => {
        const own = newInstance(prefix);
        return i % 2 === 0
          ? changeTable(own, dataset, 'm', { state })
          : changeDataset(own, dataset, { state }, undefined);
      }),
    );
    const { state } = await requireTable(ctx, dataset, 'm');
    const lanes = [0, 1, 2, 3].map((lane) =>
      ctx.redis.hget(ctx.keys.state({ dataset, physical: 'm' }, lane), 'frozen'),
    );
    expect(new Set(await Promise.all(lanes))).toEqual(new Set([state === 'active' ? null : state]));
    for (const change of ['table', 'dataset']) {
      if (change === 'table') await changeTable(ctx, dataset, 'm', { state: 'active' });
      else await changeDataset(ctx, dataset, { state: 'active' }, undefined);
    }
  }
  await send(ctx, dataset, row(2));
});

test('a late update of the lanes, after another change was recorded and applied, applies the newest state', async ({
  dataset,
}) => {
  await send(ctx, dataset, row(1));
  const late = newInstance(prefix);
  const { redis } = late;
  let isFirst = true;
  const evalsha: typeof redis.evalsha = async (sha, keys, args) => {
    // The first script of a change of state is the one that sets its lanes.
    if (isFirst) {
      isFirst = false;
      await changeTable(newInstance(prefix), dataset, 'm', { state: 'active' });
    }
    return await redis.evalsha(sha, keys, args);
  };
  late.redis = new Proxy(redis, { get: (target, name) => (name === 'evalsha' ? evalsha : Reflect.get(target, name)) });
  await changeTable(late, dataset, 'm', { state: 'frozen' });
  expect((await requireTable(ctx, dataset, 'm')).state).toBe('active');
  await send(newInstance(prefix), dataset, row(2));
});

test('a late word about the lanes changes nothing, also where whoever sent it dies before anything else', async ({
  dataset,
}) => {
  await send(ctx, dataset, row(1));
  const late = newInstance(prefix);
  const { redis } = late;
  const told = Promise.withResolvers<void>();
  const evalsha: typeof redis.evalsha = async (sha, keys, args) => {
    await changeTable(newInstance(prefix), dataset, 'm', { state: 'active' });
    await redis.evalsha(sha, keys, args);
    told.resolve();
    return await new Promise<never>(() => undefined);
  };
  late.redis = new Proxy(redis, { get: (target, name) => (name === 'evalsha' ? evalsha : Reflect.get(target, name)) });
  void changeTable(late, dataset, 'm', { state: 'frozen' });
  await told.promise;
  await send(newInstance(prefix), dataset, row(2));
});

test('whoever dies while a state is changed leaves lanes that the sweep brings to the record', async () => {
  for (const [from, to] of [
    ['active', 'frozen'],
    ['frozen', 'active'],
  ] as const) {
    for (let call = 0; ; call += 1) {
      const dataset = newDataset();
      await send(ctx, dataset, row(1));
      await changeTable(ctx, dataset, 'm', { state: from });
      const dying = inject(newInstance(prefix), { call, kind: 'dies before' });
      const isOver = await Promise.race([
        changeTable(dying, dataset, 'm', { state: to }).then(() => true),
        dying.died.then(() => false),
      ]);
      await sweepStates(ctx);
      const { state } = await requireTable(ctx, dataset, 'm');
      const frozen = await ctx.redis.hget(ctx.keys.state({ dataset, physical: 'm' }, 0), 'frozen');
      expect([call, frozen]).toEqual([call, state === 'active' ? null : state]);
      if (isOver) break;
    }
  }
});

test('an instance that knows a dropped table makes nothing of it again, and goes on with the one of its name', async ({
  dataset,
}) => {
  await send(ctx, dataset, row(1));
  const old = newInstance(prefix);
  await send(old, dataset, row(2));
  const seen = await tableOf(old, dataset);
  await drop(dataset);
  expect(await tablesIn(dataset)).toEqual([]);
  await expect(setUpLanes(old, seen)).rejects.toBeInstanceOf(LifeEndedError);
  // It has the definition in its memory, and the lane is gone.
  await send(old, dataset, row(3));
  expect(await tablesIn(dataset)).toEqual([{ name: physicalName('m', 2) }]);
  expect((await query(old, dataset)).rows).toEqual([{ timestamp: at(3), v: 3 }]);
  expect((await query(newInstance(prefix), dataset)).rows).toHaveLength(1);
});

test('a reader that read the record before a drop and updates the buffer afterwards does not restore the table', async ({
  dataset,
}) => {
  await send(ctx, dataset, row(1));
  const own = newInstance(prefix);
  let read: unknown[] = [];
  await drop(dataset, async () => {
    read = await own.postgres.rows(
      `select life, revision, definition, state, null as retention,
              (select schema from schema_versions s where s.dataset = $1) as schema from tables where dataset = $1`,
      [dataset],
    );
  });
  const late = { ...own, postgres: { ...own.postgres, rows: async <Row>() => read as Row[] } };
  expect(await readTable(late, dataset, 'm')).toMatchObject({ state: 'deleting' });
  expect(await findTable(newInstance(prefix), dataset, 'm')).toBeUndefined();
  await send(newInstance(prefix), dataset, row(2));
});

test('a table that is taken back while it is being dropped is there as a whole, or gone as a whole', async () => {
  for (let round = 0; round < 4; round += 1) {
    const dataset = newDataset();
    await send(ctx, dataset, row(1));
    await flush(ctx, dataset);
    await deleteTable(ctx, dataset, 'm', 0);
    const [taken] = await Promise.all([
      changeTable(newInstance(prefix), dataset, 'm', { state: 'active' }).then(
        () => true,
        (error: { code: string }) => {
          expect(['conflict', 'not-found']).toContain(error.code);
          return false;
        },
      ),
      runDueJobs(ctx, jobHandlers, ctx.now() + 5_000),
    ]);
    const rows = await query(newInstance(prefix), dataset).then(
      ({ rows: found }) => found.length,
      (error: { code: string }) => error.code,
    );
    expect(rows).toBe(taken ? 1 : 'not-found');
  }
});

test('a deletion without a grace is answered, though others carry it out before', async () => {
  const [first, second] = [newDataset(), newDataset()];
  for (const dataset of [first, second]) await send(ctx, dataset, row(1));
  const own = newInstance(prefix);
  const { rows } = own.postgres;
  own.postgres.rows = async <Row>(text: string, params: Params = {}) => {
    const answer = await rows<Row>(text, params);
    // The one statement that takes a grace.
    if ('grace_s' in params) await runDueJobs(ctx, jobHandlers, ctx.now() + 2_000);
    return answer;
  };
  expect(await deleteTable(own, first, 'm', 0)).toEqual({ deleteAt_ms: expect.any(Number) });
  expect(await readTable(ctx, first, 'm')).toBeUndefined();
  expect(await deleteDataset(own, second, 0, undefined)).toMatchObject({ name: second, state: 'deleting' });
  expect(await readTable(ctx, second, 'm')).toBeUndefined();
});
