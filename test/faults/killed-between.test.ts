import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { installWithApt, onPath } from '../../local/engines/apt.ts';
import type { Stack } from '../../local/stack.ts';
import { migrate } from '../../src/cli/migrate.ts';
import { StoreError } from '../../src/core/errors.ts';
import type { Event } from '../../src/core/log.ts';
import { type Context, createContext } from '../../src/create-context.ts';
import { flushLane } from '../../src/flush/flush-lane.ts';
import { ClickHouseError } from '../../src/stores/clickhouse/client.ts';
import { at, expectStored, flush, query, send, tableOf } from '../integration/support.ts';
import { startTestStack } from '../test-stack.ts';

/** `npm run test:soak -- kills --rounds 20` does more. */
const rounds = Number(process.env.FAULT_ROUNDS ?? 8);
const partitions = 3;

if (onPath(['strace']) === undefined) installWithApt('strace');
const strace = onPath(['strace']);

const dataDir = mkdtempSync(join(tmpdir(), 'timestore-killed-between-'));
let stack: Stack;
let env: Record<string, string>;

beforeAll(async () => {
  ({ stack, env } = await startTestStack(dataDir));
  await migrate(env);
});

afterAll(async () => {
  await stack.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

/** Has the server killed where it gives its n-th new part its name: its token is in the log of tokens by then. */
async function killAtRename(pid: number, n: number): Promise<{ done: Promise<void> }> {
  const inject = `inject=rename,renameat,renameat2:error=EIO:signal=SIGKILL:when=${n}`;
  const tracer = spawn(
    strace as string,
    ['-f', '-e', 'trace=rename,renameat,renameat2', '-e', inject, '-p', String(pid)],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  const done = new Promise<void>((resolve) => tracer.once('exit', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    let said = '';
    tracer.stderr.on('data', (data) => {
      said += String(data);
      if (said.includes('attached')) resolve();
    });
    tracer.once('exit', () => reject(new Error(`strace ended: ${said.slice(0, 500)}`)));
  });
  return { done };
}

test.skipIf(strace === undefined)(
  `[elsewhere 25] a server killed between the log of tokens and the rows, ${rounds} times, loses none of them`,
  async ({ skip }) => {
    const events: Event[] = [];
    const quiet = (): Context => ({ ...createContext(env), log: (event) => events.push(event) });
    const dataset = 'between';
    await send(quiet(), dataset, [{ timestamp: at(0), v: 0 }]);
    await flush(quiet(), dataset);
    let rows = 1;
    let killed = 0;
    for (let round = 0; round < rounds; round += 1) {
      const batch = Array.from({ length: 2 * partitions }, (_, n) => ({
        timestamp: at(round % 60, 1 + (n % partitions)),
        v: n,
      }));
      await send(quiet(), dataset, batch);
      rows += batch.length;
      const table = await tableOf(quiet(), dataset);
      const node = stack.nodes[(table.shards[0] ?? 1) - 1];
      const pid = node?.pid as number;
      const { done } = await killAtRename(pid, 1 + (round % partitions)).catch((error: Error) => {
        // In some containers nobody may trace another process.
        if (error.message.includes('not permitted')) skip('strace may not attach to a process here');
        throw error;
      });
      const flusher = flushLane(quiet(), table, 0, 'admin').catch((error) => {
        if (!(error instanceof StoreError) && !(error instanceof ClickHouseError)) throw error;
        killed += 1;
      });
      await Promise.all([done, flusher]);
      await node?.restart();
      await quiet().redis.del(quiet().keys.lease(table, 0));
      expect((await query(quiet(), dataset, { limit: 100_000 })).rows).toHaveLength(rows);
      expect(await flush(quiet(), dataset)).toMatchObject({ complete: true });
      await expectStored(quiet(), table, rows);
    }
    expect(killed).toBe(rounds);
    const repaired = events.filter(({ event }) => event === 'rows-missing').length;
    console.log(`${killed} kills, ${repaired} of the flushes after them found rows missing under a remembered token`);
    expect(repaired).toBeGreaterThan(0);
  },
  3_600_000,
);
