import { describe, expect, test } from 'vitest';
import { deleteTable } from '../../../src/catalog/change-table.ts';
import { deleteDataset } from '../../../src/catalog/datasets.ts';
import type { Context } from '../../../src/create-context.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { readJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { createKey, findKeyRecord } from '../../../src/keys/manage-keys.ts';
import { scheduleExport } from '../../../src/operations/export/export.ts';
import { listExports } from '../../../src/operations/export/published.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { openRecords } from '../../../src/operations/quarantine/replay.ts';
import { at, flush, newDataset, newInstance, query, send } from '../../integration/support.ts';
import type { Fault } from '../injection.ts';
import { isWhole, points, prefix, withFault } from './support.ts';

const own = { ...prefix, TIMESTORE_KEY_PREFIX: `crash-drop-${process.pid}` };
const ctx = newInstance(own);
const kinds = ['table', 'dataset'] as const;
type Kind = (typeof kinds)[number];

/** A dataset with something of everything, whose table or itself is to be dropped, and the job that does it. */
async function begun(kind: Kind): Promise<{ dataset: string; job: string; key: string }> {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await flush(ctx, dataset);
  await send(ctx, dataset, [{ timestamp: at(2), v: 2 }]);
  await ingestRows(ctx, {
    dataset,
    table: 'm',
    text: JSON.stringify({ timestamp: 'never', s: 'x'.repeat(70_000) }),
    format: 'json',
    idempotencyKey: undefined,
    onError: 'quarantine',
  });
  await work(ctx, (await scheduleExport(ctx, dataset, 'm', { format: 'ndjson' }, undefined)).id);
  const { key } = await createKey(ctx, {
    name: 'of a test',
    scopes: { query: [dataset] },
    rowFilter: null,
    expiresAt_ms: null,
  });
  if (kind === 'table') await deleteTable(ctx, dataset, 'm', 0);
  else await deleteDataset(ctx, dataset, 0, undefined);
  const [job] = await ctx.postgres.rows<{ id: string }>(
    `select id from jobs where dataset = $1 and kind = 'drop-${kind}'`,
    [dataset],
  );
  return { dataset, job: job?.id ?? '', key: key.id };
}

/** Steps of that one job and of those that it makes, without the times that they wait. */
const work = async (instance: Context, job: string) => {
  for (;;) {
    await instance.postgres.rows(
      `update jobs set due_at = now() where buffer = $1 and state in ('queued', 'running')`,
      [own.TIMESTORE_KEY_PREFIX],
    );
    await runDueJobs(instance, jobHandlers, instance.now() + 60_000);
    const { state, error } = await readJob(instance, job);
    if (state === 'done' || error !== null) return;
  }
};

async function finish(dataset: string, job: string): Promise<void> {
  for (let tries = 0; (await readJob(ctx, job)).state !== 'done'; tries += 1) {
    if (tries === 20) throw new Error(`it is not dropped: ${(await readJob(ctx, job)).error}`);
    // The leases and the claim of a dead function run out.
    const leases = (await ctx.redis.keys(`${own.TIMESTORE_KEY_PREFIX}:*lease*`)).filter((key) => key.includes(dataset));
    if (leases.length > 0) await ctx.redis.del(...leases);
    await ctx.postgres.rows(
      `update jobs set claim = null, claimed_until = null where buffer = $1 and state in ('queued', 'running')`,
      [own.TIMESTORE_KEY_PREFIX],
    );
    await work(ctx, job);
  }
  expect((await readJob(ctx, job)).result).toEqual({ dropped: true });
}

async function expectGone(kind: Kind, dataset: string, key: string): Promise<void> {
  const other = newInstance(own);
  expect((await query(other, dataset)).rows).toEqual([{ timestamp: at(3), v: 3 }]);
  for (const folder of ['exports', 'quarantine']) expect(await ctx.objects.list(`${folder}/${dataset}/`)).toEqual([]);
  expect(await listExports(ctx, { dataset }, 10)).toEqual([]);
  const open = await openRecords(other, dataset, { limit: 10 }).catch((error: { code: string }) => error.code);
  expect(open).toEqual(kind === 'table' ? [] : 'not-found');
  expect((await findKeyRecord(ctx, key))?.revokedAt_ms === null).toBe(kind === 'table');
  const lines = await ctx.postgres.rows(`select from audit_log where dataset = $1 and action = $2`, [
    dataset,
    `${kind}.drop`,
  ]);
  expect(lines).toHaveLength(1);
}

async function dropped(kind: Kind, fault: Fault | undefined): Promise<string[]> {
  const { dataset, job, key } = await begun(kind);
  const instance = await withFault(fault, (each) => work(each, job), own);
  await finish(dataset, job);
  // What a dataset still had under way has arrived by the time that its name is free.
  if (kind === 'dataset') await instance.releaseLate();
  await send(newInstance(own), dataset, [{ timestamp: at(3), v: 3 }]);
  if (kind === 'table') await instance.releaseLate();
  await expectGone(kind, dataset, key);
  return instance.calls;
}

// Once, so that Redis knows the scripts.
await dropped('table', undefined);

describe.each(kinds)(
  'the drop of a %s goes wrong at any call: whoever goes on drops the rest, and nothing else',
  async (kind) => {
    const calls = await dropped(kind, undefined);

    test('there are calls to go wrong', () => {
      expect(calls.filter((name) => name === 'clickhouse.command').length).toBeGreaterThanOrEqual(2);
      expect(calls.filter((name) => name === 'objects.remove').length).toBeGreaterThanOrEqual(2);
    });

    const tried = points(calls).filter((_, i) => isWhole || i % 6 === 0);
    test.each(tried)('$name', async ({ fault }) => {
      await dropped(kind, fault);
    });
  },
);
