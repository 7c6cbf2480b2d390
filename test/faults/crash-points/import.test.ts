import { describe, expect, test } from 'vitest';
import type { Context } from '../../../src/create-context.ts';
import { type Job, readJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { scheduleImport } from '../../../src/operations/import/request.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import { at, expectStored, flush, newInstance, query, type Row, send, tableOf } from '../../integration/support.ts';
import { allPoints, isWhole, known, points, prefix, withFault } from './support.ts';

// Chunks of one row, so that there are several in two partitions.
const own = { ...prefix, TIMESTORE_KEY_PREFIX: `crash-import-${process.pid}`, TIMESTORE_IMPORT_ROWS_MAX: '1' };
const ctx = newInstance(own);
const brought = [
  { timestamp: at(1, 1), v: 1, extra: 'x' },
  { timestamp: at(1, 2), v: 2, extra: 'x' },
];
const later = { timestamp: at(2), v: 3, extra: null };
const key = `imports/crash-${process.pid}.ndjson`;
await ctx.objects.put(key, brought.map((row) => JSON.stringify(row)).join('\n'));

async function begun(): Promise<{ dataset: string; job: Job }> {
  const dataset = await known(ctx);
  const job = await scheduleImport(ctx, dataset, 'm', { format: 'ndjson', objects: [key] }, undefined);
  return { dataset, job };
}

const work = async (instance: Context) => {
  await runDueJobs(instance, jobHandlers, instance.now() + 60_000);
};

async function finish({ id }: Job): Promise<void> {
  for (let tries = 0; (await readJob(ctx, id)).state !== 'done'; tries += 1) {
    if (tries === 20) throw new Error(`the import is not done: ${(await readJob(ctx, id)).error}`);
    // Nobody hears of who has died, and what failed waits no longer.
    await ctx.postgres.rows(
      `update jobs set claim = null, claimed_until = null, due_at = now() where id = $1 and state <> 'done'`,
      [id],
    );
    await work(ctx);
  }
}

const values = async (dataset: string) => {
  const { rows } = await query(newInstance(own), dataset);
  return (rows as Row[]).map(({ v }) => Number(v)).sort();
};

// Once, so that Redis knows the scripts.
await finish((await begun()).job);
await begun();
const { calls } = await withFault(undefined, work, own);
const some = points(calls).map(({ name }) => name);
/** Every insert, with a death once it is done besides, and some of the others. */
const tried = allPoints(calls).filter(({ name }) => {
  if (isWhole || /clickhouse\.send dies after/.test(name)) return true;
  return some.includes(name) && (/clickhouse\.send/.test(name) || some.indexOf(name) % 4 === 0);
});

describe('an import that goes wrong at any call: none of its rows shows before all do, and each is there once', () => {
  test('there are calls to go wrong', () => {
    expect(calls.filter((name) => name === 'clickhouse.send').length).toBeGreaterThanOrEqual(6);
  });

  test.each(tried)('$name', async ({ fault }) => {
    const { dataset, job } = await begun();
    const instance = await withFault(fault, work, own);
    expect([[0], [0, 1, 2]]).toContainEqual(await values(dataset));
    await send(ctx, dataset, [later]);
    expect([
      [0, 3],
      [0, 1, 2, 3],
    ]).toContainEqual(await values(dataset));
    await finish(job);
    expect(await values(dataset)).toEqual([0, 1, 2, 3]);
    await instance.releaseLate();
    expect(await values(dataset)).toEqual([0, 1, 2, 3]);
    await flush(ctx, dataset);
    await expectStored(ctx, await tableOf(newInstance(own), dataset), 4);
    expect(await auditTable(ctx, await tableOf(ctx, dataset))).toMatchObject({ ok: true, partitions: [] });
  });
});
