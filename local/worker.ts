/**
 * The Worker on this machine: the real code in the real runtime.
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
  /** Told of what went wrong and goes on. */
  say: (text: string) => void;
};

export type Worker = {
  url: string;
  logFile: string;
  /** Resolves when the Worker answers at all. */
  answering(signal: AbortSignal): Promise<void>;
  /** Rejects when it ends and nobody asked for that. */
  failed: Promise<never>;
  stop(): Promise<void>;
};

const startLimitMs = 60_000;
/** A Worker that ends again so soon after it was started once more is given up. */
const againWithinMs = 60_000;
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
    const what = code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be used (${code})`;
    throw new StartFailure(
      `Port ${port} on 127.0.0.1 ${what}. Stop that program, or choose another port with ${variable}, ` +
        `for example: ${variable}=${port < 65_000 ? port + 100 : port - 100} npm start`,
    );
  }
}

/** Starts the built Worker; the answer comes later, see `answering`. */
export function startWorker({ dir, build, port, inspectorPort, env, say }: WorkerOptions): Worker {
  mkdirSync(dir, { recursive: true });
  const logFile = join(dir, 'worker.log');
  rmSync(logFile, { force: true });
  const options: ProgramOptions = { build, state: join(dir, 'state'), port, inspectorPort, bindings: env };
  const url = `http://127.0.0.1:${port}`;
  const stopping = new AbortController();
  const death = Promise.withResolvers<never>();
  death.promise.catch(() => undefined);
  let isUp = false;
  /** When it answered after its last end. */
  let againAt = Number.NEGATIVE_INFINITY;
  let current = launch();

  function launch(): Guarded {
    const started = spawnGuarded(logFile, {
      ...environmentForWorker(process.env),
      [optionsVariable]: JSON.stringify(options),
    });
    void started.exited.then(() => afterEnd()).catch((error) => death.reject(error));
    return started;
  }

  /** Says so when the runtime was replaced, which is done beneath. */
  async function watch(): Promise<void> {
    const { signal } = stopping;
    const runtime = () => descendants(current.child.pid ?? 0, 'workerd')[0];
    for (let known = runtime(); ; known = runtime() ?? known) {
      const watched = current;
      await delay(watchEveryMs, undefined, { signal });
      if (known === runtime()) continue;
      await untilAnswer(`${url}/health`, logFile, signal);
      if (watched !== current) continue;
      say(`The Worker's runtime (workerd, process ${known}) ended; another one answers.`);
    }
  }

  /** One that ends by itself is started once more, but not one that ends again and again. */
  async function afterEnd(): Promise<void> {
    if (stopping.signal.aborted) return;
    const isAgain = performance.now() - againAt < againWithinMs;
    if (!isUp || isAgain) {
      const what = isAgain ? 'The Worker ended by itself once more' : 'The Worker ended by itself';
      const end = logTail(logFile, logLines);
      throw new StartFailure(`${what}. Start again; the data is kept. The end of its log ${logFile}:\n${end}`);
    }
    say('The Worker ended by itself. It is started again; the data is kept.');
    current = launch();
    await untilAnswer(`${url}/health`, logFile, stopping.signal);
    againAt = performance.now();
    say('The Worker answers again.');
  }

  return {
    url,
    logFile,
    failed: death.promise,
    async answering(signal) {
      await Promise.race([untilAnswer(`${url}/health`, logFile, signal), death.promise]);
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
      endGroup(child.pid); // also when it was the guard that died
      resolve();
    });
    child.once('error', () => resolve());
  });
  return { child, exited };
}

async function untilAnswer(url: string, logFile: string, signal: AbortSignal): Promise<void> {
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
          `The Worker does not answer at ${url} (${reasonOf(error)}). The end of its log ${logFile}:\n` +
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
