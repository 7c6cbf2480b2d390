import { expect, test } from 'vitest';
import { setQuota } from '../../../src/buffer/quota.ts';
import { beginReplay, endReplay, TurnLost } from '../../../src/buffer/replays.ts';
import { changeTable } from '../../../src/catalog/change-table.ts';
import { ApiError } from '../../../src/core/errors.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { discardRecords, openRecords, replayRecords } from '../../../src/operations/quarantine/replay.ts';
import {
  at,
  expectStored,
  flush,
  type Instance,
  newDataset,
  newInstance,
  onStored,
  query,
  send,
  tableOf,
} from '../support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `replay-${process.pid}` };
const ctx = newInstance(prefix);
const narrow = newInstance({ ...prefix, TIMESTORE_TABLE_FIELDS_MAX: '2' });
/** For which keys of requests are forgotten at once: whoever asks again is always too late for them. */
const forgetful = (): Instance => newInstance({ ...prefix, TIMESTORE_IDEMPOTENCY_MS: '1' });

const open = (dataset: string) => openRecords(ctx, dataset, { limit: 1_000 });

/** A dataset with six rows in quarantine, of a field that there was no room for. */
async function aside(): Promise<string> {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  const text = JSON.stringify([1, 2, 3, 4, 5, 6].map((b) => ({ timestamp: at(b), b })));
  const request = { dataset, table: 'm', text, format: 'json', idempotencyKey: 'k', onError: 'quarantine' } as const;
  expect((await ingestRows(narrow, request)).accepted).toMatchObject({ accepted: 0, quarantined: 6 });
  return dataset;
}

/** Each of the six is there once, in answers and in ClickHouse, and none is open. */
async function expectEachOnce(dataset: string): Promise<void> {
  const answer = await query(newInstance(prefix), dataset);
  expect(answer.rows.flatMap(({ b }) => (b === null ? [] : [Number(b)])).sort()).toEqual([1, 2, 3, 4, 5, 6]);
  await flush(newInstance(prefix), dataset);
  await expectStored(ctx, await tableOf(newInstance(prefix), dataset), 7);
  expect(await open(dataset)).toEqual([]);
}

/** Whose n-th batch from now on waits before it goes to the hot buffer. */
function heldBefore(n: number): { instance: Instance; reached: Promise<void>; release: () => void } {
  const instance = forgetful();
  const [reached, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let batches = 0;
  const redis = new Proxy(instance.redis, {
    get(target, name, self) {
      const member: unknown = Reflect.get(target, name, self);
      if (name !== 'evalsha') return member;
      return async (sha1: string, keys: string[], args: string[]) => {
        if (keys.at(-1)?.endsWith(':replays') && keys.length > 1) batches += 1;
        if (batches === n) {
          reached.resolve();
          await held.promise;
        }
        return await target.evalsha(sha1, keys, args);
      };
    },
  });
  return { instance: { ...instance, redis }, reached: reached.promise, release: held.resolve };
}

test('a replay that stops half-way settles what it has staged, and goes on later without doubling any', async () => {
  const dataset = await aside();
  await setQuota(ctx, dataset, 1_000, { rowsPerDay: 4 });
  await expect(replayRecords(forgetful(), dataset, await open(dataset))).rejects.toMatchObject({
    code: 'quota-exceeded',
  });
  expect(await open(dataset)).toHaveLength(2);
  await setQuota(ctx, dataset, 1_001, {});
  expect(await replayRecords(forgetful(), dataset, await open(dataset))).toMatchObject({ replayed: 2, refused: [] });
  await expectEachOnce(dataset);
});

test('so does one whose lane has no room left, and one whose table is frozen meanwhile', async () => {
  const dataset = await aside();
  const full = newInstance({ ...prefix, TIMESTORE_IDEMPOTENCY_MS: '1', TIMESTORE_PENDING_ROWS_MAX: '3' });
  await expect(replayRecords(full, dataset, await open(dataset))).rejects.toMatchObject({ code: 'buffer-full' });
  expect(await open(dataset)).toHaveLength(4);
  const { instance, reached, release } = heldBefore(2);
  const frozen = replayRecords(instance, dataset, await open(dataset));
  await reached;
  await changeTable(ctx, dataset, 'm', { state: 'frozen' });
  release();
  await expect(frozen).rejects.toMatchObject({ code: 'dataset-frozen' });
  expect(await open(dataset)).toHaveLength(3);
  await changeTable(ctx, dataset, 'm', { state: 'active' });
  expect(await replayRecords(forgetful(), dataset, await open(dataset))).toMatchObject({ replayed: 3, refused: [] });
  await expectEachOnce(dataset);
});

test('one that cannot say what it has staged leaves that to the next, which sends none of it again', async () => {
  const dataset = await aside();
  const { instance, reached, release } = heldBefore(3);
  const first = replayRecords(instance, dataset, await open(dataset));
  await reached;
  await changeTable(ctx, dataset, '_quarantine', { state: 'frozen' });
  await changeTable(ctx, dataset, 'm', { state: 'frozen' });
  release();
  await expect(first).rejects.toMatchObject({ code: 'dataset-frozen' });
  expect(await open(dataset)).toHaveLength(6);
  await flush(ctx, dataset);
  for (const name of ['_quarantine', 'm']) await changeTable(ctx, dataset, name, { state: 'active' });
  expect(await replayRecords(forgetful(), dataset, await open(dataset))).toMatchObject({ replayed: 6, refused: [] });
  await expectEachOnce(dataset);
});

test.each([1, 3])(
  'rows that are discarded before a replay reaches them, from its row %i on, are not accepted',
  async (n) => {
    const dataset = await aside();
    const records = await open(dataset);
    const { instance, reached, release } = heldBefore(n);
    const replayed = replayRecords(instance, dataset, records);
    await reached;
    expect(await discardRecords(forgetful(), dataset, records)).toBe(7 - n);
    release();
    await replayed;
    expect(await open(dataset)).toEqual([]);
    expect(await discardRecords(forgetful(), dataset, records)).toBe(0);
    expect((await query(newInstance(prefix), dataset)).rows).toHaveLength(n);
  },
);

test('records that were read before another replay are not staged after it', async () => {
  const dataset = await aside();
  const records = await open(dataset);
  expect(await replayRecords(forgetful(), dataset, records)).toMatchObject({ replayed: 6 });
  expect(await replayRecords(forgetful(), dataset, records)).toMatchObject({ replayed: 0 });
  await flush(ctx, dataset);
  expect(await replayRecords(forgetful(), dataset, records)).toMatchObject({ replayed: 0 });
  await expectEachOnce(dataset);
});

test.each([1, 2, 4, 6])('one held up before its row %i stages nothing once another has begun', async (n) => {
  const dataset = await aside();
  const records = await open(dataset);
  const { instance, reached, release } = heldBefore(n);
  const first = replayRecords(instance, dataset, records);
  await reached;
  expect(await replayRecords(forgetful(), dataset, records)).toMatchObject({ replayed: 6 });
  if (n % 2 === 0) await flush(ctx, dataset);
  release();
  expect(await first).toMatchObject({ refused: [], waiting: 0 });
  await expectEachOnce(dataset);
});

test('two at the same moment, and three, accept each row once', async () => {
  for (const many of [2, 3]) {
    const dataset = await aside();
    const records = await open(dataset);
    const replays = Array.from({ length: many }, () => replayRecords(forgetful(), dataset, records));
    for (const outcome of await Promise.allSettled(replays)) {
      // Whoever has lost its turn too often says so.
      if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(ApiError);
    }
    await replayRecords(forgetful(), dataset, records);
    await expectEachOnce(dataset);
  }
});

test('a batch that comes once its row is settled finds the turn over', async () => {
  const dataset = await aside();
  const instance = forgetful();
  const late: (() => Promise<unknown>)[] = [];
  const redis = new Proxy(instance.redis, {
    get(target, name, self) {
      const member: unknown = Reflect.get(target, name, self);
      if (name !== 'evalsha') return member;
      return async (sha1: string, keys: string[], args: string[]) => {
        if (keys.at(-1)?.endsWith(':replays') && keys.length > 1) late.push(() => target.evalsha(sha1, keys, args));
        return await target.evalsha(sha1, keys, args);
      };
    },
  });
  await replayRecords({ ...instance, redis }, dataset, await open(dataset));
  expect(late.length).toBeGreaterThanOrEqual(6);
  for (const again of late) expect(await again()).toEqual(['fenced']);
  await expectEachOnce(dataset);
});

test('rows that ClickHouse refuses are set aside although the dataset has taken what it may', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  await flush(ctx, dataset);
  const table = await tableOf(ctx, dataset);
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} ADD CONSTRAINT positive CHECK v >= 0`);
  await setQuota(ctx, dataset, 1_000, { rowsPerDay: 2 });
  await send(
    ctx,
    dataset,
    [1, -2].map((v) => ({ timestamp: at(1), v })),
  );
  expect(await flush(ctx, dataset)).toMatchObject({ complete: true, rows: 2 });
  expect(await open(dataset)).toHaveLength(1);
});

test('whoever has lost the turn makes nothing of another one forgotten', async () => {
  const quarantine = { dataset: newDataset(), physical: '_quarantine' };
  const { turn } = await beginReplay(ctx, quarantine);
  await ctx.redis.hset(ctx.keys.replays(quarantine), { a: 'staged' });
  expect(await beginReplay(ctx, quarantine)).toMatchObject({ staged: ['a'] });
  await expect(endReplay(ctx, quarantine, turn, ['a'])).rejects.toBeInstanceOf(TurnLost);
  const last = await beginReplay(ctx, quarantine);
  expect(last.staged).toEqual(['a']);
  await endReplay(ctx, quarantine, last.turn, ['a']);
  expect(await beginReplay(ctx, quarantine)).toMatchObject({ staged: [] });
});

test('what is remembered of rows that were staged again is gone when they are settled', async () => {
  const dataset = await aside();
  await replayRecords(ctx, dataset, await open(dataset));
  const names = await ctx.redis.keys(`${ctx.config.TIMESTORE_KEY_PREFIX}:{${dataset}._quarantine}:replays`);
  expect(names).toHaveLength(1);
  expect(await ctx.redis.hlen(names[0] ?? '')).toBe(1);
});

test('a key that is used again for other rows, once it is forgotten, does not hide the former ones in quarantine', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  for (const b of [1, 2]) {
    const text = JSON.stringify([{ timestamp: at(b), b }]);
    const request = { dataset, table: 'm', text, format: 'json', idempotencyKey: 'k', onError: 'quarantine' } as const;
    const short = newInstance({ ...prefix, TIMESTORE_TABLE_FIELDS_MAX: '2', TIMESTORE_IDEMPOTENCY_MS: '1' });
    expect((await ingestRows(short, request)).accepted.quarantined).toBe(1);
  }
  expect(await open(dataset)).toHaveLength(2);
});
