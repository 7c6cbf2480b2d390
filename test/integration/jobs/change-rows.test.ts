import { expect, test } from 'vitest';
import { sealLane } from '../../../src/buffer/seal.ts';
import { atLane } from '../../../src/catalog/lane-location.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { insertSeal, settingsVersion } from '../../../src/flush/insert.ts';
import type { JobHandler } from '../../../src/jobs/definition.ts';
import { readJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import type { OperationDeps } from '../../../src/operations/deps.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import type { RowsChange } from '../../../src/operations/row-changes/changed-rows.ts';
import { at, flush, newDataset, newInstance, query, send, storedRows, tableOf } from '../support.ts';
import { workUntilOver } from './support.ts';

/** With keys of its own: jobs are of who has them. */
const instance = () => newInstance({ TIMESTORE_KEY_PREFIX: `jobs-${process.pid}` });
const ctx = instance();

const where = (column: string, value: unknown) => ({ filters: { columns: [{ column, op: 'eq', value }] } });

const begin = (dataset: string, request: object, key?: string) =>
  scheduleRowChange(ctx, { dataset, table: 'm', request: request as RowsChange, key });

async function withRows(): Promise<string> {
  const dataset = newDataset();
  await send(ctx, dataset, [
    { timestamp: at(1), v: 1, s: 'a' },
    { timestamp: at(2, 2), v: 2, s: 'b' },
    { timestamp: at(3), v: 3, s: 'b' },
  ]);
  await flush(ctx, dataset);
  // And one that waits in the buffer.
  await send(ctx, dataset, [{ timestamp: at(4), v: 4, s: 'b' }]);
  return dataset;
}

const values = async (dataset: string) => (await query(ctx, dataset)).rows.map(({ v, s }) => [v, s]);

test('rows are deleted in the buffer and in ClickHouse, counted by partition, and an audit knows of them', async () => {
  const dataset = await withRows();
  const job = await begin(dataset, { rows: where('s', 'b') });
  const over = await workUntilOver(ctx, job);
  expect(over).toMatchObject({
    state: 'done',
    result: {
      rows: 3,
      partitions: [
        { lane: 0, partition: '20260501', rows: 2 },
        { lane: 0, partition: '20260502', rows: 1 },
      ],
    },
  });
  expect(await values(dataset)).toEqual([[1, 'a']]);
  await send(ctx, dataset, [{ timestamp: at(5), v: 5, s: 'b' }]);
  expect(await values(dataset)).toEqual([
    [1, 'a'],
    [5, 'b'],
  ]);
  await flush(ctx, dataset);
  const audit = await auditTable(ctx, await tableOf(ctx, dataset));
  expect(audit).toMatchObject({ ok: true, missing: 0, unaccounted: 0 });
  expect(audit.partitions.map(({ deleted }) => deleted)).toEqual([2, 1]);
});

test('rows acknowledged after the job was made are not touched, whenever it begins', async () => {
  const dataset = await withRows();
  const job = await begin(dataset, { rows: where('s', 'b') });
  await send(ctx, dataset, [{ timestamp: at(9), v: 9, s: 'b' }]);
  await flush(ctx, dataset);
  expect((await workUntilOver(ctx, job)).result).toMatchObject({ rows: 3 });
  expect(await values(dataset)).toEqual([
    [1, 'a'],
    [9, 'b'],
  ]);
});

test('fields are corrected, null and exact integers among the values', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [
    { timestamp: at(1), v: 1, big: 9007199254740993n.toString(), s: 'a' },
    { timestamp: at(2), v: 2, s: `it's` },
  ]);
  const job = await begin(dataset, { rows: where('s', `it's`), set: { v: null, s: 'b\\\'"\n' } });
  expect(await workUntilOver(ctx, job)).toMatchObject({ state: 'done', result: { rows: 1 } });
  const { rows } = await query(ctx, dataset, { columns: ['v', 's'] });
  expect(rows).toEqual([
    { v: 1, s: 'a' },
    { v: null, s: 'b\\\'"\n' },
  ]);
  expect((await auditTable(ctx, await tableOf(ctx, dataset))).ok).toBe(true);
});

test('the same request under one id is one job; another one is refused', async () => {
  const dataset = await withRows();
  const id = `job-${dataset}`;
  const first = await begin(dataset, { rows: where('v', 1) }, id);
  expect((await begin(dataset, { rows: where('v', 1) }, id)).n).toBe(first.n);
  await expect(begin(dataset, { rows: where('v', 2) }, id)).rejects.toMatchObject({
    code: 'key-reused',
  });
  expect(await workUntilOver(ctx, first)).toMatchObject({ state: 'done', result: { rows: 1 } });
});

test('a job that dies after any of its steps, before that step is recorded, deletes the same rows once', async () => {
  for (let dies = 0; dies < 5; dies += 1) {
    const dataset = await withRows();
    const job = await begin(dataset, { rows: where('s', 'b') });
    let steps = 0;
    const dying: JobHandler<OperationDeps> = async (own, each, until) => {
      const outcome = await jobHandlers['delete-rows'](own, each, until);
      if (steps === dies) {
        steps += 1;
        throw new Error('the function was ended');
      }
      steps += 1;
      return outcome;
    };
    await runDueJobs(ctx, { ...jobHandlers, 'delete-rows': dying }, ctx.now() + 60_000);
    await ctx.postgres.rows('update jobs set due_at = now() where id = $1', [job.id]);
    expect(await workUntilOver(ctx, job), `died after step ${dies}`).toMatchObject({
      state: 'done',
      result: { rows: 3 },
    });
    expect(await values(dataset)).toEqual([[1, 'a']]);
    const deleted = await ctx.postgres.rows('select sum(rows)::int as rows from deletions where dataset = $1', [
      dataset,
    ]);
    expect(deleted).toEqual([{ rows: 3 }]);
    expect((await auditTable(ctx, await tableOf(ctx, dataset))).ok).toBe(true);
  }
});

test('several that work on one job at the same time delete its rows once', async () => {
  const dataset = await withRows();
  const job = await begin(dataset, { rows: where('s', 'b') });
  // As if every claim had run out: all of them have the same step.
  const together = async () => {
    const own = instance();
    for (let round = 0; round < 8; round += 1) {
      await ctx.postgres.rows(
        `update jobs set claimed_until = now() - interval '1 second', due_at = now() where id = $1`,
        [job.id],
      );
      await runDueJobs(own, jobHandlers, own.now() + 500).catch(() => undefined);
    }
  };
  await Promise.all([together(), together(), together()]);
  expect(await workUntilOver(ctx, job)).toMatchObject({ state: 'done', result: { rows: 3 } });
  expect(await ctx.postgres.rows('select sum(rows)::int as rows from deletions where dataset = $1', [dataset])).toEqual(
    [{ rows: 3 }],
  );
  expect(await values(dataset)).toEqual([[1, 'a']]);
});

test('a worker that was overtaken within a step records nothing afterwards', async () => {
  const dataset = await withRows();
  const job = await begin(dataset, { rows: where('s', 'b') });
  const own = instance();
  /** Takes the job as if its claim had run out, until ClickHouse has been told to delete. */
  const overtake = async () => {
    const other = instance();
    await other.postgres.rows(`update jobs set claimed_until = now() - interval '1 second' where id = $1`, [job.id]);
    const step: JobHandler<OperationDeps> = async (ctx_, each, until) => {
      const outcome = await jobHandlers['delete-rows'](ctx_, each, until);
      const isSent = 'progress' in outcome && outcome.progress.isSent === true;
      return isSent ? { ...outcome, wait_ms: 3_600_000 } : outcome;
    };
    await runDueJobs(other, { ...jobHandlers, 'delete-rows': step }, other.now() + 60_000);
    expect((await readJob(other, job.id)).progress).toMatchObject({ isSent: true });
  };
  let isFirst = true;
  const slow: JobHandler<OperationDeps> = async (ctx_, each, until) => {
    const outcome = await jobHandlers['delete-rows'](ctx_, each, until);
    if (isFirst) await overtake();
    isFirst = false;
    return outcome;
  };
  await runDueJobs(own, { ...jobHandlers, 'delete-rows': slow }, own.now() + 1_000);
  const [first] = own.events.filter(({ event }) => event === 'job');
  expect(first).toMatchObject({ job: job.id, outcome: 'failed' });
  expect((await readJob(own, job.id)).progress).toMatchObject({ isSent: true });
  await own.postgres.rows('update jobs set due_at = now(), claimed_until = null where id = $1', [job.id]);
  expect(await workUntilOver(own, job)).toMatchObject({ state: 'done', result: { rows: 3 } });
});

test('a step that takes longer than a claim is not begun by anybody else', async () => {
  const dataset = await withRows();
  const job = await begin(dataset, { rows: where('s', 'b') });
  const short = { TIMESTORE_KEY_PREFIX: `jobs-${process.pid}`, TIMESTORE_JOB_CLAIM_MS: '2000' };
  const [own, other] = [newInstance(short), newInstance(short)];
  let begun = 0;
  let begunMeanwhile = 0;
  const long: JobHandler<OperationDeps> = async (ctx_, each, until) => {
    begun += 1;
    if (begun === 1) {
      const until_ms = Date.now() + 5_000;
      while (Date.now() < until_ms) await runDueJobs(other, steps, other.now() + 100);
      begunMeanwhile = begun;
    }
    return await jobHandlers['delete-rows'](ctx_, each, until);
  };
  const steps = { ...jobHandlers, 'delete-rows': long };
  await runDueJobs(own, steps, own.now() + 60_000);
  expect(begunMeanwhile).toBe(1);
  expect(await workUntilOver(own, job)).toMatchObject({ state: 'done', attempts: 0, result: { rows: 3 } });
});

test('two deletions of the same rows count each row once', async () => {
  const dataset = await withRows();
  const first = await begin(dataset, { rows: where('s', 'b') });
  const second = await begin(dataset, { rows: { timeRange: { start: at(0), end: at(59, 3) } } });
  await workUntilOver(ctx, second);
  expect((await readJob(ctx, first.id)).result).toMatchObject({ rows: 3 });
  expect((await readJob(ctx, second.id)).result).toMatchObject({ rows: 1 });
  expect(await values(dataset)).toEqual([]);
  expect((await auditTable(ctx, await tableOf(ctx, dataset))).ok).toBe(true);
});

test('an insert of deleted rows that comes late brings none of them back', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(1), v: 1, s: 'b' }]);
  const table = await tableOf(ctx, dataset);
  const sealed = await sealLane(ctx, table, 0, settingsVersion, true);
  if (!('seal' in sealed)) throw new Error(`the lane is ${sealed.outcome}`);
  await flushLane(ctx, table, 0, 'admin');
  await workUntilOver(ctx, await begin(dataset, { rows: where('s', 'b') }));
  expect(await storedRows(ctx, table)).toBe(0);
  // A flusher that took the same seal before, and sends it only now.
  await insertSeal(await atLane(ctx, table, 0), table, 0, sealed.seal, 0, 10_000);
  expect(await storedRows(ctx, table)).toBe(0);
});

test('new seals wait while rows are deleted, and go on afterwards', async () => {
  const dataset = await withRows();
  const job = await begin(dataset, { rows: where('s', 'b') });
  const step = async () => {
    const outcome = await jobHandlers['delete-rows'](ctx, await readJob(ctx, job.id), ctx.now() + 5_000);
    if ('done' in outcome) return;
    await ctx.postgres.transaction([
      ...(outcome.alongside ?? []),
      ['update jobs set progress = $2::jsonb where id = $1', [job.id, JSON.stringify(outcome.progress)]],
    ]);
  };
  await step(); // flushed
  await step(); // counted: from here on held
  await send(ctx, dataset, [{ timestamp: at(7), v: 7, s: 'z' }]);
  expect(await flushLane(ctx, await tableOf(ctx, dataset), 0, 'cron')).toMatchObject({ outcome: 'busy' });
  await workUntilOver(ctx, job);
  expect(await flushLane(ctx, await tableOf(ctx, dataset), 0, 'cron')).toMatchObject({ outcome: 'ok', rows: 1 });
});

test('a table that was dropped meanwhile fails its job in words, and the one that has its name now is not touched', async () => {
  const dataset = await withRows();
  const job = await begin(dataset, { rows: where('s', 'b') });
  await ctx.postgres.rows(`update jobs set progress = $2::jsonb where id = $1`, [
    job.id,
    JSON.stringify({ physical: 'm.7', until: [{ lane: 0, seq: 99 }] }),
  ]);
  expect(await workUntilOver(ctx, job)).toMatchObject({
    state: 'failed',
    error: expect.stringContaining('Table m not found'),
  });
  expect(await values(dataset)).toHaveLength(4);
});
