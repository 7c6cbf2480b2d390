import { setTimeout as delay } from 'node:timers/promises';
import type { Stack } from '../../../local/stack.ts';
import { changeTable } from '../../../src/catalog/change-table.ts';
import { findTable } from '../../../src/catalog/find-table.ts';
import { ApiError, StoreError } from '../../../src/core/errors.ts';
import type { Context } from '../../../src/create-context.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { ClickHouseError } from '../../../src/stores/clickhouse/client.ts';
import type { Server } from '../../../src/stores/clickhouse/servers.ts';
import { faultKinds, type Injected, inject } from '../injection.ts';
import type { WorkerProcess } from '../worker-process.ts';
import type { Run } from './clients.ts';

/** What goes on beside the clients of a run. */
export type Disturbance = {
  run: Run;
  dataset: string;
  newInstance: () => Context & Server;
  isOver: () => boolean;
  random: () => number;
  done: { kills: number; stops: number; changes: number; flushes: number };
};

/** Undefined when a store was unavailable or somebody else changed the same. */
async function unlessAway<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StoreError || error instanceof ClickHouseError) return undefined;
    if (error instanceof ApiError && error.code === 'conflict') return undefined;
    throw error;
  }
}

/** One that is there already; the first write makes it. */
async function someTable({ run, dataset, random }: Disturbance, instance: Context) {
  const tables = run.current();
  return await findTable(instance, dataset, tables[Math.floor(random() * tables.length)] ?? '');
}

/** Flushes of which half die at some call to a store, or have an effect there that comes after others. */
export async function flushAndDie(disturbance: Disturbance): Promise<void> {
  const { isOver, newInstance, random, done } = disturbance;
  const late: Injected<Context & Server>[] = [];
  while (!isOver()) {
    await unlessAway(async () => {
      const instance = newInstance();
      const table = await someTable(disturbance, instance);
      if (table === undefined) return;
      const kind = faultKinds[Math.floor(random() * faultKinds.length)] ?? 'fails';
      const faulty = inject(instance, random() < 0.5 ? undefined : { call: Math.floor(random() * 14), kind });
      const lane = Math.floor(random() * table.readLanes);
      const ended = unlessAway(() => flushLane(faulty, table, lane, 'admin'));
      const result = await Promise.race([ended, faulty.died.then(() => undefined)]);
      if (result?.outcome === 'ok') done.flushes += 1;
      late.push(faulty);
      if (late.length > 3) await late.shift()?.releaseLate();
    });
    await delay(random() * 100);
  }
  for (const each of late) await each.releaseLate();
}

/** Tables get more lanes under the hands of who writes, reads and flushes. */
export async function changeLanes(disturbance: Disturbance): Promise<void> {
  const { isOver, newInstance, random, done, dataset } = disturbance;
  while (!isOver()) {
    await delay(1_000 + random() * 2_000);
    await unlessAway(async () => {
      const instance = newInstance();
      const table = await someTable(disturbance, instance);
      if (table === undefined) return;
      await changeTable(instance, dataset, table.name, { lanes: 1 + Math.floor(random() * 4) });
      done.changes += 1;
    });
  }
}

/** ClickHouse, Redis and the Worker are killed and started again; ClickHouse and Redis also stand still for a while. */
export async function killAndStop({ isOver, random, done }: Disturbance, stack: Stack, worker: WorkerProcess) {
  while (!isOver()) {
    await delay(400 + random() * 900);
    const node = stack.nodes[Math.floor(random() * stack.nodes.length)];
    const engine = random() < 0.5 ? node : stack.engines.redis;
    const what = random();
    if (what < 0.25) {
      await worker.kill();
      await worker.restart();
    } else if (what < 0.5) {
      engine?.kill('SIGSTOP');
      await delay(500 + random() * 2_500);
      engine?.kill('SIGCONT');
    } else {
      engine?.kill('SIGKILL');
      await engine?.restart();
    }
    done[what >= 0.25 && what < 0.5 ? 'stops' : 'kills'] += 1;
  }
}
