import { beforeEach, describe, expect } from 'vitest';
import { changeTable, deleteTable } from '../../../src/catalog/change-table.ts';
import { changeDataset, createDataset } from '../../../src/catalog/datasets.ts';
import { findTable } from '../../../src/catalog/find-table.ts';
import { mirrorDue } from '../../../src/catalog/mirror-jobs.ts';
import type { Context } from '../../../src/create-context.ts';
import { flushTable } from '../../../src/flush/flush-table.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { type Job, listJobs, readJob, retryJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import { readMirrorState } from '../../../src/operations/takeover/mirror-state.ts';
import { catalogueGauges } from '../../../src/telemetry/gauges.ts';
import { rememberBuffer } from '../../faults/failover.ts';
import { test } from '../fixtures.ts';
import { workUntilOver } from '../jobs/support.ts';
import { at, flush, type Instance, newDataset, newInstance, newTable, send } from '../support.ts';
import { knowing, useOrigin } from './origin.ts';

const origin = useOrigin();
let ctx: Instance;
let deployments = 0;
// A deployment for each test: mirrors of others would take their turns.
beforeEach(() => {
  deployments += 1;
  ctx = instance();
  origin.fateOf = () => undefined;
});

/** One whose clock is so far ahead that it waits for nothing. */
function instance(ahead_ms = 0, more: Record<string, string> = {}): Instance {
  const own = newInstance({
    TIMESTORE_KEY_PREFIX: `mirror-${process.pid}-${deployments}`,
    ...knowing(origin),
    ...more,
  });
  return { ...own, now: () => Date.now() + ahead_ms };
}

const mirrorOf = (dataset: string, mirror = true) =>
  changeDataset(ctx, dataset, { migration: { reads: 'on', mirror } }, undefined);

async function mirrorJob(dataset: string, table = 'm'): Promise<Job> {
  const jobs = (await listJobs(ctx, { dataset, kind: 'mirror' }, 100)).filter((job) => job.table === table);
  return jobs[0] ?? expect.fail(`there is no mirror of ${dataset}.${table}`);
}

/** One look of the clock at the jobs of a dataset's mirror. */
async function work(own: Context, dataset: string): Promise<void> {
  await ctx.postgres.rows(
    `update jobs set due_at = now(), claimed_until = null where kind = 'mirror' and dataset = $1 and state in ('queued', 'running')`,
    [dataset],
  );
  await runDueJobs(own, jobHandlers, own.now() + 1_000);
}

let hours = 0;

/** Lets the mirror go on until the original has everything. */
async function untilEqual(dataset: string, tables = ['m'], more: Record<string, string> = {}): Promise<void> {
  await mirrorDue(ctx);
  for (const name of tables) {
    const table = await findTable(ctx, dataset, name);
    if (table !== undefined) await flushTable(ctx, table, 'admin', ctx.now() + 60_000);
  }
  await expect
    .poll(async () => {
      hours += 1;
      const own = instance(hours * 3_600_000, more);
      await work(own, dataset);
      return (await readMirrorState(ctx, dataset))?.behindRows;
    })
    .toBe(0);
}

const numbers = (dataset: string, table = 'm') => origin.rowsOf(dataset, table).map(({ v }) => Number(v));
const sorted = (list: number[]) => [...list].sort((a, b) => a - b);
const upTo = (n: number, from = 0) => Array.from({ length: n - from }, (_, i) => from + i);

async function sendTo(dataset: string, table: string, v: number, key?: Record<string, string>): Promise<void> {
  const meta = key === undefined ? '' : JSON.stringify({ key });
  const text = JSON.stringify({ timestamp: at(v % 60), v });
  await ingestRows(ctx, { dataset, table, text, format: 'json', idempotencyKey: undefined, meta });
}

describe('a mirror', () => {
  test.each([1, 3])(
    'sends every row that is accepted from then on once, of %d lanes, in their order',
    async (lanes) => {
      const { dataset } = await newTable(ctx, lanes);
      for (let v = 0; v < 4; v += 1) await sendTo(dataset, 'm', v);
      await flush(ctx, dataset);
      await mirrorOf(dataset);
      for (let v = 10; v < 40; v += 1) {
        await sendTo(dataset, 'm', v, v % 3 === 0 ? undefined : { b: `${v % 3}`, a: 'x' });
        // Another table, that is there when the clock looks.
        if (v % 2 === 0) await sendTo(dataset, 'n', v);
        if (v === 20) await untilEqual(dataset, ['m', 'n']);
      }
      await untilEqual(dataset, ['m', 'n']);
      // Rows that were published before are history.
      expect(sorted(numbers(dataset))).toEqual(upTo(40, 10));
      expect(numbers(dataset, 'n')).toEqual(upTo(40, 10).filter((v) => v % 2 === 0));
      for (const { v, key } of origin.rowsOf(dataset)) {
        expect(key).toEqual(Number(v) % 3 === 0 ? undefined : { a: 'x', b: `${Number(v) % 3}` });
      }
      const inLane = new Map<string, number>();
      for (const { idempotencyKey } of origin.batches.filter(({ datasetName }) => datasetName === dataset)) {
        const [, table, , lane, range = ''] = idempotencyKey.split(':');
        const [from = 0, to = 0] = (range.split('@')[0] ?? '').split('-').map(Number);
        expect(to).toBeGreaterThanOrEqual(inLane.get(`${table} ${lane}`) ?? 0);
        if (from > (inLane.get(`${table} ${lane}`) ?? 0)) inLane.set(`${table} ${lane}`, to);
      }
      expect([...inLane.keys()].filter((lane) => lane.includes('.m ')).length).toBe(lanes);
      expect(await readMirrorState(ctx, dataset)).toEqual({
        behindRows: 0,
        oldestAge_ms: null,
        stoppedLanes: 0,
        error: null,
      });
      const { table, n } = { table: await mirrorJob(dataset), n: await mirrorJob(dataset, 'n') };
      expect([table.state, n.state]).toEqual(['running', 'running']);
      await mirrorOf(dataset, false);
      await workUntilOver(ctx, table);
      await workUntilOver(ctx, n);
      await sendTo(dataset, 'm', 99);
      await mirrorDue(ctx);
      expect(await readMirrorState(ctx, dataset)).toBeUndefined();
      expect(numbers(dataset)).not.toContain(99);
    },
  );

  test('sends values exactly as they were accepted, with their types', async ({ dataset }) => {
    await createDataset(ctx, { name: dataset });
    await mirrorOf(dataset);
    const row =
      `{"timestamp":"${at(1)}","i":9007199254740993,"d":0.1,"s":"a\\"\\\\\\n/é","j":{"b":[1,{"a":12345678901234567890}]},` +
      '"l":["p","\'q"],"w":[0.1,-2],"t":"2026-05-01T10:00:00.123Z","ok":true}';
    const fields = [
      { name: 'i', type: 'integer' as const },
      { name: 'd', type: 'double' as const },
      { name: 's', type: 'string' as const },
      { name: 'j', type: 'json' as const },
      { name: 'l', type: 'string[]' as const },
      { name: 'w', type: 'vector(2)' as const },
      { name: 't', type: 'timestamp' as const },
      { name: 'ok', type: 'boolean' as const },
    ];
    const declared = { fields, defaults: [{ name: 's', json: '"none"' }] };
    const request = { dataset, table: 'm', format: 'ndjson' as const, idempotencyKey: undefined, declared };
    await ingestRows(ctx, { ...request, text: `${row}\n{"timestamp":"${at(2)}","s":null}\n{"timestamp":"${at(3)}"}` });
    await untilEqual(dataset);
    const [asked] = origin.asked.filter(({ path }) => path === `/datasets/${dataset}/ingest`);
    const { rows, ...rest } = JSON.parse(asked?.text ?? '');
    expect(rest).toMatchObject({
      datasetName: dataset,
      tableName: 'm',
      schema: { fields: [{ name: 'timestamp', type: 'timestamp' }, ...fields] },
      partition: { timeRange: { start: at(1), end: at(3) } },
    });
    expect(rows.slice(1)).toEqual([
      { timestamp: at(2), s: null, l: [] },
      { timestamp: at(3), s: 'none', l: [] },
    ]);
    for (const text of ['"i":9007199254740993', '"j":{"b":[1,{"a":12345678901234567890}]}', '"w":[0.1,-2]']) {
      expect(asked?.text).toContain(text);
    }
    // What the original takes is what was sent here.
    const again = newDataset();
    await ingestRows(ctx, {
      ...request,
      dataset: again,
      text: asked?.text.replace(/^.*"rows":/s, '').slice(0, -1) ?? '',
      format: 'json',
    });
    const here = async (name: string) => {
      await flush(ctx, name);
      return await ctx.clickhouse.rows(`SELECT * EXCEPT (_received_at) FROM \`ts_${name}\`.m ORDER BY timestamp`);
    };
    expect(await here(again)).toEqual(await here(dataset));
  });

  test('cuts by size: so many rows in a request, a batch as a whole, and one that is too large in parts', async () => {
    const small = { TIMESTORE_MIRROR_ROWS_MAX: '10' };
    const dataset = newDataset();
    await createDataset(ctx, { name: dataset });
    await mirrorOf(dataset);
    let v = 0;
    for (const rows of [4, 4, 4, 25, 1]) {
      await send(
        ctx,
        dataset,
        Array.from({ length: rows }, () => ({ timestamp: at(1), v: v++ })),
      );
    }
    await untilEqual(dataset, ['m'], small);
    expect(numbers(dataset)).toEqual(upTo(38));
    const sizes = origin.batches.filter(({ datasetName }) => datasetName === dataset).map(({ rows }) => rows.length);
    expect(sizes).toEqual([8, 4, 10, 10, 5, 1]);
    const wide = newDataset();
    await createDataset(ctx, { name: wide });
    await mirrorOf(wide);
    for (let n = 0; n < 6; n += 1) await send(ctx, wide, [{ timestamp: at(n), v: n, s: 'x'.repeat(400) }]);
    await untilEqual(wide, ['m'], { TIMESTORE_MIRROR_BYTES_MAX: '1000' });
    expect(origin.batches.filter(({ datasetName }) => datasetName === wide).map(({ rows }) => rows.length)).toEqual([
      2, 2, 2,
    ]);
  });

  test('that fails at any call to a store has sent everything once in the end', async () => {
    let survived = false;
    // `npm test` tries every third call, `npm run test:soak -- points` each.
    const stride = process.env.FAULT_POINTS === 'all' ? 1 : 3;
    for (let n = 1; !survived; n += stride) {
      const dataset = newDataset();
      await createDataset(ctx, { name: dataset });
      await mirrorOf(dataset);
      for (let v = 0; v < 3; v += 1) await sendTo(dataset, 'm', v, { k: `${v}` });
      await flush(ctx, dataset);
      await mirrorDue(ctx);
      const failing = instance();
      let calls = 0;
      const fails =
        <Args extends unknown[], Answer>(call: (...args: Args) => Promise<Answer>) =>
        async (...args: Args): Promise<Answer> => {
          calls += 1;
          if (calls !== n) return await call(...args);
          // Before its effect or after it.
          if (n % 2 === 0) await call(...args);
          throw new Error('the connection broke');
        };
      const { clickhouse, postgres, redis } = failing;
      failing.clickhouse = { ...clickhouse, send: fails(clickhouse.send.bind(clickhouse)) };
      failing.postgres = {
        rows: fails(postgres.rows) as typeof postgres.rows,
        transaction: fails(postgres.transaction),
      };
      const evalsha = fails(redis.evalsha.bind(redis) as never);
      failing.redis = new Proxy(redis, {
        get: (target, name) => (name === 'evalsha' ? evalsha : Reflect.get(target, name, target)),
      });
      await work(failing, dataset).catch(() => undefined);
      survived = calls < n;
      await untilEqual(dataset);
      expect(numbers(dataset), `call ${n}`).toEqual([0, 1, 2]);
    }
  });

  test('continues where the source broke off, before or after it took a batch, and waits while it is unavailable', async ({
    dataset,
  }) => {
    await createDataset(ctx, { name: dataset });
    await mirrorOf(dataset);
    const fates = ['before', 'after', { status: 503 }, { status: 429, headers: { 'retry-after': '7' } }] as const;
    const asked = new Map<string, number>();
    origin.fateOf = ({ idempotencyKey }) => {
      const times = asked.get(idempotencyKey) ?? 0;
      asked.set(idempotencyKey, times + 1);
      return fates[times];
    };
    for (let v = 0; v < 6; v += 1) {
      await sendTo(dataset, 'm', v, { k: `${v % 2}` });
      if (v === 2) await untilEqual(dataset);
    }
    await untilEqual(dataset);
    expect(sorted(numbers(dataset))).toEqual(upTo(6));
    expect(asked.size).toBe(4);
  });

  test('waits as long as Retry-After says, and longer each time; a job is never given up', async ({ dataset }) => {
    await createDataset(ctx, { name: dataset });
    await mirrorOf(dataset);
    await sendTo(dataset, 'm', 1);
    await flush(ctx, dataset);
    await mirrorDue(ctx);
    let ahead = 0;
    const waits: number[] = [];
    origin.fateOf = () => ({ status: 503, headers: waits.length === 1 ? { 'retry-after': '90' } : {} });
    for (let n = 0; n < 5; n += 1) {
      const own = instance(ahead);
      const before = own.now();
      await work(own, dataset);
      const lane = (
        (await mirrorJob(dataset)).progress.lanes as Record<string, { notBefore_ms: number; waits: number }>
      )['0'];
      if (lane?.waits !== waits.length + 1) continue;
      waits.push(Math.round((lane.notBefore_ms - before) / 1000));
      ahead = lane.notBefore_ms - Date.now() + 1_000;
    }
    expect(waits[1]).toBeGreaterThanOrEqual(90);
    expect(waits.filter((_, n) => n !== 1)).toEqual([...waits.filter((_, n) => n !== 1)].sort((a, b) => a - b));
    expect(new Set(waits).size).toBeGreaterThan(2);
    expect(await readMirrorState(ctx, dataset)).toMatchObject({ behindRows: 1, error: expect.stringContaining('503') });
    expect((await readMirrorState(ctx, dataset))?.oldestAge_ms).toBeGreaterThan(0);
    await ctx.postgres.rows(`update jobs set attempts = 100 where id = $1`, [(await mirrorJob(dataset)).id]);
    const away = { ...instance(), postgres: ctx.postgres };
    away.clickhouse = { ...ctx.clickhouse, send: () => Promise.reject(new Error('away')) };
    await work(away, dataset);
    expect((await mirrorJob(dataset)).state).toBe('running');
    origin.fateOf = () => undefined;
    await untilEqual(dataset);
    expect(numbers(dataset)).toEqual([1]);
  });

  test('stops a lane whose rows are rejected, reports it, and continues after a retry by an administrator', async () => {
    const { dataset } = await newTable(ctx, 3);
    await mirrorOf(dataset);
    for (let v = 0; v < 24; v += 1) await sendTo(dataset, 'm', v);
    await flush(ctx, dataset);
    const isRefused = ({ rows }: { rows: Record<string, unknown>[] }) => rows.some(({ v }) => v === 5);
    origin.fateOf = (batch) =>
      isRefused(batch) ? { status: 400, body: { type: 'urn:x:invalid', detail: 'not this one' } } : undefined;
    const own = instance();
    for (let n = 0; n < 4; n += 1) await work(own, dataset);
    const job = await mirrorJob(dataset);
    expect([job.state, job.error]).toEqual(['running', expect.stringMatching(/Lane \d .*400: not this one/)]);
    const alarms = own.events.filter(({ event }) => event === 'mirror-stopped');
    expect(alarms).toEqual([expect.objectContaining({ alarm: true, dataset, status: 400, code: 'urn:x:invalid' })]);
    const lane = alarms[0]?.lane;
    expect(await readMirrorState(ctx, dataset)).toMatchObject({ stoppedLanes: 1, error: job.error });
    expect(await catalogueGauges(ctx)).toContainEqual({
      name: 'timestore_mirror_stopped_lanes',
      labels: { dataset, table: 'm' },
      value: 1,
    });
    // The other lanes do not wait for it.
    const lanes = (
      await ctx.clickhouse.rows<{ lane: number; v: number }>(`SELECT _lane AS lane, v FROM \`ts_${dataset}\`.m`)
    ).map((row) => ({ lane: Number(row.lane), v: Number(row.v) }));
    expect(sorted(numbers(dataset))).toEqual(sorted(lanes.filter((row) => row.lane !== lane).map(({ v }) => v)));
    origin.fateOf = () => undefined;
    await work(instance(3_600_000), dataset);
    expect(numbers(dataset)).not.toContain(5);
    await retryJob(ctx, job.id);
    await untilEqual(dataset);
    expect(sorted(numbers(dataset))).toEqual(upTo(24));
    await expect(retryJob(ctx, job.id)).rejects.toMatchObject({ code: 'conflict' });
  });

  test('stops a lane before the original may have forgotten what it took of it, and sends it after a retry by an administrator', async ({
    dataset,
  }) => {
    await createDataset(ctx, { name: dataset });
    await mirrorOf(dataset);
    await sendTo(dataset, 'm', 1);
    await flush(ctx, dataset);
    await mirrorDue(ctx);
    let taken = 0;
    origin.fateOf = () => {
      taken += 1;
      return taken === 1 ? 'after' : { status: 503 };
    };
    let ahead = 0;
    const workOnce = async () => {
      ahead += 3_600_000;
      const own = instance(ahead);
      await work(own, dataset);
      return own.events.filter(({ event }) => event === 'mirror-stopped');
    };
    // What was planned and sent is so many hours older.
    const age = async (hours: number) => {
      const moved = `(progress#>>'{lanes,0,range,since_ms}')::float8 - $2::float8 * 3600000`;
      await ctx.postgres.rows(
        `update jobs set progress = jsonb_set(progress, '{lanes,0,range,since_ms}', to_jsonb(${moved})) where id = $1`,
        [(await mirrorJob(dataset)).id, hours],
      );
    };
    await expect.poll(async () => ((await workOnce()).length === 0 ? taken : Number.NaN)).toBeGreaterThan(1);
    await age(22);
    const before = taken;
    expect(await workOnce()).toEqual([]);
    expect(taken).toBe(before + 1);
    await age(2);
    expect(await workOnce()).toEqual([expect.objectContaining({ alarm: true, dataset, lane: 0, from: 1, hours: 24 })]);
    expect(taken).toBe(before + 1);
    expect(await readMirrorState(ctx, dataset)).toMatchObject({
      stoppedLanes: 1,
      error: expect.stringMatching(/forgotten the idempotency keys/),
    });
    expect(await workOnce()).toEqual([]);
    origin.fateOf = () => undefined;
    await retryJob(ctx, (await mirrorJob(dataset)).id);
    await untilEqual(dataset);
    expect(numbers(dataset)).toEqual([1]);
  });

  test('leaves out what an import brought, and rows that were deleted after they were sent', async ({ dataset }) => {
    await createDataset(ctx, { name: dataset });
    await mirrorOf(dataset);
    for (let v = 0; v < 5; v += 1) await sendTo(dataset, 'm', v);
    const imported = (from: number, to: number) =>
      ctx.postgres.rows(
        `insert into manifests (id, dataset, "table", physical_table, lane, incarnation, token, epoch, seq_from, seq_to, rows,
                                bytes, schema_version, checksum, trigger, flushed_at)
         values ($1, $2, 'm', 'm', 0, '', $1, 0, $3, $4, 1, 0, 1, '', 'import', now())`,
        [`${dataset}-${from}`, dataset, from, to],
      );
    await imported(1, 1);
    await imported(3, 4);
    await flush(ctx, dataset);
    expect((await readMirrorState(ctx, dataset))?.behindRows).toBe(2);
    // The original takes the first range, and nobody hears of it.
    origin.fateOf = () => 'after';
    await mirrorDue(ctx);
    await work(instance(), dataset);
    await work(instance(), dataset);
    expect(numbers(dataset)).toEqual([1]);
    const rows = { filters: { columns: [{ column: 'v', op: 'eq' as const, value: 1 }] } };
    await workUntilOver(ctx, await scheduleRowChange(ctx, { dataset, table: 'm', request: { rows } }));
    await sendTo(dataset, 'm', 6);
    origin.fateOf = () => undefined;
    await untilEqual(dataset);
    expect(numbers(dataset)).toEqual([1, 4, 6]);
  });

  test('takes rows that were corrected after they were taken for taken, and no other that come under a key again', async ({
    dataset,
  }) => {
    await createDataset(ctx, { name: dataset });
    await mirrorOf(dataset);
    for (const v of [1, 2]) await send(ctx, dataset, [{ timestamp: at(v), v, w: 'x' }]);
    await flush(ctx, dataset);
    await mirrorDue(ctx);
    origin.fateOf = () => 'after';
    for (let n = 0; n < 3; n += 1) await work(instance(), dataset);
    const request = { rows: { timeRange: { start: at(0) } }, set: { w: 'y' } };
    await workUntilOver(ctx, await scheduleRowChange(ctx, { dataset, table: 'm', request }));
    origin.fateOf = () => undefined;
    await untilEqual(dataset);
    expect(origin.rowsOf(dataset)).toMatchObject([
      { v: 1, w: 'x' },
      { v: 2, w: 'x' },
    ]);
    // A key that somebody else has used.
    await sendTo(dataset, 'm', 3);
    origin.fateOf = () => ({ status: 422, body: { type: 'urn:original:key-reused' } });
    await flush(ctx, dataset);
    for (let n = 0; n < 3; n += 1) await work(instance(), dataset);
    expect(await readMirrorState(ctx, dataset)).toMatchObject({ stoppedLanes: 1, behindRows: 1 });
  });

  describe('sends each row that a failover of the hot buffer leaves, once:', () => {
    const begun = async () => {
      const { dataset } = await newTable(ctx, 1);
      await sendTo(dataset, 'm', 0);
      await flush(ctx, dataset);
      await mirrorOf(dataset);
      await mirrorDue(ctx);
      for (const v of [1, 2]) await sendTo(dataset, 'm', v);
      await untilEqual(dataset);
      return dataset;
    };
    const sendAll = async (dataset: string, values: number[]) => {
      for (const v of values) await sendTo(dataset, 'm', v);
      await flush(ctx, dataset);
    };

    test('those that come under sequences that were sent', async () => {
      const dataset = await begun();
      for (const round of [10, 20]) {
        const failOver = await rememberBuffer(ctx);
        await sendAll(dataset, [round + 1, round + 2, round + 3]);
        await untilEqual(dataset);
        await failOver();
        await sendTo(dataset, 'm', round + 4);
        expect(await readMirrorState(ctx, dataset)).toMatchObject({ behindRows: 1 });
        await flush(ctx, dataset);
        expect(await readMirrorState(ctx, dataset)).toMatchObject({ behindRows: 1, oldestAge_ms: expect.any(Number) });
        await untilEqual(dataset);
        for (const v of [5, 6, 7, 8]) await sendTo(dataset, 'm', round + v);
        await untilEqual(dataset);
      }
      const all = [10, 20].flatMap((round) => upTo(9, 1).map((v) => round + v));
      expect(sorted(numbers(dataset))).toEqual(sorted([1, 2, ...all]));
    });

    test('beside a request that is on its way', async () => {
      const dataset = await begun();
      const failOver = await rememberBuffer(ctx);
      origin.fateOf = () => 'after';
      await sendAll(dataset, [11, 12]);
      // What is sent is on record, and was taken; its answer was lost.
      for (let looks = 0; looks < 3; looks += 1) await work(ctx, dataset);
      await failOver();
      await sendAll(dataset, [13, 14, 15]);
      origin.fateOf = () => undefined;
      await untilEqual(dataset);
      expect(sorted(numbers(dataset))).toEqual([1, 2, 11, 12, 13, 14, 15]);
    });

    test('those that show again', async () => {
      const dataset = await begun();
      const failOver = await rememberBuffer(ctx);
      await sendAll(dataset, [11, 12, 13]);
      await failOver();
      await sendAll(dataset, [14]);
      await work(ctx, dataset);
      const table = (await findTable(ctx, dataset, 'm')) ?? expect.fail('the table is there');
      expect(await auditTable(ctx, table)).toMatchObject({ ok: true });
      await untilEqual(dataset);
      expect(sorted(numbers(dataset))).toEqual([1, 2, 11, 12, 13, 14]);
    });
  });

  test('that is switched off and on again starts again, and continues while only the reads are changed', async ({
    dataset,
  }) => {
    await createDataset(ctx, { name: dataset });
    await mirrorOf(dataset);
    await sendTo(dataset, 'm', 1);
    await untilEqual(dataset);
    await mirrorOf(dataset, false);
    await sendTo(dataset, 'm', 2);
    await flush(ctx, dataset);
    await mirrorOf(dataset);
    await sendTo(dataset, 'm', 3);
    const job = await mirrorJob(dataset);
    await changeDataset(ctx, dataset, { migration: { reads: 'compare', mirror: true } }, undefined);
    await mirrorDue(ctx);
    expect((await mirrorJob(dataset)).id).toBe(job.id);
    await untilEqual(dataset);
    expect(numbers(dataset)).toEqual([1, 3]);
    const lines = await ctx.postgres.rows(
      `select detail->'migration'->>'reads' as reads from audit_log where dataset = $1 and action = 'dataset.change' order by n desc limit 1`,
      [dataset],
    );
    expect(lines).toEqual([{ reads: 'compare' }]);
  });

  test('is of the lanes that come later, and ends with its table', async ({ dataset }) => {
    await createDataset(ctx, { name: dataset });
    await mirrorOf(dataset);
    await sendTo(dataset, 'm', 0);
    await untilEqual(dataset);
    await changeTable(ctx, dataset, 'm', { lanes: 3 });
    for (let v = 1; v < 20; v += 1) await sendTo(dataset, 'm', v);
    await untilEqual(dataset);
    expect(sorted(numbers(dataset))).toEqual(upTo(20));
    const job = await mirrorJob(dataset);
    await deleteTable(ctx, dataset, 'm', 0);
    await expect
      .poll(async () => {
        await work(ctx, dataset);
        return (await readJob(ctx, job.id)).state;
      })
      .toBe('done');
    // One that comes under its name is another.
    await sendTo(dataset, 'm', 50);
    await untilEqual(dataset);
    expect(numbers(dataset)).toContain(50);
  });
});
