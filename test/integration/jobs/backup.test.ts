import { expect } from 'vitest';
import { changeTable, deleteTable, requireTable } from '../../../src/catalog/change-table.ts';
import { databaseName, qualifiedName } from '../../../src/core/identifiers.ts';
import type { JobHandler } from '../../../src/jobs/definition.ts';
import { createJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { backupKey, partitionKey } from '../../../src/operations/backup/backup.ts';
import { readBackup } from '../../../src/operations/backup/restore.ts';
import type { OperationDeps } from '../../../src/operations/deps.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import { everyNode } from '../../../src/stores/clickhouse/servers.ts';
import { test } from '../fixtures.ts';
import { at, flush, newDataset, newInstance, onStored, query, send, sql, tableOf, through } from '../support.ts';
import { withLargeDay, workUntilOver } from './support.ts';

const ctx = newInstance({ TIMESTORE_KEY_PREFIX: `backup-${process.pid}` });

/** Rows of every type in several partitions and lanes, some deleted, some in quarantine, some still in the buffer. */
async function withEverything(): Promise<string> {
  const dataset = newDataset();
  await send(ctx, dataset, [
    { timestamp: at(1), v: 0.1, s: 'a', big: 1, ok: true, j: { x: [1, 'é\n"'] }, l: ['p', `'q'`] },
  ]);
  await changeTable(ctx, dataset, 'm', { lanes: 3, retention: { totalDays: 36_500 } });
  for (let n = 2; n < 12; n += 1) {
    await send(ctx, dataset, [
      { timestamp: at(n, (n % 3) + 1), v: n / 3, s: null, big: n, ok: n % 2 === 0, j: null, l: [] },
      { timestamp: at(n, 4), v: -n },
    ]);
    if (n === 7) await flush(ctx, dataset);
  }
  const filters = { columns: [{ column: 'big', op: 'eq' as const, value: 3 }] };
  await workUntilOver(ctx, await scheduleRowChange(ctx, { dataset, table: 'm', request: { rows: { filters } } }));
  await send(ctx, dataset, [{ timestamp: at(30, 5), v: 30 }]);
  return dataset;
}

/** All there is to see of a dataset. */
async function seen(dataset: string) {
  const { rows, types } = await query(ctx, dataset, { orderBy: [{ column: 'timestamp' }, { column: 'v' }] });
  const { rows: sums } = await sql(
    ctx,
    'SELECT count() AS n, uniqExact(timestamp) AS t, groupBitXor(sipHash64(v, s, big, ok, j)) AS h FROM m',
    { dataset },
  );
  const { retention, schema, lanes, window } = await requireTable(ctx, dataset, 'm');
  return { rows, types, sums, retention, schema, lanes, window };
}

/** As if none of the stores had ever heard of it. */
async function wipe(dataset: string): Promise<void> {
  for (const { clickhouse } of everyNode(ctx)) {
    await clickhouse.command(`DROP DATABASE IF EXISTS ${databaseName(dataset)} SYNC`);
  }
  const physical = `${ctx.keys.state({ dataset, physical: '*' }, 0).split('{')[0]}{${dataset}.*`;
  const keys = (await ctx.redis.keys(physical)) as string[];
  if (keys.length > 0) await ctx.redis.del(...keys);
  for (const statement of [
    'delete from manifest_partitions using manifests where manifest_id = id and dataset = $1',
    ...[
      'manifests',
      'deletions',
      'audits',
      'reconciliations',
      'lanes',
      'saved_queries',
      'schema_versions',
      'tables',
    ].map((table) => `delete from ${table} where dataset = $1`),
    'delete from datasets where name = $1',
  ]) {
    await ctx.postgres.rows(statement, [dataset]);
  }
  ctx.memory.clear();
}

const backUp = async (dataset: string) => {
  const job = await createJob(ctx, { kind: 'backup', dataset: null, table: null, request: { datasets: [dataset] } });
  return await workUntilOver(ctx, job);
};
const restore = async (backup: string, own = ctx) => {
  const job = await createJob(own, { kind: 'restore', dataset: null, table: null, request: { backup } });
  return await workUntilOver(own, job);
};

test('what was wiped comes back from a backup, value by value, and life goes on', async () => {
  const dataset = await withEverything();
  const before = await seen(dataset);
  const made = await backUp(dataset);
  expect(made).toMatchObject({ state: 'done', result: { tables: 1, rows: before.rows.length } });
  await wipe(dataset);
  await expect(query(ctx, dataset)).rejects.toMatchObject({ code: 'not-found' });

  expect(await restore(made.id)).toMatchObject({ state: 'done', result: { tables: 1, rows: before.rows.length } });
  expect(await seen(dataset)).toEqual(before);
  expect((await auditTable(ctx, await tableOf(ctx, dataset))).ok).toBe(true);
  await send(ctx, dataset, [{ timestamp: at(40, 6), v: 40 }]);
  await flush(ctx, dataset);
  expect((await query(ctx, dataset)).rows).toHaveLength(before.rows.length + 1);
  expect((await auditTable(ctx, await tableOf(ctx, dataset))).ok).toBe(true);
});

test('a table that was dropped comes back beside its own past, under the same name', async () => {
  const dataset = await withEverything();
  const before = await seen(dataset);
  const { id } = await backUp(dataset);
  await deleteTable(ctx, dataset, 'm', 0);
  await expect
    .poll(async () => {
      await runDueJobs(ctx, jobHandlers, ctx.now() + 5_000);
      return (await ctx.postgres.rows('select 1 from tables where dataset = $1 and dropped_at is null', [dataset]))
        .length;
    })
    .toBe(0);
  expect(await restore(id)).toMatchObject({ state: 'done' });
  expect(await seen(dataset)).toEqual(before);
  expect((await tableOf(ctx, dataset)).physical).toBe('m.2');
  expect((await auditTable(ctx, await tableOf(ctx, dataset))).ok).toBe(true);
});

test('rows that are past their retention by the time of a restore do not fail it, and go afterwards', async () => {
  const day_ms = 86_400_000;
  /** A backup with a row that is past its time soon after; one that was slower than that is made again. */
  const backUpInTime = async (within_ms: number): Promise<{ dataset: string; id: string }> => {
    const dataset = newDataset();
    const expires_ms = Date.now() + within_ms;
    await send(ctx, dataset, [
      { timestamp: new Date(expires_ms - 2 * day_ms).toISOString(), v: 1 },
      { timestamp: new Date(Date.now() - 60_000).toISOString(), v: 2 },
    ]);
    await changeTable(ctx, dataset, 'm', { retention: { totalDays: 2 } });
    const { id, result } = await backUp(dataset);
    if (Date.now() > expires_ms) return await backUpInTime(3 * within_ms);
    expect(result).toMatchObject({ rows: 2 });
    await wipe(dataset);
    await expect.poll(() => Date.now() > expires_ms + 500).toBe(true);
    return { dataset, id };
  };
  const { dataset, id } = await backUpInTime(3_000);
  // ClickHouse looks for what is past its time when it likes to: here, as soon as something was inserted.
  const eager = through(ctx, {
    clickhouse: (client) => ({
      ...client,
      async send(request) {
        const text = await client.send(request);
        const [, table] = /^INSERT INTO (`ts_\S+)/.exec(String(request.body)) ?? [];
        if (table !== undefined) await client.command(`OPTIMIZE TABLE ${table} FINAL`);
        return text;
      },
    }),
  });
  expect(await restore(id, eager)).toMatchObject({ state: 'done', result: { rows: 2 } });
  expect((await requireTable(ctx, dataset, 'm')).retention).toEqual({ totalDays: 2 });
  await expect
    .poll(async () => {
      const table = await tableOf(ctx, dataset);
      await onStored(ctx, table, `OPTIMIZE TABLE ${qualifiedName(table)} FINAL`);
      return (await query(ctx, dataset)).rows.map(({ v }) => v);
    })
    .toEqual([2]);
  expect((await auditTable(ctx, await tableOf(ctx, dataset))).ok).toBe(true);
});

test('a table with more manifests than one object holds has them all again', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await flush(ctx, dataset);
  await auditTable(ctx, await tableOf(ctx, dataset));
  // Of flushes long ago whose rows are gone.
  await ctx.postgres.rows(
    `insert into manifests select (jsonb_populate_record(m, jsonb_build_object('id', m.id || n, 'rows', 0, 'trigger', n))).*
       from manifests m, generate_series(1, 1_200) n where dataset = $1`,
    [dataset],
  );
  const sum = () =>
    ctx.postgres.rows(
      'select count(*)::int as n, count(distinct trigger)::int as each from manifests where dataset = $1',
      [dataset],
    );
  const before = await sum();
  expect(before).toEqual([{ n: 1_201, each: 1_201 }]);
  const { id } = await backUp(dataset);
  await wipe(dataset);
  expect(await restore(id)).toMatchObject({ state: 'done' });
  expect(await sum()).toEqual(before);
  expect((await auditTable(ctx, await tableOf(ctx, dataset))).ok).toBe(true);
});

test('a large partition comes back', async () => {
  const { dataset, rows } = await withLargeDay(ctx);
  const sum = async () =>
    (await sql(ctx, 'SELECT count() AS n, groupBitXor(sipHash64(s)) AS h FROM m', { dataset })).rows;
  const before = await sum();
  const made = await backUp(dataset);
  expect(made).toMatchObject({ state: 'done', result: { rows } });
  const [file] = await ctx.objects.list(partitionKey(made.id, dataset, 'm', '20260501'));
  expect(file?.bytes).toBeGreaterThan(50_400_000);
  await wipe(dataset);
  expect(await restore(made.id)).toMatchObject({ state: 'done', result: { rows } });
  expect(await sum()).toEqual(before);
});

test('a backup and a restore that die after any of their steps end whole', async ({ dataset }) => {
  for (const day of [1, 2]) await send(ctx, dataset, [{ timestamp: at(1, day), v: day }]);
  const before = (await query(ctx, dataset)).rows;
  /** Ends the function once, after the step of that number and before it is on record. */
  const dying = (step: JobHandler<OperationDeps>, after: number): JobHandler<OperationDeps> => {
    let steps = 0;
    return async (own, job, until) => {
      const outcome = await step(own, job, until);
      steps += 1;
      if (steps === after) throw new Error('the function was ended');
      return outcome;
    };
  };
  const dyingSteps = {
    backup: (after: number) => dying(jobHandlers.backup, after),
    restore: (after: number) => dying(jobHandlers.restore, after),
  };
  const run = async (kind: 'backup' | 'restore', request: Record<string, unknown>, after: number) => {
    const job = await createJob(ctx, { kind, dataset: null, table: null, request });
    await runDueJobs(ctx, { ...jobHandlers, [kind]: dyingSteps[kind](after) }, ctx.now() + 60_000);
    await ctx.postgres.rows(`update jobs set due_at = now() where id = $1 and state = 'running'`, [job.id]);
    return await workUntilOver(ctx, job);
  };
  for (let after = 1; after <= 5; after += 1) {
    const made = await run('backup', { datasets: [dataset] }, after);
    expect(made, `died after step ${after}`).toMatchObject({ state: 'done', result: { rows: 2 } });
    await wipe(dataset);
    expect(await run('restore', { backup: made.id }, after), `died after step ${after}`).toMatchObject({
      state: 'done',
    });
    expect((await query(ctx, dataset)).rows).toEqual(before);
    expect((await auditTable(ctx, await tableOf(ctx, dataset))).ok).toBe(true);
  }
});

test('a restore replaces nothing, and says what is in its way', async () => {
  const dataset = await withEverything();
  const { id } = await backUp(dataset);
  await send(ctx, dataset, [{ timestamp: at(50, 7), v: 50 }]);
  const before = await seen(dataset);
  expect(await restore(id)).toMatchObject({ state: 'failed', error: expect.stringContaining(`${dataset}.m`) });
  expect(await seen(dataset)).toEqual(before);
});

test('a file that was changed since fails the restore, and its table stays hidden', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const { id } = await backUp(dataset);
  const other = newDataset();
  await send(ctx, other, [{ timestamp: at(1), v: 2 }]);
  const { id: second } = await backUp(other);
  // The same rows but one value: only a hash of everything tells.
  const { S3_ENDPOINT, S3_BUCKET, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY } = ctx.config;
  const at_ = (key: string) =>
    `s3('${S3_ENDPOINT}/${S3_BUCKET}/${key}', '${S3_ACCESS_KEY_ID}', '${S3_SECRET_ACCESS_KEY}', 'Parquet')`;
  const file = at_(partitionKey(id, dataset, 'm', '20260501'));
  await ctx.clickhouse.command(
    `INSERT INTO FUNCTION ${file}
     SELECT * REPLACE (assumeNotNull((SELECT any(_received_at) FROM ${file})) AS _received_at)
       FROM ${at_(partitionKey(second, other, 'm', '20260501'))} SETTINGS s3_truncate_on_insert = 1`,
  );
  await wipe(dataset);
  expect(await restore(id)).toMatchObject({ state: 'failed', error: expect.stringContaining('20260501') });
  await expect(query(ctx, dataset)).rejects.toMatchObject({ code: 'not-found' });
  await expect(send(ctx, dataset, [{ timestamp: at(1), v: 1 }])).rejects.toMatchObject({ code: 'dataset-frozen' });
  // What is there of it can be dropped, and then the name is free.
  await deleteTable(ctx, dataset, 'm', 0);
  await expect
    .poll(async () => {
      await runDueJobs(ctx, jobHandlers, ctx.now() + 5_000);
      return await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]).then(
        () => 'free',
        () => 'taken',
      );
    })
    .toBe('free');
});

test('rows that come while a backup is made are in it or not, each request as a whole lane by lane, and none twice', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 0 }]);
  let isOver = false;
  const writing = (async () => {
    for (let n = 1; !isOver && n < 500; n += 1) {
      await send(
        ctx,
        dataset,
        [1, 2, 3].map((day) => ({ timestamp: at(2, day), v: n })),
      );
    }
  })();
  const made = await backUp(dataset);
  isOver = true;
  await writing;
  await wipe(dataset);
  await restore(made.id);
  const { rows } = await sql(ctx, 'SELECT v, count() AS n FROM m WHERE v > 0 GROUP BY v HAVING n != 3 ORDER BY v', {
    dataset,
  });
  expect(rows).toEqual([]);
  expect((await auditTable(ctx, await tableOf(ctx, dataset))).ok).toBe(true);
});

test('the bucket’s secret is in no log, neither of ClickHouse nor of this', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const { id } = await backUp(dataset);
  const { S3_SECRET_ACCESS_KEY: secret } = ctx.config;
  let [all, told] = [0, 0];
  for (const { clickhouse } of everyNode(ctx)) {
    await clickhouse.command('SYSTEM FLUSH LOGS');
    const [found] = await clickhouse.rows<{ all: string; told: string }>(
      `SELECT count() AS all, countIf(position(concat(query, exception, toString(Settings)), base64Decode({secret:String})) > 0) AS told
         FROM system.query_log WHERE position(query, {id:String}) > 0`,
      { id: `backups/${id}`, secret: Buffer.from(secret).toString('base64') },
    );
    all += Number(found?.all);
    told += Number(found?.told);
  }
  expect(all).toBeGreaterThan(0);
  expect(told).toBe(0);
  expect(JSON.stringify(ctx.events)).not.toContain(secret);
});

test('a backup is whole when what names it is there', async () => {
  await expect(readBackup(ctx, 'never')).rejects.toMatchObject({ code: 'not-found' });
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const { id } = await backUp(dataset);
  expect((await readBackup(ctx, id)).tables).toEqual([{ dataset, name: 'm', rows: 1 }]);
  await ctx.objects.remove(backupKey(id));
  await expect(readBackup(ctx, id)).rejects.toMatchObject({ code: 'not-found' });
});
