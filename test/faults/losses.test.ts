import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { deleteTable } from '../../src/catalog/change-table.ts';
import { findTable } from '../../src/catalog/find-table.ts';
import { ApiError, StoreError } from '../../src/core/errors.ts';
import { flushLane } from '../../src/flush/flush-lane.ts';
import type { Job } from '../../src/jobs/job.ts';
import { scheduleRowChange } from '../../src/operations/row-changes/change-rows.ts';
import { type OwnBuffer, startOwnBuffer } from '../integration/buffer/own-buffer.ts';
import { workUntilOver } from '../integration/jobs/support.ts';
import { at, flush, type Instance, newDataset, newInstance, query, send, tableOf } from '../integration/support.ts';
import { rememberBuffer } from './failover.ts';
import { type Fault, faultKinds, type Injected, inject } from './injection.ts';

/** `npm run test:soak -- interleavings` sets both; a failure prints the seed and the shortest sequence that fails. */
const runs = Number(process.env.FAULT_RUNS ?? 15);
const seed = Number(process.env.FAULT_SEED ?? Date.now() % 2_147_483_647);

type Operation =
  | { do: 'send' | 'send again' | 'begin deletion' | 'ask for'; which: number }
  | { do: 'flush'; fault: Fault | null; beside: boolean }
  | { do: Plain };
type Plain =
  | 'query'
  | 'work'
  | 'remember'
  | 'fail over'
  | 'late arrives'
  | 'forget keys'
  | 'drop'
  | 'lease runs out'
  | 'memory is full'
  | 'memory is free'
  | 'clock goes ahead';

const fault = fc.option(
  fc.record({
    call: fc.oneof({ weight: 3, arbitrary: fc.nat(13) }, { weight: 1, arbitrary: fc.nat(36) }),
    kind: fc.constantFrom(...faultKinds),
  }),
  { freq: 2 },
);
const named = (weight: number, name: 'send' | 'send again' | 'begin deletion' | 'ask for') => {
  return { weight, arbitrary: fc.nat(9).map((which): Operation => ({ do: name, which })) };
};
const plain = (weight: number, name: Plain) => {
  return { weight, arbitrary: fc.constant<Operation>({ do: name }) };
};
const operation: fc.Arbitrary<Operation> = fc.oneof(
  named(5, 'send'),
  named(1, 'send again'),
  named(2, 'begin deletion'),
  named(2, 'ask for'),
  { weight: 5, arbitrary: fc.record({ do: fc.constant('flush' as const), fault, beside: fc.boolean() }) },
  plain(2, 'query'),
  plain(2, 'work'),
  plain(2, 'remember'),
  plain(3, 'fail over'),
  plain(2, 'late arrives'),
  plain(1, 'forget keys'),
  plain(1, 'drop'),
  plain(1, 'lease runs out'),
  plain(1, 'memory is full'),
  plain(1, 'memory is free'),
  plain(1, 'clock goes ahead'),
);

/**
 * What is known of a batch: its rows are `there`; a failover has undone what may have been its last trace, so that each
 * row is there or not (`perhaps`); or they are `gone`, deleted or of a table that was dropped.
 */
type Batch = { state: 'there' | 'perhaps' | 'gone'; token: string; isRemembered: boolean };

let worlds = 0;

/** Of its own, so that its memory may run out. */
let buffer: OwnBuffer;
beforeAll(async () => {
  buffer = await startOwnBuffer();
});
afterAll(() => buffer.stop());

/** A run of the system, with keys that nobody else has, beside what is known of each batch. */
class World {
  readonly dataset = newDataset();
  readonly instance: Instance;
  readonly injected: Injected<Instance>[] = [];
  readonly batches: Batch[] = [];
  /** Deletions that were asked for, and the batches that each is of. */
  readonly deletions: { job: Job; batches: Batch[] }[] = [];
  /** Batches that were deleted and wait in the buffer again since a failover: until a flush they may be seen. */
  readonly revived = new Set<Batch>();
  isFull = false;
  isAhead = false;
  moment: { failOver: () => Promise<void>; batches: Map<Batch, Batch> } | undefined;

  constructor() {
    worlds += 1;
    this.instance = newInstance({ ...buffer.env, TIMESTORE_KEY_PREFIX: `losses-${process.pid}-${worlds}` });
  }

  async run(step: Operation): Promise<void> {
    switch (step.do) {
      case 'send':
        await this.send(this.batches.length);
        return;
      case 'send again': {
        const batch = this.pick(step.which, ({ isRemembered }) => isRemembered);
        if (batch !== undefined) await this.send(this.batches.indexOf(batch));
        return;
      }
      case 'begin deletion':
        await this.beginDeletion(step.which);
        return;
      case 'work':
        await this.work();
        return;
      case 'ask for':
        await this.askFor(this.pick(step.which, ({ state }) => state !== 'gone'));
        return;
      case 'flush':
        await Promise.all([this.flush(step.fault), step.beside ? this.flush(null) : undefined]);
        return;
      case 'query':
        if (await this.isThere()) this.expectSeen(await this.seen());
        return;
      case 'remember':
        // Its batches have times ahead of the clock, one after the other: those of a primary would not come again.
        if (this.isAhead) return;
        await this.freeMemory();
        this.moment = {
          failOver: await rememberBuffer(this.instance),
          batches: new Map(this.batches.map((batch) => [batch, { ...batch }])),
        };
        return;
      case 'fail over':
        await this.failOver();
        return;
      case 'late arrives':
        await this.lateArrives();
        return;
      case 'forget keys':
        await this.forgetKeys();
        return;
      case 'drop':
        await this.drop();
        return;
      case 'lease runs out':
        await this.leaseRunsOut();
        return;
      case 'memory is full':
        this.isFull = true;
        await buffer.exhaustMemory();
        return;
      case 'memory is free':
        await this.freeMemory();
        return;
      case 'clock goes ahead':
        await this.clockGoesAhead();
    }
  }

  pick(which: number, isWanted: (batch: Batch) => boolean): Batch | undefined {
    const wanted = this.batches.filter(isWanted);
    return wanted[which % Math.max(1, wanted.length)];
  }

  async isThere(): Promise<boolean> {
    return (await findTable(this.instance, this.dataset, 'm')) !== undefined;
  }

  async send(n: number): Promise<void> {
    const rows = Array.from({ length: 1 + (n % 3) }, (_, i) => ({
      timestamp: at(n % 60, 1 + i),
      kind: n % 3,
      id: `${n}/${i}`,
    }));
    const sent = await send(this.instance, this.dataset, rows, `key-${n}`).catch((error) => {
      // Refused as a whole: sent again under the same key, it is the first time.
      expect([this.isFull, n >= this.batches.length, error]).toMatchObject([true, true, { code: 'buffer-full' }]);
      return undefined;
    });
    if (sent === undefined) return;
    const { accepted } = sent;
    expect(accepted.replayed).toBe(n < this.batches.length);
    if (n < this.batches.length) return;
    this.batches.push({ state: 'there', token: accepted.watermark ?? '', isRemembered: true });
  }

  async flush(injectedFault: Fault | null): Promise<void> {
    if (!(await this.isThere())) return;
    const table = await tableOf(this.instance, this.dataset);
    const instance = inject(this.instance, injectedFault ?? undefined);
    this.injected.push(instance);
    const ended = flushLane(instance, table, 0, 'admin').catch((error) => {
      if (!(error instanceof StoreError)) throw error;
    });
    await Promise.race([ended, instance.died]);
  }

  /** Whatever failed before, all that waits is flushed. */
  async flushAll(): Promise<void> {
    await this.leaseRunsOut();
    expect(await flush(this.instance, this.dataset)).toMatchObject({ complete: true });
    this.revived.clear();
  }

  /** Of all batches of a kind that were acknowledged by now, also of those that a failover has undone, or will. */
  async beginDeletion(which: number): Promise<void> {
    if (!(await this.isThere())) return;
    const kind = which % 3;
    await this.lateArrives();
    const filters = { columns: [{ column: 'kind', op: 'eq' as const, value: kind }] };
    const job = await scheduleRowChange(this.instance, {
      dataset: this.dataset,
      table: 'm',
      request: { rows: { filters } },
    });
    this.deletions.push({ job, batches: this.batches.filter((_, n) => n % 3 === kind) });
  }

  async work(): Promise<void> {
    await this.leaseRunsOut();
    // An insert that comes after a deletion of rows whose last trace a failover has undone brings them.
    await this.lateArrives();
    for (const { job, batches } of this.deletions.splice(0)) {
      expect(await workUntilOver(this.instance, job)).toMatchObject({ state: 'done' });
      for (const batch of batches) batch.state = 'gone';
    }
  }

  async lateArrives(): Promise<void> {
    for (const each of this.injected) await each.releaseLate();
  }

  async drop(): Promise<void> {
    if (!(await this.isThere())) return;
    await deleteTable(this.instance, this.dataset, 'm', 0);
    this.deletions.length = 0;
    const [job] = await this.instance.postgres.rows<{ id: string }>(
      `select id from jobs where dataset = $1 and "table" = 'm' and kind = 'drop-table' order by n desc limit 1`,
      [this.dataset],
    );
    expect(await workUntilOver(this.instance, { id: job?.id ?? '' })).toMatchObject({ state: 'done' });
    // A buffer from before that is not one of this table.
    this.moment = undefined;
    this.isAhead = false;
    for (const batch of this.batches) Object.assign(batch, { state: 'gone', isRemembered: false });
  }

  async failOver(): Promise<void> {
    if (this.moment === undefined) return;
    await this.freeMemory();
    for (const each of this.injected) each.forgetLate('redis');
    await this.moment.failOver();
    this.isAhead = false;
    for (const batch of this.batches) {
      const before = this.moment.batches.get(batch);
      batch.isRemembered = batch.isRemembered && before?.isRemembered === true;
      if (batch.state === 'there' && before?.state !== 'there') batch.state = 'perhaps';
      if (batch.state === 'gone' && before?.state === 'there') this.revived.add(batch);
    }
  }

  async freeMemory(): Promise<void> {
    this.isFull = false;
    await buffer.freeMemory();
  }

  /** That of this primary, before the one that a failover brings. */
  async clockGoesAhead(): Promise<void> {
    if (this.moment === undefined || !(await this.isThere())) return;
    this.isAhead = true;
    const { redis, keys } = this.instance;
    const key = keys.state(await tableOf(this.instance, this.dataset), 0);
    const [found] = await redis.inTurn([['HGET', key, 'at']]);
    const [, seq, at_ms] = /^(\d+):(\d+)$/.exec(String(found?.result)) ?? [];
    if (seq !== undefined) await redis.inTurn([['HSET', key, 'at', `${seq}:${Number(at_ms) + 60_000}`]]);
  }

  async forgetKeys(): Promise<void> {
    const { redis, config } = this.instance;
    const [found] = await redis.inTurn([['KEYS', `${config.TIMESTORE_KEY_PREFIX}:*key-*`]]);
    const keys = found?.result as string[];
    if (keys.length > 0) await redis.inTurn([['DEL', ...keys]]);
    for (const batch of this.batches) batch.isRemembered = false;
  }

  async leaseRunsOut(): Promise<void> {
    if (!(await this.isThere())) return;
    await this.instance.redis.del(this.instance.keys.lease(await tableOf(this.instance, this.dataset), 0));
  }

  async seen(body: object = {}): Promise<string[]> {
    const { rows } = await query(this.instance, this.dataset, { columns: ['id'], consistency: 'strict', ...body });
    return rows.map(({ id }) => String(id)).sort();
  }

  /** All rows of what is there, each once, and of what perhaps is there, each once or not at all. */
  expectSeen(ids: string[]): void {
    expect(ids).toEqual([...new Set(ids)]);
    for (const [n, batch] of this.batches.entries()) {
      const seen = ids.filter((id) => id.startsWith(`${n}/`)).length;
      if (batch.state === 'there') expect([n, seen]).toEqual([n, 1 + (n % 3)]);
      if (batch.state === 'gone' && !this.revived.has(batch)) expect([n, seen]).toEqual([n, 0]);
    }
  }

  /** The token of a batch: all its rows are in the answer, or it is lost and the answer says so. */
  async askFor(batch: Batch | undefined): Promise<void> {
    if (batch === undefined) return;
    const n = this.batches.indexOf(batch);
    const ids = await this.seen({ minWatermark: batch.token }).catch((error) => {
      if (!(error instanceof ApiError)) throw error;
      expect([n, batch.state, error.code, error.extra]).toMatchObject([n, 'perhaps', 'stale-read', { lost: true }]);
      return undefined;
    });
    if (ids === undefined) return;
    this.expectSeen(ids);
    expect([n, ids.filter((id) => id.startsWith(`${n}/`)).length]).toEqual([n, 1 + (n % 3)]);
  }

  async recover(): Promise<void> {
    if (!(await this.isThere())) return;
    await this.freeMemory();
    await this.lateArrives();
    await this.work();
    await this.flushAll();
    this.expectSeen(await this.seen());
    for (const batch of this.batches) if (batch.state !== 'gone') await this.askFor(batch);
  }
}

test(`any interleaving of failovers, deletions, drops, forgotten keys and late inserts keeps what is there, once (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 4, maxLength: 20 }), async (steps) => {
      await buffer.freeMemory();
      const world = new World();
      for (const step of steps) await world.run(step);
      await world.recover();
    }),
    { numRuns: runs, seed, endOnFailure: false },
  );
}, 3_600_000);
