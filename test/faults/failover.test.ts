import { expect, test } from 'vitest';
import { type Seal, sealLane } from '../../src/buffer/seal.ts';
import { snapshotTable } from '../../src/buffer/snapshot.ts';
import { changeTable } from '../../src/catalog/change-table.ts';
import { readTable } from '../../src/catalog/find-table.ts';
import { atLane } from '../../src/catalog/lane-location.ts';
import { ApiError } from '../../src/core/errors.ts';
import { qualifiedName } from '../../src/core/identifiers.ts';
import { readFlushPositions } from '../../src/flush/flush-snapshot.ts';
import { insertPlace, insertSeal, settingsVersion } from '../../src/flush/insert.ts';
import { readReceipt } from '../../src/ingest/receipt.ts';
import { runDueJobs } from '../../src/jobs/runner.ts';
import { scheduleImport } from '../../src/operations/import/request.ts';
import { jobHandlers } from '../../src/operations/job-handlers.ts';
import { openRecords } from '../../src/operations/quarantine/replay.ts';
import { reconcileTable } from '../../src/operations/reconcile/reconcile-table.ts';
import { auditTable } from '../../src/operations/row-audit/audit-table.ts';
import { scheduleRowChange } from '../../src/operations/row-changes/change-rows.ts';
import type { RowsChange } from '../../src/operations/row-changes/changed-rows.ts';
import type { Table } from '../../src/schema/table.ts';
import { workUntilOver } from '../integration/jobs/support.ts';
import {
  at,
  flush,
  newDataset,
  newInstance,
  onStored,
  query,
  type Row,
  send,
  sql,
  storedRows,
  tableOf,
} from '../integration/support.ts';
import { rememberBuffer } from './failover.ts';

/** Keys of its own, all of which a failover takes back. Each test has them for itself. */
let instances = 0;
function alone(overrides: Record<string, string> = {}) {
  instances += 1;
  const prefix = `failover-${process.pid}-${process.env.VITEST_WORKER_ID ?? 0}-${instances}`;
  return newInstance({ TIMESTORE_KEY_PREFIX: prefix, ...overrides });
}

const row = (second: number, v: string) => ({ timestamp: at(second), v });
const strict = { consistency: 'strict', columns: ['v'], orderBy: [{ column: 'timestamp' }] };
const valuesOf = (rows: Row[]) => rows.map(({ v }) => v);

type Ctx = ReturnType<typeof alone>;
const values = async (ctx: Ctx, dataset: string, body: object = {}) =>
  valuesOf((await query(ctx, dataset, { ...strict, ...body })).rows);

/** The refusal of a read that asks for what is lost. */
async function refusal(read: Promise<unknown>): Promise<Record<string, unknown>> {
  const error = await read.then(
    () => undefined,
    (caught) => caught,
  );
  expect(error).toBeInstanceOf(ApiError);
  return { code: (error as ApiError).code, ...(error as ApiError).extra };
}
const lost = { code: 'stale-read', lost: true };

async function sealed(ctx: Ctx, dataset: string): Promise<Seal> {
  const outcome = await sealLane(ctx, await tableOf(ctx, dataset), 0, settingsVersion, true);
  if (!('seal' in outcome)) throw new Error(`nothing is sealed: ${outcome.outcome}`);
  return outcome.seal;
}

/** Waits until an insert into the first lane runs. */
async function isRunning(ctx: Ctx, dataset: string): Promise<void> {
  const table = await tableOf(ctx, dataset);
  const there = await atLane(ctx, table, 0);
  const running = "SELECT 1 FROM system.processes WHERE Settings['log_comment'] = {place:String}";
  await expect
    .poll(() => there.clickhouse.rows(running, { place: insertPlace(table, 0) }), { interval: 20 })
    .toHaveLength(1);
}

test('a row acknowledged after a failover is stored, also where a published batch had its sequence', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'first')]);
  await flush(ctx, dataset);
  const failOver = await rememberBuffer(ctx);
  const second = await send(ctx, dataset, [row(2, 'second')]);
  await flush(ctx, dataset);
  await failOver();
  const third = await send(ctx, dataset, [row(3, 'third')]);
  // Before, beside and after its flush; what the failover has undone may be in an answer, once.
  expect(await values(ctx, dataset)).toContain('third');
  await flush(ctx, dataset);
  expect(await values(ctx, dataset)).toEqual(['first', 'second', 'third']);
  expect((await readReceipt(ctx, third.accepted.batchId)).state).toMatch(/flushed|verified/);
  // It was stored: the failover has undone only that it was published.
  expect((await readReceipt(ctx, second.accepted.batchId)).state).toMatch(/flushed|verified/);
  expect(await storedRows(ctx, await tableOf(ctx, dataset))).toBe(3);
  expect(await auditTable(ctx, await tableOf(ctx, dataset))).toMatchObject({ ok: true, missing: 0 });
  expect(await values(ctx, dataset, { minWatermark: third.accepted.watermark })).toContain('third');
});

test('a token, a receipt and a follower from before a failover say that what they are of is lost', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'first')]);
  const failOver = await rememberBuffer(ctx);
  const second = await send(ctx, dataset, [row(2, 'second')]);
  const cursor = (await query(ctx, dataset, { ...strict, limit: 1 })).cursor;
  await failOver();
  const stale = { minWatermark: second.accepted.watermark };
  const reads = {
    strict: () => query(ctx, dataset, { ...strict, ...stale }),
    default: () => query(ctx, dataset, stale),
    bounded: () => query(ctx, dataset, { ...stale, consistency: 'bounded', maxStalenessMs: 60_000 }),
    eventual: () => query(ctx, dataset, { ...stale, consistency: 'eventual' }),
    follower: () => query(ctx, dataset, { afterWatermark: second.accepted.watermark }),
    sql: () => sql(ctx, `SELECT v FROM "${dataset}".m`, stale),
    page: () => query(ctx, dataset, { ...strict, limit: 1, cursor }),
  };
  const expectLost = async (when: string) => {
    for (const [name, read] of Object.entries(reads)) {
      expect({ name, when, ...(await refusal(read())) }).toMatchObject({ name, when, ...lost });
    }
    expect((await readReceipt(ctx, second.accepted.batchId)).state).toBe('lost');
  };
  await expectLost('nothing has its sequence');
  const third = await send(ctx, dataset, [row(3, 'third')]);
  await expectLost('another batch waits under its sequence');
  await flush(ctx, dataset);
  await expectLost('another batch was flushed under its sequence');
  const fourth = await send(ctx, dataset, [row(4, 'fourth')]);
  await expectLost('others came after that');
  await flush(ctx, dataset);
  await expectLost('and were flushed');
  for (const { accepted } of [third, fourth]) {
    expect(await values(ctx, dataset, { minWatermark: accepted.watermark })).toEqual(['first', 'third', 'fourth']);
    expect((await readReceipt(ctx, accepted.batchId)).state).toMatch(/flushed|verified/);
  }
});

test('what was published before a failover shows again: by the token of it, by an audit, by the hourly comparison', async () => {
  for (const by of ['token', 'audit', 'comparison']) {
    const ctx = alone();
    const dataset = newDataset();
    await send(ctx, dataset, [row(1, 'first')]);
    const failOver = await rememberBuffer(ctx);
    await send(ctx, dataset, [row(2, 'second')]);
    const { accepted } = await send(ctx, dataset, [row(3, 'third')]);
    await flush(ctx, dataset);
    await failOver();
    await flush(ctx, dataset);
    const table = await tableOf(ctx, dataset);
    if (by === 'audit') {
      const shownAgain = { imports: [], lanes: [{ lane: 0, from: 2, to: 3 }] };
      expect(await auditTable(ctx, table)).toMatchObject({ ok: true, shownAgain });
    }
    if (by === 'comparison')
      expect(await reconcileTable(ctx, table)).toMatchObject({ drift: [{ what: 'rows-hidden' }] });
    const asked = by === 'token' ? { minWatermark: accepted.watermark } : {};
    expect({ by, values: await values(ctx, dataset, asked) }).toEqual({ by, values: ['first', 'second', 'third'] });
    await send(ctx, dataset, [row(4, 'fourth')]);
    await flush(ctx, dataset);
    expect(await values(ctx, dataset, asked)).toEqual(['first', 'second', 'third', 'fourth']);
    expect(await auditTable(ctx, table)).toMatchObject({ ok: true });
  }
});

test('a read that is not fenced sees each row once when the buffer has forgotten a seal that was inserted', async () => {
  // Fenced only where it must be: the table is larger than what a fence is cheap for.
  const ctx = alone({ TIMESTORE_FENCE_ROWS_MAX: '1' });
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'first')]);
  await flush(ctx, dataset);
  await send(ctx, dataset, [row(2, 'second')]);
  const failOver = await rememberBuffer(ctx);
  await flush(ctx, dataset);
  await query(ctx, dataset, strict);
  await failOver();
  const answer = await query(ctx, dataset, strict);
  expect([valuesOf(answer.rows), answer.streaming.exactness]).toEqual([['first', 'second'], 'fenced']);
  await flush(ctx, dataset);
  const after = await query(ctx, dataset, strict);
  expect([valuesOf(after.rows), after.streaming.exactness]).toEqual([['first', 'second'], 'validated']);
});

test('an insert adds nothing while one of a seal that the buffer has forgotten runs beside it', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'first')]);
  const table = await tableOf(ctx, dataset);
  const there = await atLane(ctx, table, 0);
  const forgotten = there.clickhouse.send({
    settings: { log_comment: insertPlace(table, 0), insert_deduplication_token: '0:1-2:forgotten', async_insert: 0 },
    body: `INSERT INTO ${qualifiedName(table)} (_lane, _seq, _row, _received_at, timestamp, v)
           SELECT 9, 1, number, now64(3), now64(3), 'beside' FROM numbers(20) WHERE sleepEachRow(0.2) = 0
           SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 60000000`,
    timeout_ms: 60_000,
  });
  await isRunning(ctx, dataset);
  await insertSeal(there, table, 0, await sealed(ctx, dataset), 0, 30_000);
  const own = async () => {
    const [found] = await there.clickhouse.rows<{ n: string }>(
      `SELECT count() AS n FROM ${qualifiedName(table)} WHERE _lane = 0`,
    );
    return Number(found?.n);
  };
  expect(await own()).toBe(0);
  await forgotten;
  await flush(ctx, dataset);
  expect(await own()).toBe(1);
});

test('a row of a sequence that had a rejected row before the failover is stored', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'first')]);
  await flush(ctx, dataset);
  const table = await tableOf(ctx, dataset);
  const failOver = await rememberBuffer(ctx);
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} ADD CONSTRAINT good CHECK v != 'bad'`);
  const second = await send(ctx, dataset, [row(2, 'bad'), row(3, 'second')]);
  await flush(ctx, dataset);
  expect((await readReceipt(ctx, second.accepted.batchId)).quarantined).toBe(1);
  await failOver();
  const third = await send(ctx, dataset, [row(4, 'third'), row(5, 'fourth')]);
  await flush(ctx, dataset);
  expect(await values(ctx, dataset)).toEqual(['first', 'second', 'third', 'fourth']);
  expect((await readReceipt(ctx, third.accepted.batchId)).quarantined).toBe(0);
  // And one that is refused now, where a stored row had its place.
  const again = await rememberBuffer(ctx);
  await send(ctx, dataset, [row(6, 'fifth')]);
  await flush(ctx, dataset);
  await again();
  await send(ctx, dataset, [row(7, 'bad')]);
  await flush(ctx, dataset);
  expect((await openRecords(ctx, dataset, { limit: 10 })).map(({ payload }) => payload).join()).toContain('bad');
});

test('a failover while an import is published hides no row of it for ever', async () => {
  for (const before of ['its publishing', 'its sequences']) {
    const ctx = alone();
    const dataset = newDataset();
    await send(ctx, dataset, [row(1, 'first')]);
    await flush(ctx, dataset);
    const begin = async (name: string, rows: object[]) => {
      const key = `imports/failover-${process.pid}-${instances}-${name}.ndjson`;
      const body = rows.map((each) => JSON.stringify(each)).join('\n');
      await fetch(await ctx.objects.presignPut(key, 60), { method: 'PUT', body });
      return await scheduleImport(ctx, dataset, 'm', { objects: [key], format: 'ndjson' } as never, undefined);
    };
    // The lane of imports is there from the first one on.
    expect((await workUntilOver(ctx, await begin('first', [row(2, 'second')]))).state).toBe('done');
    const lanesOf = async () => (await readTable(ctx, dataset, 'm'))?.readLanes ?? 0;
    const job = await begin('second', [row(3, 'third'), row(4, 'fourth')]);
    let failOver = await rememberBuffer(ctx);
    if (before === 'its publishing') {
      // The last moment at which the lane had the seal.
      const steps = {
        ...jobHandlers,
        import: async (...args: Parameters<typeof jobHandlers.import>) => {
          const table = await tableOf(ctx, dataset);
          const lanes = Array.from({ length: await lanesOf() }, (_, lane) => lane);
          const imports = await ctx.redis.inTurn(
            lanes.map((lane) => ['HGET', ctx.keys.state(table, lane), 's_import']),
          );
          if (imports.some(({ result }) => result)) failOver = await rememberBuffer(ctx);
          return await jobHandlers.import(...args);
        },
      };
      while ((await runDueJobs(ctx, steps, ctx.now() + 60_000)) > 0);
    }
    expect((await workUntilOver(ctx, job)).state).toBe('done');
    expect(await values(ctx, dataset)).toEqual(['first', 'second', 'third', 'fourth']);
    await failOver();
    // As the audit that comes by itself does: the buffer's own definition has gone back as well.
    await readTable(ctx, dataset, 'm');
    const audit = await auditTable(ctx, await tableOf(ctx, dataset));
    expect({ before, ok: audit.ok, shown: audit.shownAgain.imports.length + audit.shownAgain.lanes.length }).toEqual({
      before,
      ok: true,
      shown: 1,
    });
    expect(await values(ctx, dataset)).toEqual(['first', 'second', 'third', 'fourth']);
  }
});

test.each(['audit', 'comparison', 'reconciliation'])(
  'a failover to before lanes were added hides none of their rows for ever: %s',
  async (by) => {
    const ctx = alone();
    const dataset = newDataset();
    await send(ctx, dataset, [row(1, 'first')]);
    await flush(ctx, dataset);
    const failOver = await rememberBuffer(ctx);
    await changeTable(ctx, dataset, 'm', { lanes: 4 });
    const names = Array.from({ length: 12 }, (_, n) => `later ${n}`);
    for (const [n, name] of names.entries()) {
      await send(ctx, dataset, [row(2 + n, name)], name);
    }
    await flush(ctx, dataset);
    await failOver();
    if (by === 'audit') {
      const audit = await auditTable(ctx, await tableOf(ctx, dataset));
      expect(audit.shownAgain.lanes.map(({ lane }) => lane)).toEqual(expect.arrayContaining([1, 2, 3]));
      expect(audit).toMatchObject({ missing: 0, doubled: 0, unaccounted: 0 });
    } else if (by === 'reconciliation') {
      expect(await reconcileTable(ctx, (await readTable(ctx, dataset, 'm')) as Table)).toMatchObject({
        drift: expect.arrayContaining([expect.objectContaining({ what: 'rows-hidden', mended: true })]),
      });
    } else {
      const { until } = await readFlushPositions(ctx, (await readTable(ctx, dataset, 'm')) as Table);
      expect(until.map(({ lane }) => lane)).toEqual(expect.arrayContaining([1, 2, 3]));
    }
    expect((await values(ctx, dataset)).sort()).toEqual(['first', ...names].sort());
    // Writers go on in all of them, and what they write is read by instances that have seen nothing.
    await send(ctx, dataset, [row(20, 'last')], 'last');
    await flush(ctx, dataset);
    const other = newInstance({ TIMESTORE_KEY_PREFIX: ctx.config.TIMESTORE_KEY_PREFIX });
    expect((await values(other, dataset)).sort()).toEqual(['first', 'last', ...names].sort());
    expect((await auditTable(other, await tableOf(other, dataset))).ok).toBe(true);
  },
);

const erased = { rows: { filters: { columns: [{ column: 'v', op: 'eq', value: 'erase' }] } } } as unknown as RowsChange;

/** All rows are gone, and with them the tokens of the inserts that brought them. */
async function eraseAll(ctx: Ctx, dataset: string): Promise<void> {
  const job = await scheduleRowChange(ctx, { dataset, table: 'm', request: erased });
  expect((await workUntilOver(ctx, job)).state).toBe('done');
  const table = await tableOf(ctx, dataset);
  expect(await storedRows(ctx, table)).toBe(0);
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} DROP PARTITION '2026-05-01'`);
}

test('rows that were deleted do not come back with an insert that comes after that', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'erase'), row(2, 'erase')]);
  const table = await tableOf(ctx, dataset);
  const seal = await sealed(ctx, dataset);
  await flush(ctx, dataset);
  await eraseAll(ctx, dataset);
  const there = await atLane(ctx, table, 0);
  for (const attempt of [0, 1, 2]) await insertSeal(there, table, 0, seal, attempt, 30_000);
  expect(await storedRows(ctx, table)).toBe(0);
});

test('rows that were deleted do not come back when the buffer fails over to before their flush, and the lane goes on', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'erase'), row(2, 'erase')]);
  const failOver = await rememberBuffer(ctx);
  await flush(ctx, dataset);
  await eraseAll(ctx, dataset);
  await failOver();
  await flush(ctx, dataset);
  await send(ctx, dataset, [row(3, 'next')]);
  await flush(ctx, dataset);
  expect(await values(ctx, dataset)).toEqual(['next']);
  expect(await storedRows(ctx, await tableOf(ctx, dataset))).toBe(1);
});

test('rows that were deleted do not come back in one seal with a batch acknowledged after the failover', async () => {
  const ctx = alone();
  const dataset = newDataset();
  for (const second of [1, 2]) await send(ctx, dataset, [row(second, 'erase')]);
  const failOver = await rememberBuffer(ctx);
  await flush(ctx, dataset);
  await eraseAll(ctx, dataset);
  await failOver();
  await send(ctx, dataset, [row(3, 'next')]);
  await flush(ctx, dataset);
  expect(await values(ctx, dataset)).toEqual(['next']);
  expect(await storedRows(ctx, await tableOf(ctx, dataset))).toBe(1);
  expect(await auditTable(ctx, await tableOf(ctx, dataset))).toMatchObject({ ok: true, missing: 0 });
});

test('rows that were deleted do not come back with a late insert whose later batches a failover has lost', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'erase')]);
  const failOver = await rememberBuffer(ctx);
  await send(ctx, dataset, [row(2, 'lost')]);
  const seal = await sealed(ctx, dataset);
  await failOver();
  await flush(ctx, dataset);
  await eraseAll(ctx, dataset);
  const table = await tableOf(ctx, dataset);
  await insertSeal(await atLane(ctx, table, 0), table, 0, seal, 0, 30_000);
  const there = await atLane(ctx, table, 0);
  const erasedRows = `SELECT 1 FROM ${qualifiedName(table)} WHERE v = 'erase'`;
  expect(await there.clickhouse.rows(erasedRows)).toEqual([]);
});

test('what was stored stays known when a heartbeat from before a failover was further', async () => {
  const ctx = alone();
  const dataset = newDataset();
  const failOver = await rememberBuffer(ctx);
  for (const v of ['first', 'second', 'third']) await send(ctx, dataset, [row(1, v)]);
  await flush(ctx, dataset);
  await failOver();
  await send(ctx, dataset, [row(1, 'erase'), row(2, 'erase')]);
  const table = await tableOf(ctx, dataset);
  const seal = await sealed(ctx, dataset);
  await flush(ctx, dataset);
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} DROP PARTITION '2026-05-01'`);
  const there = await atLane(ctx, table, 0);
  await there.clickhouse.command('OPTIMIZE TABLE timestore.ingest_watermarks FINAL');
  for (const attempt of [0, 1, 2]) await insertSeal(there, table, 0, seal, attempt, 30_000);
  expect(await storedRows(ctx, table)).toBe(0);
});

/** The clock of a primary that is ahead of its replica's. */
async function setAhead(ctx: Ctx, dataset: string): Promise<void> {
  const key = ctx.keys.state(await tableOf(ctx, dataset), 0);
  const [found] = await ctx.redis.inTurn([['HGET', key, 'at']]);
  const [seq] = String(found?.result).split(':');
  await ctx.redis.inTurn([['HSET', key, 'at', `${seq}:${Date.now() + 600_000}`]]);
}

test('a row acknowledged by a primary whose clock is behind the lost one is stored', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'first')]);
  await flush(ctx, dataset);
  const failOver = await rememberBuffer(ctx);
  await setAhead(ctx, dataset);
  await send(ctx, dataset, [row(2, 'second')]);
  await flush(ctx, dataset);
  await failOver();
  await send(ctx, dataset, [row(3, 'third')]);
  await flush(ctx, dataset);
  expect(await values(ctx, dataset)).toEqual(['first', 'second', 'third']);
});

test('what was lost is known when the clock of the next primary is behind', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'first')]);
  const failOver = await rememberBuffer(ctx);
  await setAhead(ctx, dataset);
  const { accepted } = await send(ctx, dataset, [row(2, 'second')]);
  await failOver();
  const others = [];
  for (const v of ['third', 'fourth']) {
    others.push(await send(ctx, dataset, [row(3, v)]));
    await flush(ctx, dataset);
  }
  const read = query(ctx, dataset, { ...strict, minWatermark: accepted.watermark });
  expect(await refusal(read)).toMatchObject(lost);
  expect((await readReceipt(ctx, accepted.batchId)).state).toBe('lost');
  for (const other of others) {
    expect(await values(ctx, dataset, { minWatermark: other.accepted.watermark })).toHaveLength(3);
  }
});

test('rows are deleted only when inserts have ended that could bring them again', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'keep')]);
  await send(ctx, dataset, [row(2, 'erase')]);
  await flush(ctx, dataset);
  const table = await tableOf(ctx, dataset);
  const there = await atLane(ctx, table, 0);
  const late = there.clickhouse.send({
    settings: { log_comment: insertPlace(table, 0), insert_deduplication_token: '0:1-2:late', async_insert: 0 },
    body: `INSERT INTO ${qualifiedName(table)} (_lane, _seq, _row, _received_at, timestamp, v)
           SELECT 0, 2, 1 + number, (SELECT max(_received_at) FROM ${qualifiedName(table)} WHERE _seq = 2),
                  '2026-05-01 10:00:03', 'erase' FROM numbers(20) WHERE sleepEachRow(0.2) = 0
           SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 60000000`,
    timeout_ms: 60_000,
  });
  await isRunning(ctx, dataset);
  const job = await scheduleRowChange(ctx, { dataset, table: 'm', request: erased });
  expect((await workUntilOver(ctx, job)).state).toBe('done');
  await late;
  expect(await values(ctx, dataset)).toEqual(['keep']);
});

test('what an earlier version has left of a seal says nothing of the next one', async () => {
  const ctx = alone();
  const dataset = newDataset();
  const laneOf = async () => {
    const snapshot = await snapshotTable(ctx, await tableOf(ctx, dataset), 'state');
    return snapshot === 'unknown' ? undefined : snapshot.lanes[0];
  };
  await send(ctx, dataset, [row(1, 'first')]);
  await sealed(ctx, dataset);
  const key = ctx.keys.state(await tableOf(ctx, dataset), 0);
  await ctx.redis.inTurn([['HSET', key, 's_last', '9:1700000000000']]);
  await flush(ctx, dataset);
  expect(await laneOf()).toMatchObject({ watermark: 1, watermarkAt_ms: undefined });
  await send(ctx, dataset, [row(2, 'second')]);
  const before_ms = (await laneOf())?.seqAt_ms;
  await flush(ctx, dataset);
  expect(await laneOf()).toMatchObject({ watermark: 2, watermarkAt_ms: before_ms });
});

test('no seal after a failover has the epoch of one that was forgotten', async () => {
  const ctx = alone();
  const dataset = newDataset();
  await send(ctx, dataset, [row(1, 'first')]);
  const failOver = await rememberBuffer(ctx);
  const forgotten = await sealed(ctx, dataset);
  await failOver();
  await send(ctx, dataset, [row(2, 'second')]);
  expect((await sealed(ctx, dataset)).epoch).toBeGreaterThan(forgotten.epoch);
});
