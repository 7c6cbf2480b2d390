/**
 * The Worker on this machine: the deployed code in the runtime that Cloudflare uses.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { logTail } from './engines/process.ts';
import { reasonOf, StartFailure } from './failure.ts';
import { environmentForWorker, root } from './options.ts';
import { descendants } from './process-tree.ts';
import { optionsVariable, type ProgramOptions } from './worker-options.ts';

export type WorkerOptions = {
  port: number;
  inspectorPort: number;
  /** A folder of its own for the state and the log. */
  dir: string;
  /** The folder of the built Worker. */
  build: string;
  env: Record<string, string>;
  /** Receives messages about failures from which the Worker recovers. */
  print: (text: string) => void;
};

export type Worker = {
  url: string;
  logFile: string;
  /** Resolves when the Worker answers requests. */
  waitUntilUp(signal: AbortSignal): Promise<void>;
  /** Rejects when the Worker ends unexpectedly and is not started again. */
  failed: Promise<never>;
  stop(): Promise<void>;
};

const startLimitMs = 60_000;
/** A Worker that ends again within this time of its restart is not started again. */
const restartWindowMs = 60_000;
const watchEveryMs = 1_000;
const logLines = 20;

/** Throws a StartFailure when another program has the port. */
export async function requireFreePort(variable: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const server = createServer();
  server.once('error', reject);
  server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve()));
  try {
    await promise;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const problem = code === 'EADDRINUSE' ? 'is in use by another program' : `cannot be used (${code})`;
    throw new StartFailure(
      `Port ${port} on 127.0.0.1 ${problem}. Stop that program, or choose another port with ${variable}, ` +
        `for example: ${variable}=${port < 65_000 ? port + 100 : port - 100} npm start`,
    );
  }
}

/** Starts the built Worker. Use `waitUntilUp` to wait for its first answer. */
export function startWorker({ dir, build, port, inspectorPort, env, print }: WorkerOptions): Worker {
  mkdirSync(dir, { recursive: true });
  const logFile = join(dir, 'worker.log');
  rmSync(logFile, { force: true });
  const options: ProgramOptions = { build, state: join(dir, 'state'), port, inspectorPort, bindings: env };
  const url = `http://127.0.0.1:${port}`;
  const stopping = new AbortController();
  const death = Promise.withResolvers<never>();
  death.promise.catch(() => undefined);
  let isUp = false;
  /** When the Worker answered after its last restart. */
  let restartedAt = Number.NEGATIVE_INFINITY;
  let current = launch();

  function launch(): Guarded {
    const started = spawnGuarded(logFile, {
      ...environmentForWorker(process.env),
      [optionsVariable]: JSON.stringify(options),
    });
    void started.exited.then(() => handleExit()).catch((error) => death.reject(error));
    return started;
  }

  /** Prints a message when Miniflare has replaced the runtime. */
  async function watch(): Promise<void> {
    const { signal } = stopping;
    const runtime = () => descendants(current.child.pid ?? 0, 'workerd')[0];
    for (let pid = runtime(); ; pid = runtime() ?? pid) {
      const watched = current;
      await delay(watchEveryMs, undefined, { signal });
      if (pid === runtime()) continue;
      await waitForAnswer(`${url}/health`, logFile, signal);
      if (watched !== current) continue;
      print(`The Worker's runtime (workerd, process ${pid}) ended; a new one answers.`);
    }
  }

  /** Restarts a Worker that ended unexpectedly, unless it ended shortly after an earlier restart. */
  async function handleExit(): Promise<void> {
    if (stopping.signal.aborted) return;
    const isAgain = performance.now() - restartedAt < restartWindowMs;
    if (!isUp || isAgain) {
      const problem = isAgain ? 'The Worker ended unexpectedly again' : 'The Worker ended unexpectedly';
      const tail = logTail(logFile, logLines);
      throw new StartFailure(`${problem}. Start again; the data is kept. Last lines of its log ${logFile}:\n${tail}`);
    }
    print('The Worker ended unexpectedly and is restarted. The data is kept.');
    current = launch();
    await waitForAnswer(`${url}/health`, logFile, stopping.signal);
    restartedAt = performance.now();
    print('The Worker answers again.');
  }

  return {
    url,
    logFile,
    failed: death.promise,
    async waitUntilUp(signal) {
      await Promise.race([waitForAnswer(`${url}/health`, logFile, signal), death.promise]);
      isUp = true;
      watch().catch((error) => {
        if (!stopping.signal.aborted) death.reject(error);
      });
    },
    async stop() {
      stopping.abort();
      if (current.child.connected) current.child.send('stop');
      await current.exited;
    },
  };
}

type Guarded = { child: ChildProcess; exited: Promise<void> };

function spawnGuarded(logFile: string, env: NodeJS.ProcessEnv): Guarded {
  const log = openSync(logFile, 'a');
  const args = ['group-guard.ts', 'worker-program.ts'].map((name) => join(import.meta.dirname, name));
  const child = spawn(process.execPath, [args[0] ?? '', process.execPath, args[1] ?? ''], {
    cwd: root,
    env,
    stdio: ['ignore', log, log, 'ipc'],
    detached: true,
  });
  closeSync(log);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      endGroup(child.pid); // also when the guard itself was killed
      resolve();
    });
    child.once('error', () => resolve());
  });
  return { child, exited };
}

async function waitForAnswer(url: string, logFile: string, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + startLimitMs;
  for (;;) {
    try {
      const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(startLimitMs)]) });
      await response.arrayBuffer();
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (performance.now() > deadline) {
        throw new StartFailure(
          `The Worker does not answer at ${url} (${reasonOf(error)}). Last lines of its log ${logFile}:\n` +
            logTail(logFile, logLines),
        );
      }
    }
    await delay(25, undefined, { signal });
  }
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
