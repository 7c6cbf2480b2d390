import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePorts, type Stack } from '../../../local/stack.ts';
import { findTable } from '../../../src/catalog/find-table.ts';
import { migrate } from '../../../src/cli/migrate.ts';
import { createContext } from '../../../src/create-context.ts';
import { flushTable } from '../../../src/flush/flush-table.ts';
import { builtWorker } from '../../built-worker.ts';
import { startTestStack, testNodes } from '../../test-stack.ts';
import { startWorkerProcess, type WorkerProcess } from '../worker-process.ts';
import { type Doors, type Place, Run, randomFrom, read, write } from './clients.ts';
import { changeLanes, type Disturbance, flushAndDie, killAndStop } from './disturb.ts';
import { instanceDoor, workerDoor } from './doors.ts';
import { describeHistory, isExplained, smallestViolation } from './table-history.ts';

/** `npm run test:soak -- linearizable --ops 8000 [--seconds 60] [--seed 7]` makes it longer. */
const operations = Number(process.env.LINEAR_OPS ?? 300);
const seconds = Number(process.env.LINEAR_SECONDS ?? 8);
/** Decides what clients choose. When things happen is up to the machine, so the same seed is not the same run. */
const seed = Number(process.env.FAULT_SEED ?? Date.now() % 2_147_483_647);
const least = { kills: 3, stops: 1, changes: 1, flushes: 5 };
/** A slow machine gets more time, for each operation and for all of it. */
const slow_ms = 120_000 + operations * 100;
const writers = 3;
const readers = 4;
const dataset = 'linear';

const dataDir = mkdtempSync(join(tmpdir(), 'timestore-linearizable-'));
let stack: Stack;
let env: Record<string, string>;
let worker: WorkerProcess;

beforeAll(async () => {
  const started = await startTestStack(dataDir);
  stack = started.stack;
  env = {
    ...started.env,
    // Shorter than a store may stand still.
    TIMESTORE_LEASE_MS: '2000',
    TIMESTORE_INSERT_TIMEOUT_MS: '2000',
    TIMESTORE_QUERY_TIMEOUT_MS: '3000',
    TIMESTORE_REDIS_TIMEOUT_MS: '1000',
    TIMESTORE_LANES_DEFAULT: String(testNodes),
  };
  await migrate(env);
  // It flushes in the background after a few requests.
  const bindings = { ...env, TIMESTORE_TRIGGER_ROWS: '40' };
  worker = await startWorkerProcess({ build: await builtWorker(), bindings, port: (await freePorts()).upstash });
});

afterAll(async () => {
  await worker.kill();
  await stack.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

const newInstance = (more: Record<string, string> = {}) => ({
  ...createContext({ ...env, ...more }),
  log: () => undefined,
});

/** The ways of a client: the Worker, and an instance with a memory of its own, which is another one now and then. */
function doorsOf(client: number, random: () => number): Doors {
  // Every other one as if each of its reads were too large to be fenced.
  const made = () => instanceDoor(newInstance(client % 2 === 0 ? {} : { TIMESTORE_FENCE_ROWS_MAX: '1' }), dataset);
  const overHttp = workerDoor(worker.url, dataset);
  let own = made();
  return (kind) => {
    if (random() < 0.05) own = made();
    return kind === 'Worker' ? overHttp : own;
  };
}

async function writer(run: Run, client: number, isOver: () => boolean): Promise<void> {
  const random = randomFrom(seed + client);
  const doors = doorsOf(client, random);
  while (!isOver()) {
    await write(run, doors, random);
    await delay(random() * 150);
  }
}

async function reader(run: Run, client: number, isOver: () => boolean): Promise<void> {
  const random = randomFrom(seed + client);
  const doors = doorsOf(client, random);
  const places = new Map<string, Place>();
  while (!isOver()) {
    const tables = run.current();
    // Rather one that is written to.
    const table = tables[Math.floor(Math.sqrt(random()) * tables.length)] ?? '';
    await read({ run, door: doors(random() < 0.4 ? 'Worker' : 'instance'), table, random, places });
  }
}

/** Once everything runs and all is flushed: tells what became of every write. */
async function lastRead(run: Run, table: string): Promise<void> {
  const instance = newInstance();
  const found = await findTable(instance, dataset, table);
  if (found !== undefined) {
    const flushed = await flushTable(instance, found, 'admin', instance.now() + 60_000);
    expect(flushed, table).toMatchObject({ complete: true });
  }
  const asked = { tableName: table, columns: ['id'], consistency: 'strict' };
  const call = performance.now();
  const { rows } = await instanceDoor(instance, dataset).query(asked);
  const batches = run.shown(rows);
  run.note(table, { call, return: performance.now(), action: { do: 'read', how: 'the last query', batches } });
}

test(`what clients did and saw can have happened in one order, each at one moment (seed ${seed})`, async () => {
  const run = new Run();
  const from = performance.now();
  const done = { kills: 0, stops: 0, changes: 0, flushes: 0 };
  const enough = () => Object.entries(least).every(([what, n]) => done[what as keyof typeof done] >= n);
  let hasFailed = false;
  const isOver = () => {
    const over_ms = performance.now() - from - seconds * 1_000;
    return hasFailed || (over_ms >= 0 && ((run.operations >= operations && enough()) || over_ms > slow_ms));
  };
  const beside = (client: number): Disturbance => ({
    run,
    dataset,
    newInstance,
    isOver,
    done,
    random: randomFrom(seed + client),
  });
  const all = [
    ...Array.from({ length: writers }, (_, n) => writer(run, n, isOver)),
    ...Array.from({ length: readers }, (_, n) => reader(run, 100 + n, isOver)),
    flushAndDie(beside(200)),
    flushAndDie(beside(201)),
    changeLanes(beside(202)),
    killAndStop(beside(203), stack, worker),
  ];
  const failed = (error: unknown) => {
    hasFailed = true;
    throw error;
  };
  const ends = await Promise.allSettled(all.map((each) => each.catch(failed)));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  for (const table of run.tables) await lastRead(run, table);

  const took = ((performance.now() - from) / 1000).toFixed(0);
  console.log(`seed ${seed}: ${run.operations} operations on ${run.tables.length} tables in ${took} s`);
  console.log(JSON.stringify({ ...done, ...run.counts }));
  expect(run.faults).toEqual([]);
  for (const [table, history] of run.histories) {
    if (isExplained(history)) continue;
    const violation = describeHistory(smallestViolation(history));
    const file = join(tmpdir(), `timestore-linearizable-${seed}-${table}.txt`);
    writeFileSync(file, `${violation}\n\nAll of it:\n${describeHistory(history)}\n`);
    expect.fail(`no order explains what happened to ${table} (seed ${seed}, all of it in ${file}):\n${violation}`);
  }
  expect(run.operations).toBeGreaterThanOrEqual(operations);
  for (const [what, n] of Object.entries(least)) {
    expect(done[what as keyof typeof done], what).toBeGreaterThanOrEqual(n);
  }
}, 3_600_000);
