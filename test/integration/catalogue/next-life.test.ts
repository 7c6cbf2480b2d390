import { describe, expect } from 'vitest';
import { deleteTable, requireTable } from '../../../src/catalog/change-table.ts';
import { deleteDataset } from '../../../src/catalog/datasets.ts';
import { flushNow } from '../../../src/flush/flush-now.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { type Job, readJob, retryJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { authenticate } from '../../../src/keys/find-key.ts';
import { createKey, findKeyRecord } from '../../../src/keys/manage-keys.ts';
import { scheduleExport } from '../../../src/operations/export/export.ts';
import { listExports } from '../../../src/operations/export/published.ts';
import { exportDue, listSchedules, setSchedule } from '../../../src/operations/export/schedule.ts';
import { scheduleImport } from '../../../src/operations/import/request.ts';
import { scheduleImportVerification } from '../../../src/operations/import/verify.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { openRecords, replayRecords } from '../../../src/operations/quarantine/replay.ts';
import { newestAudits } from '../../../src/operations/row-audit/audit-due.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import { createWebhook, listWebhooks } from '../../../src/operations/webhooks/webhook.ts';
import { test } from '../fixtures.ts';
import { workUntilOver } from '../jobs/support.ts';
import { at, flush, type Instance, newDataset, newInstance, query, send } from '../support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `next-life-${process.pid}` };
const ctx = newInstance(prefix);

async function dropped(dataset: string, kind: 'drop-table' | 'drop-dataset'): Promise<void> {
  const [job] = await ctx.postgres.rows<{ id: string }>(
    'select id from jobs where dataset = $1 and kind = $2 order by n desc limit 1',
    [dataset, kind],
  );
  expect(await workUntilOver(ctx, { id: job?.id ?? '' })).toMatchObject({ state: 'done', result: { dropped: true } });
}

async function dropTable(dataset: string): Promise<void> {
  await deleteTable(ctx, dataset, 'm', 0);
  await dropped(dataset, 'drop-table');
}

async function dropDataset(dataset: string): Promise<void> {
  await deleteDataset(ctx, dataset, 0, undefined);
  await dropped(dataset, 'drop-dataset');
}

const drops: [string, (dataset: string) => Promise<void>][] = [
  ['the table', dropTable],
  ['the dataset', dropDataset],
];

const filters = { columns: [{ column: 'v', op: 'eq' as const, value: 1 }] };

/** Each kind of job that is asked for under a key, in the same words each time. */
const kinds: Record<string, (dataset: string, key: string) => Promise<Job>> = {
  deletion: (dataset, key) => scheduleRowChange(ctx, { dataset, table: 'm', request: { rows: { filters } }, key }),
  correction: (dataset, key) =>
    scheduleRowChange(ctx, { dataset, table: 'm', request: { rows: { filters }, set: { x: 'set' } }, key }),
  export: (dataset, key) => scheduleExport(ctx, dataset, 'm', { format: 'ndjson' }, key),
  import: (dataset, key) =>
    scheduleImport(ctx, dataset, 'm', { format: 'ndjson', objects: [`imports/${dataset}/one.ndjson`] }, key),
  comparison: (dataset, key) =>
    scheduleImportVerification(
      ctx,
      dataset,
      'm',
      { format: 'ndjson', objects: [`imports/${dataset}/one.ndjson`] },
      key,
    ),
};

describe.each(drops)('after %s was dropped and made again', (_, drop) => {
  test.each(Object.entries(kinds))('%s: under the key of an earlier one it is another job', async (kind, begin) => {
    const dataset = newDataset();
    const row = { timestamp: at(1), v: 1, x: 'was' };
    await ctx.objects.put(`imports/${dataset}/one.ndjson`, JSON.stringify(row));
    const life = async () => {
      if (kind !== 'import') await send(ctx, dataset, [row]);
      const job = await begin(dataset, 'the key');
      const over = await workUntilOver(ctx, job);
      expect([over.state, over.error]).toEqual(['done', null]);
      // Within a life it is the same.
      expect((await begin(dataset, 'the key')).id).toBe(job.id);
      return over;
    };
    const first = await life();
    await drop(dataset);
    const second = await life();
    expect(second.id).not.toBe(first.id);
    expect(second.result).toMatchObject({
      ...first.result,
      ...('export' in (first.result ?? {}) && { export: second.id }),
    });
    const { rows } = await query(newInstance(prefix), dataset);
    const left: Record<string, object[]> = { deletion: [], correction: [{ ...row, x: 'set' }] };
    expect(rows).toEqual(left[kind] ?? [row]);
  });

  test('a row is set aside under the key of an earlier one, listed and sent again, and the earlier one is not', async ({
    dataset,
  }) => {
    const refuse = async (value: string) => {
      const text = [
        { timestamp: at(1), v: 1 },
        { timestamp: at(2), v: value },
      ]
        .map((row) => JSON.stringify(row))
        .join('\n');
      await ingestRows(ctx, {
        dataset,
        table: 'm',
        text,
        format: 'ndjson',
        idempotencyKey: 'client:same',
        onError: 'quarantine',
      });
    };
    await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
    await refuse('first');
    const [old] = await openRecords(ctx, dataset, { limit: 10 });
    expect(old?.payload).toContain('first');
    await drop(dataset);
    if (drop === dropTable) expect((await query(ctx, dataset, { tableName: '_quarantine' })).rows).toEqual([]);
    await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
    await refuse('first');
    const open = await openRecords(newInstance(prefix), dataset, { limit: 10 });
    expect(open.map(({ payload }) => payload)).toEqual([expect.stringContaining('first')]);
    expect(open[0]?.id).not.toBe(old?.id);
    await replayRecords(ctx, dataset, open);
    expect((await query(ctx, dataset)).rows).toHaveLength(2);
  });

  test('its audit, schedule and exports are gone, and objects with them', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await ingestRows(ctx, {
      dataset,
      table: 'm',
      text: JSON.stringify({ timestamp: 'never', s: 'x'.repeat(70_000) }),
      format: 'json',
      idempotencyKey: undefined,
      onError: 'quarantine',
    });
    await flushNow(ctx, { dataset, table: '_quarantine' });
    const job = await workUntilOver(ctx, await scheduleExport(ctx, dataset, 'm', { format: 'ndjson' }, undefined));
    expect(job.state).toBe('done');
    await setSchedule(ctx, { dataset, table: 'm', hour: 3, days: 1, format: 'csv', columns: null });
    await auditTable(ctx, await requireTable(ctx, dataset, 'm'));
    // Written, and never published: its function died.
    await ctx.objects.put(`exports/${dataset}/m/${job.id}/left.ndjson`, '{}');
    const objects = async () => [
      ...(await ctx.objects.list(`exports/${dataset}/`)),
      ...(await ctx.objects.list(`quarantine/${dataset}/`)),
    ];
    expect(await objects()).toHaveLength(4);
    await drop(dataset);
    await send(ctx, dataset, [{ timestamp: at(1), v: 2 }]);
    expect(await objects()).toEqual([]);
    expect(await listExports(ctx, { dataset }, 10)).toEqual([]);
    expect((await listSchedules(ctx, undefined)).filter((each) => each.dataset === dataset)).toEqual([]);
    expect((await newestAudits(ctx)).filter((each) => each.dataset === dataset)).toEqual([]);
  });

  test('an unfinished job of the dropped table is cancelled or fails, and does not touch the new one', async ({
    dataset,
  }) => {
    const row = { timestamp: at(1), v: 1, x: 'was' };
    await ctx.objects.put(`imports/${dataset}/one.ndjson`, JSON.stringify(row));
    await send(ctx, dataset, [row]);
    const jobs = [];
    for (const [kind, begin] of Object.entries(kinds)) jobs.push(await begin(dataset, kind));
    const later = `update jobs set due_at = now() + interval '1 hour' where id = any($1)`;
    await ctx.postgres.rows(later, [jobs.map(({ id }) => id)]);
    await drop(dataset);
    await send(ctx, dataset, [row]);
    for (const { id } of jobs) {
      expect((await readJob(ctx, id)).state).toBe('cancelled');
      // As whoever has it at that moment finds it, or somebody who tries it again.
      await ctx.postgres.rows(`update jobs set state = 'failed' where id = $1`, [id]);
      await retryJob(ctx, id);
      expect(await workUntilOver(ctx, { id })).toMatchObject({
        state: 'failed',
        error: expect.stringMatching(/not found|deleted/),
      });
    }
    expect((await query(newInstance(prefix), dataset)).rows).toEqual([row]);
  });
});

test('a drop waits for who still writes objects of the table', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const slow = newInstance(prefix);
  const { put } = slow.objects;
  const [begun, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  slow.objects.put = async (...what) => {
    begun.resolve();
    await gate.promise;
    return await put(...what);
  };
  await scheduleExport(ctx, dataset, 'm', { format: 'ndjson' }, undefined);
  const exporting = runDueJobs(slow, jobHandlers, slow.now() + 10_000);
  await begun.promise;
  await deleteTable(ctx, dataset, 'm', 0);
  await runDueJobs(ctx, jobHandlers, ctx.now() + 2_000);
  const states = `select state from jobs where dataset = $1 and kind = 'drop-table'`;
  expect(await ctx.postgres.rows(states, [dataset])).toEqual([{ state: 'running' }]);
  gate.resolve();
  await exporting;
  await dropped(dataset, 'drop-table');
  expect(await ctx.objects.list(`exports/${dataset}/`)).toEqual([]);
  expect(await listExports(ctx, { dataset }, 10)).toEqual([]);
});

test('an import that was asked for before its table was there makes none in a dataset of the next life', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const key = `imports/${dataset}/one.ndjson`;
  await ctx.objects.put(key, JSON.stringify({ timestamp: at(1), v: 1 }));
  const request = { format: 'ndjson' as const, objects: [key] };
  const job = await scheduleImport(ctx, dataset, 'other', request, 'the key');
  await ctx.postgres.rows(`update jobs set due_at = now() + interval '1 hour' where id = $1`, [job.id]);
  await dropDataset(dataset);
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await ctx.postgres.rows(`update jobs set state = 'failed' where id = $1`, [job.id]);
  await retryJob(ctx, job.id);
  expect(await workUntilOver(ctx, job)).toMatchObject({ state: 'failed', error: expect.stringContaining('deleted') });
  await expect(requireTable(ctx, dataset, 'other')).rejects.toMatchObject({ code: 'not-found' });
  const again = await scheduleImport(ctx, dataset, 'other', request, 'the key');
  expect(again.id).not.toBe(job.id);
  expect(await workUntilOver(ctx, again)).toMatchObject({ state: 'done', result: { rows: 1 } });
});

test('a schedule that the clock looks at late begins nothing of the next table of its name', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await setSchedule(ctx, { dataset, table: 'm', hour: 0, days: 1, format: 'csv', columns: null });
  await ctx.postgres.rows(`update export_schedules set next_at = date_trunc('day', now()) where dataset = $1`, [
    dataset,
  ]);
  const late = newInstance(prefix);
  const { rows } = late.postgres;
  let isLate = true;
  late.postgres.rows = async <Row>(text: string, params?: unknown[]) => {
    const found = await rows<Row>(text, params);
    if (isLate && text.includes('from export_schedules')) {
      isLate = false;
      await dropTable(dataset);
      await send(ctx, dataset, [{ timestamp: at(1), v: 2 }]);
    }
    return found;
  };
  expect(await exportDue(late)).toBe(0);
  expect(late.events.filter(({ event }) => event === 'export-skipped')).toHaveLength(1);
  // Of the same hour, of the table that there is now.
  await setSchedule(ctx, { dataset, table: 'm', hour: 0, days: 1, format: 'csv', columns: null });
  await ctx.postgres.rows(`update export_schedules set next_at = date_trunc('day', now()) where dataset = $1`, [
    dataset,
  ]);
  expect(await exportDue(ctx)).toBe(1);
});

test('a table is dropped only when its rows in quarantine are gone, and their deletion is tried again when it fails', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const text = JSON.stringify({ timestamp: 'never', v: 2 });
  await ingestRows(ctx, {
    dataset,
    table: 'm',
    text,
    format: 'json',
    idempotencyKey: undefined,
    onError: 'quarantine',
  });
  await deleteTable(ctx, dataset, 'm', 0);
  let failures = 0;
  const deletion: (typeof jobHandlers)['delete-rows'] = (_, job) => {
    failures += 1;
    return Promise.resolve({ failed: 'for a test', progress: job.progress });
  };
  const steps = { ...jobHandlers, 'delete-rows': deletion };
  await expect
    .poll(async () => {
      await runDueJobs(ctx, steps, ctx.now() + 2_000);
      return failures;
    })
    .toBeGreaterThan(1);
  const [job] = await ctx.postgres.rows<{ state: string }>(
    `select state from jobs where dataset = $1 and kind = 'drop-table'`,
    [dataset],
  );
  expect(job?.state).toBe('running');
  expect(ctx.events.filter(({ event, dataset: of }) => event === 'drop-waits' && of === dataset)).not.toEqual([]);
  await dropped(dataset, 'drop-table');
  expect(await openRecords(ctx, dataset, { limit: 10 })).toEqual([]);
});

describe('a dataset that is gone for good', () => {
  test('is taken out of the lists of keys before its name is free, and a key of nothing else is revoked', async ({
    dataset,
  }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    const scopes = { ingest: [dataset, 'another'], query: [dataset], sql: '*' as const };
    const made = { name: 'of a test', rowFilter: null, expiresAt_ms: null };
    const mixed = await createKey(ctx, { ...made, scopes });
    const own = await createKey(ctx, { ...made, scopes: { ingest: [dataset], admin: [dataset] } });
    const all = await createKey(ctx, { ...made, scopes: { query: '*' } });
    const using = newInstance(prefix);
    for (const { text } of [mixed, own, all]) expect(await authenticate(using, text)).toBeDefined();
    await deleteDataset(ctx, dataset, 0, undefined);
    // As soon as the name is free, no instance uses the old list any more.
    let isFree = false;
    const watching = newInstance(prefix);
    const { transaction } = watching.postgres;
    watching.postgres.transaction = async (statements) => {
      const answers = await transaction(statements);
      isFree ||= statements.some(([text]) => text.includes('life = life + 1'));
      return answers;
    };
    const known = async () => (await authenticate(using, mixed.text))?.scopes;
    while (!isFree) {
      await runDueJobs(watching, jobHandlers, watching.now() + 500);
      if (isFree) expect(await known()).toEqual({ ingest: ['another'], sql: '*' });
    }
    expect(await authenticate(using, own.text)).toBeUndefined();
    expect(await findKeyRecord(ctx, own.key.id)).toMatchObject({ revokedAt_ms: expect.any(Number) });
    expect(await authenticate(using, all.text)).toMatchObject({ scopes: { query: '*' } });
    const lines = await ctx.postgres.rows<{ action: string; key: string }>(
      `select action, detail->>'key' as key from audit_log where dataset = $1 and action like 'key.%' order by n`,
      [dataset],
    );
    expect(lines).toEqual(
      expect.arrayContaining([
        { action: 'key.change', key: mixed.key.id },
        { action: 'key.revoke', key: own.key.id },
      ]),
    );
  });

  test('is notified to no webhook any more, and a webhook of nothing else is deleted', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    const hook = { url: 'https://hooks.example.com/', events: ['export.published' as const] };
    const mixed = await createWebhook(ctx, { ...hook, datasets: ['another', dataset] });
    const own = await createWebhook(ctx, { ...hook, datasets: [dataset] });
    const all = await createWebhook(ctx, { ...hook, datasets: null });
    await dropDataset(dataset);
    const left = await listWebhooks(ctx);
    expect(left.find(({ id }) => id === mixed.id)?.datasets).toEqual(['another']);
    expect(left.some(({ id }) => id === own.id)).toBe(false);
    expect(left.find(({ id }) => id === all.id)?.datasets).toBeNull();
  });
});

test('a drop that failed in an earlier life and is tried again drops nothing of this one', async ({ dataset }) => {
  const own: Instance = newInstance(prefix);
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await dropTable(dataset);
  const [job] = await ctx.postgres.rows<{ id: string }>(
    `select id from jobs where dataset = $1 and kind = 'drop-table'`,
    [dataset],
  );
  await send(ctx, dataset, [{ timestamp: at(2), v: 2 }]);
  await flush(ctx, dataset);
  // Hidden as a table is that a backup is being brought back into.
  await ctx.postgres.rows(
    `update tables set state = 'deleting', delete_at = null where dataset = $1 and dropped_at is null`,
    [dataset],
  );
  await ctx.postgres.rows(`update jobs set state = 'failed' where id = $1`, [job?.id]);
  await retryJob(own, job?.id ?? '');
  expect(await workUntilOver(own, { id: job?.id ?? '' })).toMatchObject({ state: 'done', result: { dropped: false } });
  await ctx.postgres.rows(`update tables set state = 'active' where dataset = $1 and dropped_at is null`, [dataset]);
  expect((await query(newInstance(prefix), dataset)).rows).toHaveLength(1);
});
