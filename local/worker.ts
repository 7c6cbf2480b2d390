/**
 * The Worker under `wrangler dev`: the real code in the real runtime, on this machine.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { logTail } from './engines/process.ts';
import { reasonOf, StartFailure } from './failure.ts';
import { environmentForWorker, root } from './options.ts';
import { descendants } from './process-tree.ts';

export type WorkerOptions = {
  port: number;
  inspectorPort: number;
  /** A folder of its own for the state, the settings and the log. */
  dir: string;
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
const watchEveryMs = 1_000;
/** What `wrangler dev` may take until the Worker answers after a process of its runtime was replaced. */
const replacedLimitMs = 10_000;
const askLimitMs = 3_000;
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

/** Starts `wrangler dev`; the answer comes later, see `answering`. */
export function startWorker({ port, inspectorPort, dir, env, say }: WorkerOptions): Worker {
  mkdirSync(dir, { recursive: true });
  const logFile = join(dir, 'worker.log');
  rmSync(logFile, { force: true });
  const envFile = join(dir, 'env');
  writeEnvFile(envFile, env);
  const url = `http://127.0.0.1:${port}`;
  const stopping = new AbortController();
  const death = Promise.withResolvers<never>();
  death.promise.catch(() => undefined);
  const fail = (what: string) =>
    death.reject(
      new StartFailure(
        `${what} Start again; the data is kept. The end of its log ${logFile}:\n${logTail(logFile, logLines)}`,
      ),
    );
  let current: Guarded | undefined = launch();

  function launch(): Guarded {
    const args = guarded(wranglerDev({ port, inspectorPort, dir, envFile }));
    const started = spawnGuarded(args, logFile, quietEnvironment(dir));
    void started.exited.then(() => {
      if (current === started && !stopping.signal.aborted) fail('The Worker (wrangler dev) ended by itself.');
    });
    return started;
  }

  async function restart(): Promise<void> {
    const old = current;
    current = undefined;
    endGroup(old?.child.pid);
    await old?.exited;
    stopping.signal.throwIfAborted();
    current = launch();
    await untilAnswer(`${url}/health`, logFile, stopping.signal);
  }

  /**
   * `wrangler dev` replaces a process of the runtime (workerd) that ends, also when it reloads the code. What it brings up
   * may take connections and never answer: then all of it is started once more, and the next time it is over.
   */
  async function watch(): Promise<void> {
    const { signal } = stopping;
    const runtimes = () => descendants(current?.child.pid ?? 0, 'workerd');
    let isSecond = false;
    let known = runtimes();
    for (;;) {
      await delay(watchEveryMs, undefined, { signal });
      const now = runtimes();
      const ended = known.find((pid) => !now.includes(pid));
      known = now;
      if (ended === undefined) continue;
      const what = `The Worker's runtime (workerd, process ${ended}) ended`;
      if (await answersWithin(`${url}/health`, replacedLimitMs, signal)) {
        say(`${what}; wrangler dev has started another, and the Worker answers.`);
        continue;
      }
      if (isSecond) return fail(`${what} once more, and the Worker does not answer.`);
      isSecond = true;
      say(`${what}, and the Worker does not answer. It is started again; the data is kept.`);
      await restart();
      say('The Worker answers again.');
      known = runtimes();
    }
  }

  return {
    url,
    logFile,
    failed: death.promise,
    async answering(signal) {
      await Promise.race([untilAnswer(`${url}/health`, logFile, signal), death.promise]);
      watch().catch((error) => {
        if (!stopping.signal.aborted) death.reject(error);
      });
    },
    async stop() {
      stopping.abort();
      if (current?.child.connected) current.child.send('stop');
      await current?.exited;
    },
  };
}

type Guarded = { child: ChildProcess; exited: Promise<void> };

function spawnGuarded(args: string[], logFile: string, env: NodeJS.ProcessEnv): Guarded {
  const log = openSync(logFile, 'a');
  const child = spawn(process.execPath, args, {
    ...{ cwd: root, env, stdio: ['ignore', log, log, 'ipc'], detached: true },
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

function wranglerDev(options: { port: number; inspectorPort: number; dir: string; envFile: string }): string[] {
  return [
    join(root, 'node_modules', 'wrangler', 'bin', 'wrangler.js'),
    'dev',
    ...['--config', join(root, 'wrangler.toml')],
    ...['--ip', '127.0.0.1', '--port', String(options.port)],
    ...['--inspector-ip', '127.0.0.1', '--inspector-port', String(options.inspectorPort)],
    ...['--env-file', options.envFile],
    ...['--persist-to', join(options.dir, 'state')],
    '--show-interactive-dev-session=false',
    '--install-skills=false',
  ];
}

const guarded = (args: string[]): string[] => [join(import.meta.dirname, 'group-guard.ts'), process.execPath, ...args];

/** Nothing leaves the machine, and nothing is written into the user's own Wrangler settings. */
function quietEnvironment(dir: string): NodeJS.ProcessEnv {
  return {
    ...environmentForWorker(process.env),
    CI: 'true',
    NO_COLOR: '1',
    WRANGLER_SEND_METRICS: 'false',
    WRANGLER_SEND_ERROR_REPORTS: 'false',
    WRANGLER_HIDE_BANNER: 'true', // the check for updates comes with it
    WRANGLER_WRITE_LOGS: 'false',
    WRANGLER_REGISTRY_PATH: join(dir, 'registry'),
    CLOUDFLARE_CF_FETCH_ENABLED: 'false',
    XDG_CONFIG_HOME: join(dir, 'config'),
  };
}

/** In dotenv's form, which expands `$NAME` inside every kind of quotes. Read by the owner only. */
function writeEnvFile(path: string, env: Record<string, string>): void {
  const lines = Object.entries(env).map(([name, value]) => {
    const quote = ["'", '"', '`'].find((mark) => !value.includes(mark));
    if (quote === undefined || value.includes('\n'))
      throw new StartFailure(`The value of ${name} cannot be passed on.`);
    return `${name}=${quote}${value.replaceAll('$', '\\$')}${quote}\n`;
  });
  rmSync(path, { force: true }); // the mode holds for a new file only
  writeFileSync(path, lines.join(''), { mode: 0o600 });
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

/** Whether anything answers in time, however often it has to be asked. */
async function answersWithin(url: string, limitMs: number, signal: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  while (performance.now() < deadline) {
    try {
      const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(askLimitMs)]) });
      await response.arrayBuffer();
      if (response.ok) return true;
    } catch {
      signal.throwIfAborted();
    }
    await delay(100, undefined, { signal });
  }
  return false;
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
