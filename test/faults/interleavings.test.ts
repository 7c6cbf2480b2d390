import fc from 'fast-check';
import { expect, test } from 'vitest';
import { changeTable } from '../../src/catalog/change-table.ts';
import { findTable } from '../../src/catalog/find-table.ts';
import { shardsOf } from '../../src/catalog/lane-location.ts';
import { knownTables } from '../../src/catalog/table-cache.ts';
import { StoreError } from '../../src/core/errors.ts';
import { qualifiedName } from '../../src/core/identifiers.ts';
import { LruMap } from '../../src/core/lru-map.ts';
import type { Context } from '../../src/create-context.ts';
import { flushLane } from '../../src/flush/flush-lane.ts';
import { openRecords, replayRecords } from '../../src/operations/quarantine/replay.ts';
import { auditTable } from '../../src/operations/row-audit/audit-table.ts';
import {
  at,
  expectStored,
  flush,
  type Instance,
  newDataset,
  newInstance,
  query,
  send,
  tableOf,
} from '../integration/support.ts';
import { type Fault, faultKinds, type Injected, inject } from './injection.ts';

/** `npm run test:soak -- interleavings` sets both; a failure prints the seed and the shortest sequence that fails. */
const runs = Number(process.env.FAULT_RUNS ?? 20);
const seed = Number(process.env.FAULT_SEED ?? Date.now() % 2_147_483_647);

const prefix = { TIMESTORE_KEY_PREFIX: `interleaved-${process.pid}` };
const keys = 6;

type Operation =
  | { do: 'send'; key: number; fault: Fault | null }
  | { do: 'flush'; lane: number; fault: Fault | null; beside: boolean }
  | { do: 'all at once'; key: number }
  | { do: 'lanes'; count: number }
  | { do: 'new instance'; skew_h: number }
  /** Somebody works on the server: rows that were accepted are refused now, or taken again. */
  | { do: 'constrain' | 'mend' }
  | { do: 'query' | 'lease runs out' | 'late arrives' };

const lanesMax = 4;
const fault = fc.option(
  fc.record({
    call: fc.oneof({ weight: 3, arbitrary: fc.nat(13) }, { weight: 1, arbitrary: fc.nat(36) }),
    kind: fc.constantFrom(...faultKinds),
  }),
  { freq: 2 },
);
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('send'), key: fc.nat(keys - 1), fault }) as fc.Arbitrary<Operation>,
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('flush'),
      lane: fc.nat(lanesMax - 1),
      fault,
      beside: fc.boolean(),
    }) as fc.Arbitrary<Operation>,
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('all at once'), key: fc.nat(keys - 1) }) as fc.Arbitrary<Operation>,
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('lanes'),
      count: fc.integer({ min: 1, max: lanesMax }),
    }) as fc.Arbitrary<Operation>,
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('new instance'),
      skew_h: fc.constantFrom(0, 0, -2, 2),
    }) as fc.Arbitrary<Operation>,
  },
  ...(['query', 'lease runs out', 'late arrives', 'constrain', 'mend'] as const).map((name) => ({
    weight: name === 'query' ? 2 : 1,
    arbitrary: fc.constant<Operation>({ do: name }),
  })),
);

/**
 * What is sent under a key is always the same: rows in some partitions, with a field that only some keys have. Some keys
 * have a row that is refused while the table is constrained.
 */
function rowsOf(key: number): { timestamp: string; id: string }[] {
  return Array.from({ length: 1 + (key % 3) }, (_, i) => ({
    timestamp: at(key, 1 + i),
    id: `${key}/${i}`,
    bad: isPoison(key, i) ? 1 : 0,
    ...(key % 2 === 1 && { [`only${key}`]: i }),
  }));
}

const isPoison = (key: number, row: number) => key % 3 === 2 && row === 1;
const idsOf = (keys: Iterable<number>) => [...keys].flatMap((key) => rowsOf(key).map(({ id }) => id)).sort();
const poisonIds = new Set(
  idsOf(Array.from({ length: keys }, (_, key) => key)).filter((id) =>
    isPoison(Number.parseInt(id, 10), Number(id.split('/')[1])),
  ),
);

/** A run of the system beside a plain set of what was acknowledged. */
class World {
  readonly dataset = newDataset();
  readonly acknowledged = new Set<number>();
  readonly injected: Injected<Instance>[] = [];
  instance: Instance = newInstance(prefix);
  wasConstrained = false;

  async run(step: Operation): Promise<void> {
    switch (step.do) {
      case 'send':
        await this.send(step.key, step.fault);
        return;
      case 'flush':
        await Promise.all([this.flush(step.lane, step.fault), step.beside ? this.flush(step.lane, null) : undefined]);
        return;
      case 'all at once': {
        const before = new Set(this.acknowledged);
        const flushes = [0, 0, 1].map((lane) => this.flush(lane, null));
        const [answer] = await Promise.all([this.ask(), this.send(step.key, null), ...flushes]);
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
      case 'lanes':
        if (this.acknowledged.size > 0) await changeTable(this.instance, this.dataset, 'm', { lanes: step.count });
        return;
      case 'constrain':
        await this.alter('ADD CONSTRAINT IF NOT EXISTS good CHECK bad = 0');
        this.wasConstrained = true;
        return;
      case 'mend':
        await this.alter('DROP CONSTRAINT IF EXISTS good');
        return;
      case 'new instance':
        // Its clock may be another: what matters goes by the stores' clocks.
        this.instance = { ...newInstance(prefix), now: () => Date.now() + step.skew_h * 3_600_000 };
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

  async alter(change: string): Promise<void> {
    if (this.acknowledged.size === 0) return;
    const table = await tableOf(this.instance, this.dataset);
    for (const { node } of shardsOf(this.instance, table)) {
      await node.clickhouse.command(`ALTER TABLE ${qualifiedName(table)} ${change}`);
    }
  }

  async flush(lane: number, injectedFault: Fault | null): Promise<void> {
    if (this.acknowledged.size === 0) return;
    const table = await tableOf(this.instance, this.dataset);
    await this.with(injectedFault, (instance) => flushLane(instance, table, lane, 'admin'));
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
    const missing = idsOf(seen).filter((id) => !answer.includes(id));
    for (const id of missing) expect(this.wasConstrained && poisonIds.has(id)).toBe(true);
    expect(answer).toEqual(idsOf(seen).filter((id) => !missing.includes(id)));
  }

  async leaseRunsOut(): Promise<void> {
    if (this.acknowledged.size === 0) return;
    const table = await tableOf(this.instance, this.dataset);
    const lanes = Array.from({ length: lanesMax }, (_, lane) => this.instance.keys.lease(table, lane));
    await this.instance.redis.del(...lanes);
  }

  /**
   * Whatever happened: once every store answers again, every acknowledged row is in ClickHouse or in quarantine, and once
   * the table is mended and what is in quarantine was sent again, each is in ClickHouse once.
   */
  async recover(): Promise<void> {
    if (this.acknowledged.size === 0) return;
    await this.leaseRunsOut();
    expect(await flush(this.instance, this.dataset)).toMatchObject({ complete: true });
    for (const each of this.injected) await each.releaseLate();
    // What arrived late may be a lease, and its flush is dead.
    await this.leaseRunsOut();
    expect(await flush(this.instance, this.dataset)).toMatchObject({ complete: true });
    await this.run({ do: 'mend' });
    if ((await findTable(newInstance(prefix), this.dataset, '_quarantine')) !== undefined) {
      const records = await openRecords(newInstance(prefix), this.dataset, { limit: 1_000 });
      const soon = {
        ...newInstance({ ...prefix, TIMESTORE_INSERT_TIMEOUT_MS: '1' }),
        now: () => Date.now() + 86_400_000,
      };
      const result = await replayRecords(soon, this.dataset, records);
      expect(result).toMatchObject({ refused: [], waiting: 0 });
      expect(await flush(newInstance(prefix), this.dataset)).toMatchObject({ complete: true });
    }
    const ids = idsOf(this.acknowledged);
    await expectStored(this.instance, await tableOf(this.instance, this.dataset), ids.length);
    expect(await this.ask()).toEqual(ids);
    expect(await auditTable(newInstance(prefix), await tableOf(this.instance, this.dataset))).toMatchObject({
      missing: 0,
      doubled: 0,
    });
  }

  private async with(injectedFault: Fault | null, work: (instance: Context) => Promise<unknown>): Promise<void> {
    const tables: ReturnType<typeof knownTables> = new LruMap(10);
    for (const [name, seen] of knownTables(this.instance)) tables.set(name, seen);
    const memory = new Map(this.instance.memory).set(knownTables.key, tables);
    const instance = inject({ ...this.instance, memory }, injectedFault ?? undefined);
    this.injected.push(instance);
    const ended = work(instance).catch((error) => {
      if (!(error instanceof StoreError)) throw error;
    });
    await Promise.race([ended, instance.died]);
  }
}

/** Sequences that failed once. */
const known: Operation[][] = [
  [
    // A lease that a dead flush takes late, and then a row that is in quarantine and sent again.
    { do: 'all at once', key: 0 } as const,
    { do: 'constrain' } as const,
    { do: 'flush', lane: 0, fault: { call: 0, kind: 'effect late' }, beside: false },
    { do: 'all at once', key: 2 },
    { do: 'flush', lane: 0, fault: null, beside: false },
  ],
];

test(`any interleaving of writes, repeats, flushes, faults and queries keeps every acknowledged row, once (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 4, maxLength: 16 }), async (steps) => {
      const world = new World();
      for (const step of steps) await world.run(step);
      await world.recover();
    }),
    { numRuns: runs, seed, endOnFailure: false, examples: known.map((steps) => [steps]) },
  );
}, 3_600_000);
