import { expect, test } from 'vitest';
import { sealLane } from '../../src/buffer/seal.ts';
import { snapshotTable } from '../../src/buffer/snapshot.ts';
import { atLane } from '../../src/catalog/lane-location.ts';
import { insertSeal, settingsVersion } from '../../src/flush/insert.ts';
import { createJob, type Job, readJob } from '../../src/jobs/job.ts';
import { runDueJobs } from '../../src/jobs/runner.ts';
import { type ExportRequest, scheduleExport } from '../../src/operations/export/export.ts';
import { readExport } from '../../src/operations/export/published.ts';
import { scheduleImport } from '../../src/operations/import/request.ts';
import { scheduleImportVerification } from '../../src/operations/import/verify.ts';
import { jobHandlers } from '../../src/operations/job-handlers.ts';
import { reconcileTable } from '../../src/operations/reconcile/reconcile-table.ts';
import { auditTable } from '../../src/operations/row-audit/audit-table.ts';
import { scheduleRowChange } from '../../src/operations/row-changes/change-rows.ts';
import type { RowsChange } from '../../src/operations/row-changes/changed-rows.ts';
import { workUntilOver } from '../integration/jobs/support.ts';
import {
  at,
  flush,
  type Instance,
  newDataset,
  newInstance,
  query,
  send,
  tableOf,
  through,
} from '../integration/support.ts';
import { rememberBuffer } from './failover.ts';

/** Keys of its own, all of which a failover takes back. Each test has them for itself. */
let instances = 0;
function alone(): Instance {
  instances += 1;
  const worker = process.env.VITEST_WORKER_ID ?? 0;
  return newInstance({ TIMESTORE_KEY_PREFIX: `failover-jobs-${process.pid}-${worker}-${instances}` });
}

const row = (second: number, v: string) => ({ timestamp: at(second), v });
const values = async (ctx: Instance, dataset: string) => {
  const asked = { consistency: 'strict', columns: ['v'], orderBy: [{ column: 'timestamp' }] };
  return (await query(ctx, dataset, asked)).rows.map(({ v }) => v);
};

const erased = { filters: { columns: [{ column: 'v', op: 'eq', value: 'erase' }] } };
const begin = (ctx: Instance, dataset: string, request: object = { rows: erased }) =>
  scheduleRowChange(ctx, { dataset, table: 'm', request: request as RowsChange });

/** The result of a job, which ends: one that never does would wait for the test's own end. */
async function resultOf(ctx: Instance, { id }: Pick<Job, 'id'>): Promise<unknown> {
  await expect
    .poll(
      async () => {
        await runDueJobs(ctx, jobHandlers, ctx.now() + 2_000);
        return await readJob(ctx, id);
      },
      { timeout: 20_000 },
    )
    .toMatchObject({ state: 'done' });
  return (await readJob(ctx, id)).result;
}

const put = async (ctx: Instance, name: string, rows: object[]) => {
  const key = `imports/failover-jobs-${process.pid}-${instances}-${name}.ndjson`;
  await ctx.objects.put(key, rows.map((each) => `${JSON.stringify(each)}\n`).join(''));
  return key;
};

test('a deletion or a correction whose sequences a failover takes back ends, and leaves the rows that have them then', async () => {
  for (const isStored of [true, false]) {
    for (const change of ['deletion', 'correction']) {
      const ctx = alone();
      const dataset = newDataset();
      await send(ctx, dataset, [row(1, 'erase'), row(2, 'keep')]);
      await flush(ctx, dataset);
      const failOver = await rememberBuffer(ctx);
      await send(ctx, dataset, [row(3, 'erase')]);
      await send(ctx, dataset, [row(4, 'erase')]);
      if (isStored) await flush(ctx, dataset);
      const set = change === 'correction' ? { set: { v: 'corrected' } } : {};
      const job = await begin(ctx, dataset, { rows: erased, ...set });
      await failOver();
      // One of the two sequences is another batch's by then, before the job begins; the other one while it is over.
      await send(ctx, dataset, [row(5, 'erase')]);
      const found = (await resultOf(ctx, job)) as { rows: number };
      await send(ctx, dataset, [row(6, 'erase')]);
      await flush(ctx, dataset);
      const changed = Array.from({ length: isStored ? 3 : 1 }, () => 'corrected');
      const [first = [], ...rest] = change === 'correction' ? [['corrected'], ...changed.slice(1).map((v) => [v])] : [];
      expect({ isStored, change, rows: found.rows, values: await values(ctx, dataset) }).toEqual({
        isStored,
        change,
        rows: isStored ? 3 : 1,
        values: [...first, 'keep', ...rest.flat(), 'erase', 'erase'],
      });
      expect(await auditTable(ctx, await tableOf(ctx, dataset))).toMatchObject({ ok: true, missing: 0 });
    }
  }
});

test('a deletion of which nothing is there any more after a failover ends', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'keep')]);
  const failOver = await rememberBuffer(ctx);
  await send(ctx, dataset, [row(2, 'erase')]);
  const job = await begin(ctx, dataset);
  await failOver();
  expect(await resultOf(ctx, job)).toMatchObject({ rows: 0 });
  expect(await values(ctx, dataset)).toEqual(['keep']);
});

test('a deletion in a table whose lanes the hot buffer has forgotten ends', async () => {
  const ctx = alone();
  const dataset = newDataset();
  const failOver = await rememberBuffer(ctx);
  await send(ctx, dataset, [row(1, 'keep'), row(2, 'erase')]);
  const job = await begin(ctx, dataset);
  await flush(ctx, dataset);
  await failOver();
  expect(await resultOf(ctx, job)).toMatchObject({ rows: 1 });
  expect(await values(ctx, dataset)).toEqual(['keep']);
});

test.each(['nothing waits', 'another batch waits', 'an older batch waits', 'it was not published'])(
  'rows that a failover has hidden are deleted, and do not show again, where %s',
  async (where) => {
    const ctx = alone();
    const dataset = newDataset();
    await send(ctx, dataset, [row(1, 'first')]);
    await flush(ctx, dataset);
    if (where === 'an older batch waits') await send(ctx, dataset, [row(2, 'older')]);
    const failOver = await rememberBuffer(ctx);
    await send(ctx, dataset, [row(3, 'erase')]);
    await send(ctx, dataset, [row(4, 'erase'), row(5, 'kept')]);
    const table = await tableOf(ctx, dataset);
    if (where === 'it was not published') {
      const sealed = await sealLane(ctx, table, 0, settingsVersion, true);
      if (!('seal' in sealed)) throw new Error(`nothing is sealed: ${sealed.outcome}`);
      await insertSeal(await atLane(ctx, table, 0), table, 0, sealed.seal, 0, 30_000);
    } else {
      await flush(ctx, dataset);
    }
    await failOver();
    if (where === 'another batch waits') await send(ctx, dataset, [row(6, 'other')]);
    await resultOf(ctx, await begin(ctx, dataset));
    const shows = async () => (await values(ctx, dataset)).filter((v) => v === 'erase');
    expect(await shows()).toEqual([]);
    // All ways in which it would show again.
    await flush(ctx, dataset);
    await reconcileTable(ctx, table);
    expect(await shows()).toEqual([]);
    for (const second of [7, 8, 9]) await send(ctx, dataset, [row(second, 'later')]);
    await flush(ctx, dataset);
    expect(await shows()).toEqual([]);
    expect(await values(ctx, dataset)).toContain('kept');
    const audit = await auditTable(ctx, table);
    if (where !== 'it was not published') expect(audit).toMatchObject({ ok: true, missing: 0, unaccounted: 0 });
  },
);

test('exports, comparisons, imports of what is missing and backups have what a failover has hidden, and nothing from after it', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'first')]);
  await flush(ctx, dataset);
  const failOver = await rememberBuffer(ctx);
  await send(ctx, dataset, [row(2, 'second')]);
  await send(ctx, dataset, [row(3, 'third')]);
  await flush(ctx, dataset);
  await failOver();
  await send(ctx, dataset, [row(4, 'fourth')]);
  // Each is of four rows, two of which do not show now.
  const whole = [row(1, 'first'), row(2, 'second'), row(3, 'third'), row(4, 'fourth')];
  const key = await put(ctx, 'whole', whole);
  const exported = await scheduleExport(ctx, dataset, 'm', { format: 'ndjson' } as ExportRequest, undefined);
  const compared = await scheduleImportVerification(
    ctx,
    dataset,
    'm',
    { format: 'ndjson', objects: [key] } as never,
    undefined,
  );
  const again = await rememberBuffer(ctx);
  await send(ctx, dataset, [row(5, 'fifth')]);
  const late = await scheduleExport(ctx, dataset, 'm', { format: 'ndjson' } as ExportRequest, undefined);
  await again();
  // It has the sequence of the one before, and is of none of these jobs.
  await send(ctx, dataset, [row(6, 'sixth')]);
  await resultOf(ctx, exported);
  expect((await readExport(ctx, exported.id)).rows).toBe(4);
  expect(await resultOf(ctx, compared)).toMatchObject({ equal: true, rows: { source: 4, table: 4 } });
  await resultOf(ctx, late);
  expect((await readExport(ctx, late.id)).rows).toBe(4);
  const six = await put(ctx, 'six', [...whole, row(6, 'sixth')]);
  const request = { objects: [six], format: 'ndjson', missingOnly: true };
  expect(await resultOf(ctx, await scheduleImport(ctx, dataset, 'm', request as never, undefined))).toMatchObject({
    rows: 0,
  });
  const backup = await createJob(ctx, {
    kind: 'backup',
    dataset: null,
    table: null,
    request: { datasets: [dataset] },
  });
  expect(await resultOf(ctx, backup)).toMatchObject({ rows: 5 });
});

/** The clock of a primary that is ahead of the next one's. */
async function setAhead(ctx: Instance, dataset: string, seq: number): Promise<void> {
  const key = ctx.keys.state(await tableOf(ctx, dataset), 0);
  await ctx.redis.inTurn([['HSET', key, 'at', `${seq}:${Date.now() + 600_000}`]]);
}

test('a deletion leaves rows that come after it, by a primary whose clock is behind the lost one', async () => {
  for (const isStored of [true, false]) {
    const ctx = alone();
    const dataset = newDataset();
    await send(ctx, dataset, [row(1, 'first')]);
    await flush(ctx, dataset);
    await send(ctx, dataset, [row(2, 'erase')]);
    const failOver = await rememberBuffer(ctx);
    await setAhead(ctx, dataset, 2);
    await send(ctx, dataset, [row(3, 'erase')]);
    await send(ctx, dataset, [row(4, 'erase')]);
    await send(ctx, dataset, [row(5, 'other')]);
    if (isStored) await flush(ctx, dataset);
    const job = await begin(ctx, dataset);
    await failOver();
    await send(ctx, dataset, [row(6, 'erase')]);
    const second = await send(ctx, dataset, [row(7, 'erase')]);
    expect({ isStored, result: await resultOf(ctx, job) }).toMatchObject({
      isStored,
      result: { rows: isStored ? 3 : 1 },
    });
    await flush(ctx, dataset);
    const left = await values(ctx, dataset);
    expect(left.filter((v) => v === 'erase')).toHaveLength(2);
    expect((await query(ctx, dataset, { minWatermark: second.accepted.watermark })).rows).toHaveLength(left.length);
  }
});

test('a deletion of rows that a primary acknowledged whose clock was ahead leaves later rows', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'first')]);
  const failOver = await rememberBuffer(ctx);
  await setAhead(ctx, dataset, 1);
  await send(ctx, dataset, [row(2, 'erase')]);
  await send(ctx, dataset, [row(3, 'erase')]);
  await flush(ctx, dataset);
  await failOver();
  // It shows in the place of one of them, which keeps its own time.
  await send(ctx, dataset, [row(4, 'other')]);
  await flush(ctx, dataset);
  const job = await begin(ctx, dataset);
  await send(ctx, dataset, [row(5, 'erase')]);
  await send(ctx, dataset, [row(6, 'erase')]);
  expect(await resultOf(ctx, job)).toMatchObject({ rows: 2 });
  await flush(ctx, dataset);
  expect(await values(ctx, dataset)).toEqual(['first', 'other', 'erase', 'erase']);
});

test('rows that are hidden by a failover in the middle of the look at the lanes are deleted', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'first')]);
  await flush(ctx, dataset);
  const failOver = await rememberBuffer(ctx);
  await send(ctx, dataset, [row(2, 'erase')]);
  await flush(ctx, dataset);
  let isOver = false;
  const failing = through(ctx, {
    clickhouse: (client) => ({
      ...client,
      async rows(text, ...rest) {
        const found = await client.rows(text, ...rest);
        if (text.includes('newest')) await failOver();
        isOver ||= text.includes('newest');
        return found as never;
      },
    }),
  });
  const job = await begin(failing, dataset);
  expect(isOver).toBe(true);
  expect(await resultOf(ctx, job)).toMatchObject({ rows: 1 });
  await reconcileTable(ctx, await tableOf(ctx, dataset));
  expect(await values(ctx, dataset)).toEqual(['first']);
});

test('no row of an import that is under way is exported, compared or deleted', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'erase')]);
  const imported = async (name: string, second: number) => {
    const request = { objects: [await put(ctx, name, [row(second, 'erase')])], format: 'ndjson' };
    return await scheduleImport(ctx, dataset, 'm', request as never, undefined);
  };
  await resultOf(ctx, await imported('first', 2));
  const job = await imported('second', 3);
  const begun: Job[] = [];
  const isDue = async (each: Job | undefined, after: string) => {
    await ctx.postgres.rows(`update jobs set due_at = now() + ${after} where id = $1`, [each?.id]);
  };
  const steps = {
    ...jobHandlers,
    import: async (...args: Parameters<typeof jobHandlers.import>) => {
      const outcome = await jobHandlers.import(...args);
      if (begun.length === 0 && 'progress' in outcome && outcome.progress.latest_ms !== undefined) {
        begun.push(await scheduleExport(ctx, dataset, 'm', { format: 'ndjson' } as ExportRequest, undefined));
        begun.push(await begin(ctx, dataset));
        await isDue(begun[1], "interval '1 hour'");
      }
      return outcome;
    },
  };
  while ((await readJob(ctx, job.id)).state !== 'done') await runDueJobs(ctx, steps, ctx.now() + 2_000);
  const [exported, deleted] = begun as [Job, Job];
  expect(await resultOf(ctx, exported)).toMatchObject({ rows: 2 });
  await isDue(deleted, "interval '0'");
  expect(await resultOf(ctx, deleted)).toMatchObject({ rows: 2 });
  expect(await values(ctx, dataset)).toEqual(['erase']);
});

test('a job from before times were kept with its sequences goes on', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'erase')]);
  const withoutTimes = async ({ id }: Pick<Job, 'id'>, seq: number) => {
    const until = JSON.stringify([{ lane: 0, seq }]);
    await ctx.postgres.rows(`update jobs set progress = jsonb_set(progress, '{until}', $2::jsonb) where id = $1`, [
      id,
      until,
    ]);
    return { id };
  };
  const exported = await scheduleExport(ctx, dataset, 'm', { format: 'ndjson' } as ExportRequest, undefined);
  await resultOf(ctx, await withoutTimes(exported, 1));
  expect((await readExport(ctx, exported.id)).rows).toBe(1);
  await send(ctx, dataset, [row(2, 'erase')]);
  expect(await resultOf(ctx, await withoutTimes(await begin(ctx, dataset), 1))).toMatchObject({ rows: 1 });
  expect(await values(ctx, dataset)).toEqual(['erase']);
  // Of sequences that a failover has taken back.
  expect(await resultOf(ctx, await withoutTimes(await begin(ctx, dataset), 7))).toMatchObject({ rows: 1 });
});

test('further pages are given out again after a failover that brings the mark of a change back which is over', async () => {
  const ctx = alone();
  const dataset = newDataset();
  for (const second of [1, 2, 3]) await send(ctx, dataset, [row(second, `${second}`)]);
  await send(ctx, dataset, [row(4, 'erase')]);
  const job = await begin(ctx, dataset);
  let failOver: (() => Promise<void>) | undefined;
  const steps = {
    ...jobHandlers,
    'delete-rows': async (...args: Parameters<(typeof jobHandlers)['delete-rows']>) => {
      const outcome = await jobHandlers['delete-rows'](...args);
      if ('progress' in outcome && outcome.progress.isSent === true) failOver ??= await rememberBuffer(ctx);
      return outcome;
    },
  };
  while ((await readJob(ctx, job.id)).state !== 'done') await runDueJobs(ctx, steps, ctx.now() + 2_000);
  await failOver?.();
  const table = await tableOf(ctx, dataset);
  const changes = async () => {
    const snapshot = await snapshotTable(ctx, table, 'state');
    return snapshot === 'unknown' ? snapshot : snapshot.changes;
  };
  expect(await changes()).toBeUndefined();
  const { drift } = await reconcileTable(ctx, table);
  expect(drift).toMatchObject([{ what: 'change-mark', mended: true }]);
  expect(await changes()).toBeDefined();
  const first = await query(ctx, dataset, { limit: 2 });
  expect((await query(ctx, dataset, { limit: 2, cursor: first.cursor })).rows).toHaveLength(1);
});

test('the mark of a change stays while it runs, or ClickHouse has not ended it, and goes when it has failed', async () => {
  const ctx = alone();
  const dataset = newDataset();
  for (const second of [1, 2, 3]) await send(ctx, dataset, [row(second, `${second}`)]);
  await send(ctx, dataset, [row(4, 'erase')]);
  const table = await tableOf(ctx, dataset);
  const isMarked = async () => {
    const snapshot = await snapshotTable(ctx, table, 'state');
    return snapshot !== 'unknown' && snapshot.changes === undefined;
  };
  const job = await begin(ctx, dataset);
  const { id } = job;
  const steps = {
    ...jobHandlers,
    'delete-rows': async (...args: Parameters<(typeof jobHandlers)['delete-rows']>) => {
      const outcome = await jobHandlers['delete-rows'](...args);
      return 'progress' in outcome && outcome.progress.isSent ? { ...outcome, wait_ms: 3_600_000 } : outcome;
    },
  };
  while (!(await isMarked())) await runDueJobs(ctx, steps, ctx.now() + 500);
  expect((await readJob(ctx, id)).state).toMatch(/queued|running/);
  expect((await reconcileTable(ctx, table)).drift).toEqual([]);
  expect(await isMarked()).toBe(true);
  await ctx.postgres.rows(`update jobs set state = 'failed', claim = null, claimed_until = null where id = $1`, [id]);
  const there = await atLane(ctx, table, 0);
  const name = `\`ts_${dataset}\`.\`${table.physical}\``;
  await there.clickhouse.command(`SYSTEM STOP MERGES ${name}`);
  await there.clickhouse.command(`ALTER TABLE ${name} DELETE WHERE v = 'other' SETTINGS mutations_sync = 0`);
  expect((await reconcileTable(ctx, table)).drift).toMatchObject([{ what: 'change-mark', mended: false }]);
  expect(await isMarked()).toBe(true);
  await there.clickhouse.command(`SYSTEM START MERGES ${name}`);
  await expect.poll(async () => (await reconcileTable(ctx, table)).drift).toMatchObject([{ mended: true }]);
  expect(await isMarked()).toBe(false);
  // Tried again, it marks the table again.
  const first = await query(ctx, dataset, { limit: 2 });
  await ctx.postgres.rows(`update jobs set state = 'queued', due_at = now() where id = $1`, [id]);
  expect(await workUntilOver(ctx, job)).toMatchObject({ state: 'done' });
  await expect(query(ctx, dataset, { limit: 2, cursor: first.cursor })).rejects.toMatchObject({
    code: 'cursor-expired',
  });
});
