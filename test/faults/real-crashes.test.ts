import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePorts, type Stack } from '../../local/stack.ts';
import { migrate } from '../../src/cli/migrate.ts';
import { ApiError, StoreError } from '../../src/core/errors.ts';
import { type Context, createContext } from '../../src/create-context.ts';
import { flushLane } from '../../src/flush/flush-lane.ts';
import { ClickHouseError } from '../../src/stores/clickhouse/client.ts';
import { builtWorker } from '../built-worker.ts';
import { at, expectStored, flush, query, send, tableOf } from '../integration/support.ts';
import { startTestStack, testNodes } from '../test-stack.ts';
import { startWorkerProcess, type WorkerProcess } from './worker-process.ts';

/** `npm run test:soak -- crashes --seconds 600` makes it a soak. */
const seconds = Number(process.env.FAULT_SECONDS ?? 15);
const clients = 4;
const rowsInBatch = 3;

const dataDir = mkdtempSync(join(tmpdir(), 'timestore-crashes-'));
let stack: Stack;
let env: Record<string, string>;
let worker: WorkerProcess;

beforeAll(async () => {
  const started = await startTestStack(dataDir);
  stack = started.stack;
  // A lane on each node.
  env = { ...started.env, TIMESTORE_LEASE_MS: '2000', TIMESTORE_LANES_DEFAULT: String(testNodes) };
  await migrate(env);
  // It flushes in the background after a few requests, so that kills meet it in the middle of that too.
  const bindings = { ...env, TIMESTORE_TRIGGER_ROWS: '60' };
  worker = await startWorkerProcess({ build: await builtWorker(), bindings, port: (await freePorts()).upstash });
});

afterAll(async () => {
  await worker.kill();
  await stack.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

const quiet = (): Context => ({ ...createContext(env), log: () => undefined });

/** The result, or undefined when a store was away. */
async function unlessAway<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    const isAway = error instanceof StoreError || error instanceof ClickHouseError;
    if (isAway || (error instanceof ApiError && error.code === 'conflict')) return undefined;
    throw error;
  }
}

test(`clients that retry, flushers and readers go on while ClickHouse, Redis and the Worker are killed again and again for ${seconds} s`, async () => {
  const dataset = 'crashes';
  await send(quiet(), dataset, [
    { timestamp: at(0), id: 'first/0' },
    { timestamp: at(0), id: 'first/1' },
    { timestamp: at(0), id: 'first/2' },
  ]);
  const acknowledged = new Set(['first']);
  const perhaps = new Set(['first']);
  const end = performance.now() + seconds * 1000;
  const done = { kills: 0, flushes: 0, answers: 0 };
  const least = () => Math.min(done.kills, done.flushes, done.answers);
  // Longer on a machine that has come to little by then.
  const going = () => performance.now() < end || (least() <= 3 && performance.now() < end + 120_000);

  async function client(name: number): Promise<void> {
    let instance = quiet();
    for (let n = 0; going(); n += 1) {
      const key = `${name}-${n}`;
      perhaps.add(key);
      const rows = Array.from({ length: rowsInBatch }, (_, i) => ({
        timestamp: at(n % 60, 1 + ((n + i) % 4)),
        id: `${key}/${i}`,
      }));
      // Until it is acknowledged, whatever it takes; sometimes by another instance.
      const attempt = async (): Promise<unknown> => {
        return name % 2 === 0 ? await sendOverHttp(dataset, rows, key) : await send(instance, dataset, rows, key);
      };
      while ((await unlessAway(attempt)) === undefined) {
        instance = quiet();
        await delay(20);
      }
      acknowledged.add(key);
    }
  }

  async function flusher(): Promise<void> {
    for (let n = 0; going(); n += 1) {
      const instance = quiet();
      const result = await unlessAway(
        async () => await flushLane(instance, await tableOf(instance, dataset), n % testNodes, 'cron'),
      );
      if (result?.outcome === 'ok') done.flushes += 1;
      else await delay(20);
    }
  }

  async function reader(): Promise<void> {
    while (going()) {
      const before = [...acknowledged];
      const answer = await unlessAway(() => query(quiet(), dataset, { columns: ['id'], limit: 500_000 }));
      if (answer?.streaming.fresh) {
        expectAnswer(
          answer.rows.map(({ id }) => String(id)),
          before,
          perhaps,
        );
        done.answers += 1;
      } else await delay(20);
    }
  }

  async function killer(): Promise<void> {
    for (let n = 0; going(); n += 1) {
      await delay(300 + Math.random() * 700);
      done.kills += 1;
      if (n % 4 === 3) {
        await worker.kill();
        await worker.restart();
        continue;
      }
      const engine = n % 4 === 2 ? stack.engines.redis : stack.nodes[n % testNodes];
      engine?.kill('SIGKILL');
      await engine?.restart();
    }
  }

  await Promise.all([
    ...Array.from({ length: clients }, (_, n) => client(n)),
    flusher(),
    flusher(),
    reader(),
    killer(),
  ]);

  const instance = quiet();
  const table = await tableOf(instance, dataset);
  for (const lane of table.shards.keys()) await instance.redis.del(instance.keys.lease(table, lane));
  expect(await flush(instance, dataset)).toMatchObject({ complete: true });
  await expectStored(instance, table, acknowledged.size * rowsInBatch);
  console.log(`${acknowledged.size} batches, ${done.flushes} flushes, ${done.answers} answers, ${done.kills} kills`);
  expect(least()).toBeGreaterThan(3);
}, 3_600_000);

/** Through the Worker, as clients do. Undefined when that or a store behind it is away. */
async function sendOverHttp(dataset: string, rows: object[], key: string): Promise<true | undefined> {
  const answer = await fetch(`${worker.url}/v1/datasets/${dataset}/tables/m/rows`, {
    method: 'POST',
    headers: { authorization: 'Bearer local-admin', 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify(rows),
    signal: AbortSignal.timeout(20_000),
  }).catch(() => undefined);
  if (answer === undefined) return undefined;
  const body = (await answer.json().catch(() => undefined)) as { accepted?: number; retryable?: boolean } | undefined;
  if (answer.status === 202 && body?.accepted === rows.length) return true;
  if (body === undefined || body.retryable) return undefined;
  throw new Error(`the Worker answered ${answer.status}: ${JSON.stringify(body)}`);
}

/** Every batch acknowledged before, and of the others each whole or not at all; no row twice. */
function expectAnswer(ids: string[], acknowledged: string[], perhaps: Set<string>): void {
  expect(new Set(ids)).toHaveLength(ids.length);
  const rows = Map.groupBy(ids, (id) => id.split('/')[0] ?? '');
  for (const key of acknowledged)
    if (!rows.has(key)) throw new Error(`batch ${key} was acknowledged and is not in the answer`);
  for (const [key, of] of rows) {
    if (of.length !== rowsInBatch) throw new Error(`batch ${key} is in the answer in part: ${of}`);
    if (!perhaps.has(key)) throw new Error(`batch ${key} was never sent`);
  }
}
