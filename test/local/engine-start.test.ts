import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { startEngine } from '../../local/engines/engine.ts';
import { type Probe, waitUntilReady } from '../../local/engines/readiness.ts';
import type { HangingOptions } from './hanging-engine.ts';
import { isGroupAlive, until, useTempDir } from './support.ts';

const tempDir = useTempDir();

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

/** Asks a server that leaves its first questions without an answer, and counts them. */
async function silentAtFirst(silent: number): Promise<{ probe: Probe; asked: () => number }> {
  let asked = 0;
  const server = createServer((_, response) => {
    asked += 1;
    if (asked > silent) response.end();
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    probe: async (signal) => {
      await (await fetch(url, { signal })).text();
    },
    asked: () => asked,
  };
}

test('a question that is never answered is asked again', async () => {
  const { probe, asked } = await silentAtFirst(2);
  await waitUntilReady(probe, 60_000, new AbortController().signal, 100);
  // More than three where the machine is too slow for an answer in time.
  expect(asked()).toBeGreaterThanOrEqual(3);
});

test('when the time is over, the last refusal is reported', async () => {
  const { probe } = await silentAtFirst(Number.POSITIVE_INFINITY);
  const { signal } = new AbortController();
  await expect(waitUntilReady(probe, 150, signal, 100)).rejects.toThrow(/no answer within 150 ms .*timeout/);
  const refuse = () => Promise.reject(new Error('redis is away'));
  await expect(waitUntilReady(refuse, 50, signal)).rejects.toThrow(/no answer within 50 ms \(last: redis is away\)/);
});

test('a start that is given up ends its question', async () => {
  const { probe, asked } = await silentAtFirst(Number.POSITIVE_INFINITY);
  const givenUp = new AbortController();
  const waiting = waitUntilReady(probe, 60_000, givenUp.signal);
  await expect.poll(asked).toBe(1);
  givenUp.abort();
  await expect(waiting).rejects.toThrow();
});

/** Starts an engine whose first processes never come up. */
function startHanging(name: string, hangs: number, limitMs: number) {
  const options: HangingOptions = { starts: join(tempDir(), `${name}.starts`), hangs };
  const logFile = join(tempDir(), `${name}.log`);
  const pids: number[] = [];
  const script = join(import.meta.dirname, 'hanging-engine.ts');
  const engine = startEngine(
    { name: 'redis', url: '', script, options, probe: async () => undefined },
    {
      logFile,
      limitMs,
      signal: new AbortController().signal,
      onSpawn: (pid) => pids.push(pid),
      onDeath: (failure) => {
        throw failure;
      },
    },
  );
  return { engine, pids, log: () => readFileSync(logFile, 'utf8') };
}

test('a process that does not come up is ended and started once more, which its log shows', async () => {
  const { engine, pids, log } = startHanging('once', 1, 5_000);
  const { pid, stop } = await engine;
  expect(pids).toHaveLength(2);
  expect(pid).toBe(pids[1]);
  expect(isGroupAlive(pids[0] as number)).toBe(false);
  expect(log()).toBe('redis: its process was not up within 5000 ms. It is started again.\n');
  await stop();
});

test('a process that does not come up twice is a failure, and nothing is left of it', async () => {
  const { engine, pids } = startHanging('twice', 2, 1_000);
  await expect(engine).rejects.toThrow('redis: could not start: its process was not up within 1000 ms.');
  expect(pids).toHaveLength(2);
  await until('both are gone', () => !pids.some(isGroupAlive));
});
