import { expect } from 'vitest';
import { snapshotTable } from '../../src/buffer/snapshot.ts';
import { changeTable, deleteTable } from '../../src/catalog/change-table.ts';
import { StoreError } from '../../src/core/errors.ts';
import type { Context } from '../../src/create-context.ts';
import type { LaneQueue } from '../../src/flush/enqueue-due-lanes.ts';
import { readJob } from '../../src/jobs/job.ts';
import { runMinute as runPasses } from '../../src/operations/cron.ts';
import { jobHandlers } from '../../src/operations/job-handlers.ts';
import { scheduleRowChange } from '../../src/operations/row-changes/change-rows.ts';
import type { Params } from '../../src/stores/postgres/client.ts';
import { test } from './fixtures.ts';
import { at, newDataset, newInstance, send, tableOf } from './support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `schedule-${process.pid}` };
const ctx = newInstance(prefix);
const minute = (minutes: number) => Date.UTC(2026, 4, 1, 10, minutes);
/** A minute of a few seconds. */
const runMinute = (instance: Context, at_ms: number, through: LaneQueue | undefined) =>
  runPasses(instance, at_ms, through, jobHandlers, { pause_ms: 200, passes_ms: 4_000 });
/** Takes what is handed on, and flushes nothing: what a test looks at is what came before. */
const queue = { sendBatch: () => Promise.resolve() };

async function pendingRows(dataset: string): Promise<number | undefined> {
  const snapshot = await snapshotTable(ctx, await tableOf(ctx, dataset), 'state');
  return snapshot === 'unknown' ? undefined : snapshot.lanes[0]?.pendingRows;
}

test('every minute what is due is flushed; an idle minute costs one command', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1) }]);
  await runMinute(ctx, minute(7), undefined);
  expect(await pendingRows(dataset)).toBe(0);
  const instance = newInstance(prefix);
  let commands = 0;
  const { redis } = instance;
  instance.redis = new Proxy(redis, {
    get(target, name, self) {
      const value = Reflect.get(target, name, self) as unknown;
      if (typeof value !== 'function') return value;
      commands += 1;
      return value.bind(target);
    },
  });
  await runMinute(instance, minute(8), undefined);
  expect(commands).toBe(1);
});

test('once an hour lanes without a due mark are swept up, also where Postgres does not answer', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1) }]);
  await ctx.redis.del(ctx.keys.due);
  const away = () => Promise.reject(new StoreError('postgres', 'did not answer', undefined));
  const without = { ...newInstance(prefix), postgres: { rows: away, transaction: away } };
  await runMinute(without, minute(0), undefined);
  expect(without.events).toContainEqual(expect.objectContaining({ event: 'job-failed', job: 'sweep' }));
  expect(await pendingRows(dataset)).toBe(1);
  await runMinute(ctx, minute(0), undefined);
  expect(await pendingRows(dataset)).toBe(0);
});

test('once an hour lanes take rows as the catalogue records it, also where ClickHouse is unavailable', async () => {
  const datasets = [newDataset(), newDataset(), newDataset()] as const;
  for (const dataset of datasets) await send(ctx, dataset, [{ timestamp: at(1) }]);
  const [active, frozen, deleted] = datasets;
  await changeTable(ctx, frozen, 'm', { state: 'frozen' });
  await deleteTable(ctx, deleted, 'm', 3_600);
  const lane = (dataset: string) => ctx.keys.state({ dataset, physical: 'm' }, 0);
  await ctx.redis.hset(lane(active), { frozen: 'frozen' });
  await ctx.redis.hdel(lane(frozen), 'frozen');
  await ctx.redis.hdel(lane(deleted), 'frozen');
  const instance = newInstance({ ...prefix, CLICKHOUSE_URL: 'http://127.0.0.1:1' });
  await runMinute(instance, minute(0), queue);
  expect(instance.events).toContainEqual({ event: 'lane-states-swept', lanes: 3 });
  const states = await Promise.all(datasets.map((dataset) => ctx.redis.hget(lane(dataset), 'frozen')));
  expect(states).toEqual([null, 'frozen', 'deleting']);
  await send(newInstance(prefix), active, [{ timestamp: at(2) }]);
});

test('once an hour what is due is audited', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1) }]);
  const instance = newInstance(prefix);
  const { postgres } = instance;
  // Others' tables are not this test's to audit.
  instance.postgres = {
    ...postgres,
    rows: <Row>(sql: string, params: Params = {}) =>
      sql.includes('left join audits')
        ? postgres.rows<Row>(sql.replace('where', 'where t.dataset = $dataset and'), { ...params, dataset })
        : postgres.rows<Row>(sql, params),
  };
  await ctx.redis.del(ctx.keys.due);
  await runMinute(instance, minute(30), queue);
  const audits = await ctx.postgres.rows('select name, missing from audits where dataset = $1', [dataset]);
  expect(audits).toEqual([{ name: 'm', missing: '0' }]);
});

test('jobs are worked on when they are due, also where lanes go through a queue, and also after their mark was lost', async () => {
  for (const through of [undefined, queue]) {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await runMinute(ctx, minute(7), undefined);
    const request = { rows: { timeRange: { start: at(0) } } };
    const job = await scheduleRowChange(ctx, { dataset, table: 'm', request });
    await runMinute(ctx, minute(7), through);
    expect(await readJob(ctx, job.id)).toMatchObject({ state: 'done', result: { rows: 1 } });

    const later = await scheduleRowChange(ctx, {
      dataset,
      table: 'm',
      request: { rows: { timeRange: { end: at(9) } } },
    });
    await ctx.redis.del(ctx.keys.due);
    await runMinute(ctx, minute(7), through);
    expect((await readJob(ctx, later.id)).state).toBe('queued');
    await runMinute(ctx, minute(0), through);
    expect((await readJob(ctx, later.id)).state).toBe('done');
  }
});

test('a table whose grace is over is dropped by the clock, and not before', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await deleteTable(ctx, dataset, 'm', 3_600);
  const living = () => ctx.postgres.rows('select 1 from tables where dataset = $1 and dropped_at is null', [dataset]);
  await runMinute(ctx, minute(7), undefined);
  expect(await living()).toHaveLength(1);
  await ctx.postgres.rows(`update tables set delete_at = now() where dataset = $1`, [dataset]);
  await ctx.postgres.rows(`update jobs set due_at = now() where dataset = $1`, [dataset]);
  await runMinute(ctx, minute(0), undefined);
  expect(await living()).toHaveLength(0);
});

test('once a day, at its hour, everything is backed up, however often the clock comes', async () => {
  const own = newInstance({ ...prefix, TIMESTORE_KEY_PREFIX: `daily-${process.pid}`, TIMESTORE_BACKUP_HOUR: '10' });
  // Named by the day, so this test has days of its own; nothing works on it.
  const day = Date.UTC(1990, 0, 1 + (process.pid % 3_000), 10, 45);
  const id = `daily-${new Date(day).toISOString().slice(0, 10)}`;
  await runMinute(own, day - 3_600_000, undefined);
  expect(await own.postgres.rows('select id from jobs where id = $1', [id])).toEqual([]);
  await Promise.all([runMinute(own, day, undefined), runMinute(own, day, undefined)]);
  expect(await own.postgres.rows('select kind, actor from jobs where id = $1', [id])).toEqual([
    { kind: 'backup', actor: 'cron' },
  ]);
  await own.postgres.rows(`update jobs set state = 'cancelled' where id = $1`, [id]);
});
