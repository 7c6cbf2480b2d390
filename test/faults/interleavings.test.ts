import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Context } from '../../src/context.ts';
import { StoreError } from '../../src/errors.ts';
import { flushLane } from '../../src/flush/flush-lane.ts';
import { at, expectStored, flush, newDataset, newInstance, query, send, tableOf } from '../integration/support.ts';
import { type Fault, faultKinds, type Injected, inject } from './injection.ts';

/** `npm run test:faults` sets both; a failure prints the seed and the shortest sequence that fails. */
const runs = Number(process.env.FAULT_RUNS ?? 60);
const seed = Number(process.env.FAULT_SEED ?? Date.now() % 2_147_483_647);

const prefix = { TIMESTORE_KEY_PREFIX: `interleaved-${process.pid}` };
const keys = 6;

type Operation =
  | { do: 'send'; key: number; fault: Fault | null }
  | { do: 'flush'; fault: Fault | null; beside: boolean }
  | { do: 'all at once'; key: number }
  | { do: 'query' | 'lease runs out' | 'late arrives' | 'new instance' };

const fault = fc.option(fc.record({ call: fc.nat(11), kind: fc.constantFrom(...faultKinds) }), { freq: 2 });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('send'), key: fc.nat(keys - 1), fault }) as fc.Arbitrary<Operation>,
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('flush'), fault, beside: fc.boolean() }) as fc.Arbitrary<Operation>,
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('all at once'), key: fc.nat(keys - 1) }) as fc.Arbitrary<Operation>,
  },
  ...(['query', 'lease runs out', 'late arrives', 'new instance'] as const).map((name) => ({
    ...{ weight: name === 'query' ? 2 : 1, arbitrary: fc.constant<Operation>({ do: name }) },
  })),
);

/** What is sent under a key is always the same: rows in some partitions, with a field that only some keys have. */
function rowsOf(key: number): { timestamp: string; id: string }[] {
  return Array.from({ length: 1 + (key % 3) }, (_, i) => ({
    ...{ timestamp: at(key, 1 + i), id: `${key}/${i}` },
    ...(key % 2 === 1 && { [`only${key}`]: i }),
  }));
}

/** A run of the system beside a plain set of what was acknowledged. */
class World {
  readonly dataset = newDataset();
  readonly acknowledged = new Set<number>();
  readonly injected: Injected<Context>[] = [];
  instance: Context = newInstance(prefix);

  async run(step: Operation): Promise<void> {
    switch (step.do) {
      case 'send':
        await this.send(step.key, step.fault);
        return;
      case 'flush':
        await Promise.all([this.flush(step.fault), step.beside ? this.flush(null) : undefined]);
        return;
      case 'all at once': {
        const before = new Set(this.acknowledged);
        const [answer] = await Promise.all([this.ask(), this.send(step.key, null), this.flush(null), this.flush(null)]);
        this.expectAnswer(answer, before, new Set([...before, step.key]));
        return;
      }
      case 'query':
        this.expectAnswer(await this.ask(), this.acknowledged, this.acknowledged);
        return;
      case 'lease runs out':
        await this.leaseRunsOut();
        return;
      case 'late arrives':
        for (const each of this.injected) await each.releaseLate();
        return;
      case 'new instance':
        this.instance = newInstance(prefix);
    }
  }

  /** A client that repeats its request until it is acknowledged. */
  async send(key: number, injectedFault: Fault | null): Promise<void> {
    if (injectedFault !== null) {
      await this.with(injectedFault, (instance) => send(instance, this.dataset, rowsOf(key), `key-${key}`));
    }
    const { accepted } = await send(this.instance, this.dataset, rowsOf(key), `key-${key}`);
    expect(accepted.accepted).toBe(rowsOf(key).length);
    if (this.acknowledged.has(key)) expect(accepted.replayed).toBe(true);
    this.acknowledged.add(key);
  }

  async flush(injectedFault: Fault | null): Promise<void> {
    if (this.acknowledged.size === 0) return;
    const table = await tableOf(this.instance, this.dataset);
    await this.with(injectedFault, (instance) => flushLane(instance, table, 0, 'admin'));
  }

  async ask(): Promise<string[] | undefined> {
    if (this.acknowledged.size === 0) return undefined;
    const { rows, streaming } = await query(this.instance, this.dataset, { columns: ['id'] });
    expect(streaming.fresh).toBe(true);
    return rows.map(({ id }) => String(id)).sort();
  }

  /** All rows of what was surely there, each once, and those of what may be there whole or not at all. */
  expectAnswer(answer: string[] | undefined, surely: Set<number>, perhaps: Set<number>): void {
    if (answer === undefined) return;
    const seen = new Set(answer.map((id) => Number.parseInt(id, 10)));
    for (const key of surely) expect(seen).toContain(key);
    for (const key of seen) expect(perhaps).toContain(key);
    expect(answer).toEqual([...seen].flatMap((key) => rowsOf(key).map(({ id }) => id)).sort());
  }

  async leaseRunsOut(): Promise<void> {
    if (this.acknowledged.size === 0) return;
    const table = await tableOf(this.instance, this.dataset);
    await this.instance.redis.del(this.instance.keys.lease(table, 0));
  }

  /** Whatever happened: once every store answers again, every acknowledged row is in ClickHouse once. */
  async recover(): Promise<void> {
    if (this.acknowledged.size === 0) return;
    await this.leaseRunsOut();
    expect(await flush(this.instance, this.dataset)).toMatchObject({ complete: true });
    for (const each of this.injected) await each.releaseLate();
    await flush(this.instance, this.dataset);
    const rows = [...this.acknowledged].flatMap((key) => rowsOf(key));
    await expectStored(this.instance, await tableOf(this.instance, this.dataset), rows.length);
    this.expectAnswer(await this.ask(), this.acknowledged, this.acknowledged);
  }

  private async with(injectedFault: Fault | null, work: (instance: Context) => Promise<unknown>): Promise<void> {
    const instance = inject({ ...this.instance, tables: new Map(this.instance.tables) }, injectedFault ?? undefined);
    this.injected.push(instance);
    const ended = work(instance).catch((error) => {
      if (!(error instanceof StoreError)) throw error;
    });
    await Promise.race([ended, instance.died]);
  }
}

test(`any interleaving of writes, repeats, flushes, faults and queries keeps every acknowledged row, once (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 4, maxLength: 16 }), async (steps) => {
      const world = new World();
      for (const step of steps) await world.run(step);
      await world.recover();
    }),
    { numRuns: runs, seed, endOnFailure: false },
  );
}, 3_600_000);
