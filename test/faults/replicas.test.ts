import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { local } from '../../local/engines/credentials.ts';
import { findRedisServer } from '../../local/engines/redis/find.ts';
import { openConnections } from '../../local/engines/upstash/connections.ts';
import { upstashServer } from '../../local/engines/upstash/server.ts';
import { freePorts, type Stack, startStack } from '../../local/stack.ts';
import { mutationsLeft } from '../../src/catalog/mutations.ts';
import { migrate } from '../../src/cli/migrate.ts';
import { type Context, createContext } from '../../src/create-context.ts';
import { flushLane } from '../../src/flush/flush-lane.ts';
import { ingestRows } from '../../src/ingest/ingest.ts';
import type { JobHandler } from '../../src/jobs/definition.ts';
import { readJob } from '../../src/jobs/job.ts';
import { runDueJobs } from '../../src/jobs/runner.ts';
import type { OperationDeps } from '../../src/operations/deps.ts';
import { jobHandlers } from '../../src/operations/job-handlers.ts';
import { scheduleRowChange } from '../../src/operations/row-changes/change-rows.ts';
import { at, expectStored, flush, query, send, storedRows, tableOf } from '../integration/support.ts';

const dataDir = mkdtempSync(join(tmpdir(), 'timestore-replicas-'));
let stack: Stack;
let replica: ChildProcess;
let ctx: Context;
let env: Record<string, string>;
let replicaUrl: string;

// A buffer with one replica, which a test can stop in its tracks.
beforeAll(async () => {
  stack = await startStack({ dataDir, ports: await freePorts() });
  env = {
    ...stack.env,
    TIMESTORE_ADMIN_KEY: 'local-admin',
    TIMESTORE_LOCAL: 'true',
    BUFFER_WAIT_REPLICAS: '1',
    TIMESTORE_REPLICAS_TIMEOUT_MS: '300',
  };
  await migrate(env);
  ctx = { ...createContext(env), log: () => undefined };
  await ctx.redis.inTurn([['CONFIG', 'SET', 'repl-diskless-sync-delay', '0']]);
  const { hostname, port } = new URL(stack.urls.redis);
  const own = (await freePorts()).redis;
  replicaUrl = `redis://127.0.0.1:${own}`;
  const settings = ['--port', String(own), '--bind', '127.0.0.1', '--dir', dataDir, '--save', '', '--appendonly', 'no'];
  replica = spawn(findRedisServer(), [...settings, '--replicaof', hostname, port, '--dbfilename', 'replica.rdb'], {
    stdio: 'ignore',
  });
  await vi.waitFor(async () => expect(await ctx.redis.inTurn([['WAIT', 1, 200]])).toMatchObject([{ result: 1 }]), {
    timeout: 60_000,
  });
});

afterAll(async () => {
  replica.kill('SIGCONT');
  replica.kill('SIGKILL');
  await stack.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

const durable = (rows: object[], idempotencyKey: string) =>
  ingestRows(ctx, {
    dataset: 'replicas',
    table: 'm',
    text: JSON.stringify(rows),
    format: 'json',
    idempotencyKey,
    durable: true,
  });

test('a durable row is acknowledged when the replica has it, and a flush begins when the replica has its seal', async () => {
  expect((await durable([{ timestamp: at(1), v: 1 }], 'one')).accepted.accepted).toBe(1);

  replica.kill('SIGSTOP');
  await expect(durable([{ timestamp: at(2), v: 2 }], 'two')).rejects.toMatchObject({ code: 'unavailable' });
  // Sent again it is there already; that says nothing of the replica, which still has not got it.
  await expect(durable([{ timestamp: at(2), v: 2 }], 'two')).rejects.toMatchObject({ code: 'unavailable' });
  // Who does not ask for it does not wait for it.
  await send(ctx, 'replicas', [{ timestamp: at(3), v: 3 }], 'three');
  expect((await query(ctx, 'replicas')).rows).toHaveLength(3);

  const table = await tableOf(ctx, 'replicas');
  await expect(flushLane(ctx, table, 0, 'admin')).rejects.toMatchObject({ store: 'redis' });
  // The seal is there and is taken over: nothing is inserted for it either while the replica does not know of it.
  await expect(flushLane(ctx, table, 0, 'admin')).rejects.toMatchObject({ store: 'redis' });
  expect(await storedRows(ctx, table)).toBe(0);

  replica.kill('SIGCONT');
  const again = await durable([{ timestamp: at(2), v: 2 }], 'two');
  expect(again.accepted).toMatchObject({ accepted: 1, replayed: true });
  expect(await flush(ctx, 'replicas')).toMatchObject({ complete: true, rows: 3 });
  await expectStored(ctx, table, 3);
});

test('stored rows are changed when the replica knows that they are going to be', async () => {
  await send(ctx, 'changed', [{ timestamp: at(1), v: 1 }]);
  expect(await flush(ctx, 'changed')).toMatchObject({ complete: true });
  const rows = { filters: { columns: [{ column: 'v', op: 'eq' as const, value: 1 }] } };
  const { id } = await scheduleRowChange(ctx, { dataset: 'changed', table: 'm', request: { rows } });
  const isKnown = async () => (await readJob(ctx, id)).progress.found !== undefined;
  const step: JobHandler<OperationDeps> = async (own, job, deadline_ms) => {
    const outcome = await jobHandlers['delete-rows'](own, job, deadline_ms);
    if ('progress' in outcome && outcome.progress.found !== undefined) replica.kill('SIGSTOP');
    return outcome;
  };
  const steps = { ...jobHandlers, 'delete-rows': step };
  while (!(await isKnown())) await runDueJobs(ctx, steps, ctx.now() + 500);
  // It is there already at the second attempt, on the primary alone.
  for (let attempt = 0; attempt < 2; attempt += 1) {
    await ctx.postgres.rows('update jobs set due_at = now() where id = $1', [id]);
    await runDueJobs(ctx, steps, ctx.now() + 500);
    expect(await mutationsLeft(ctx, await tableOf(ctx, 'changed'))).toMatchObject({ left: 0 });
    expect(await storedRows(ctx, await tableOf(ctx, 'changed'))).toBe(1);
  }
  replica.kill('SIGCONT');
  await expect
    .poll(
      async () => {
        await ctx.postgres.rows('update jobs set due_at = now() where id = $1', [id]);
        await runDueJobs(ctx, jobHandlers, ctx.now() + 500);
        return (await readJob(ctx, id)).state;
      },
      { timeout: 20_000 },
    )
    .toBe('done');
  expect(await storedRows(ctx, await tableOf(ctx, 'changed'))).toBe(0);
});

test('a read behind a lagging buffer has a warning, and never misses rows of its token without one', async () => {
  // One that was a replica and follows nobody any more: it answers with what it had.
  const connections = openConnections(replicaUrl);
  const front = upstashServer(connections, local.upstash.token).listen(0, '127.0.0.1');
  await once(front, 'listening');
  try {
    await expect.poll(async () => String(await connections.shared.send(['PING']))).toBe('PONG');
    await durable([{ timestamp: at(10), v: 10 }], 'before');
    expect(String(await connections.shared.send(['REPLICAOF', 'NO', 'ONE']))).toBe('OK');
    const { accepted } = await send(ctx, 'replicas', [{ timestamp: at(11), v: 11 }], 'after');
    const { port } = front.address() as AddressInfo;
    const lagging = {
      ...createContext({ ...env, UPSTASH_REDIS_REST_URL: `http://127.0.0.1:${port}` }),
      log: () => undefined,
    };
    const asked = { timeRange: { start: at(10) }, minWatermark: accepted.watermark };
    await expect(query(lagging, 'replicas', { ...asked, maxWaitMs: 200 })).rejects.toMatchObject({
      code: 'stale-read',
      extra: { required: accepted.watermark },
    });
    expect((await query(ctx, 'replicas', asked)).rows).toHaveLength(2);
  } finally {
    front.closeAllConnections();
    front.close();
    connections.close();
  }
});
