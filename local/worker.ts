/**
 * The Worker under `wrangler dev`: the real code in the real runtime, on this machine.
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { logTail } from './engines/process.ts';
import { reasonOf, StartFailure } from './failure.ts';
import { environmentForWorker, root } from './options.ts';

export type WorkerOptions = {
  port: number;
  inspectorPort: number;
  /** A folder of its own for the state, the settings and the log. */
  dir: string;
  env: Record<string, string>;
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
export function startWorker({ port, inspectorPort, dir, env }: WorkerOptions): Worker {
  mkdirSync(dir, { recursive: true });
  const logFile = join(dir, 'worker.log');
  const envFile = join(dir, 'env');
  writeEnvFile(envFile, env);
  const log = openSync(logFile, 'w');
  const child = spawn(process.execPath, guarded(wranglerDev({ port, inspectorPort, dir, envFile })), {
    cwd: root,
    env: quietEnvironment(dir),
    stdio: ['ignore', log, log, 'ipc'],
    detached: true,
  });
  closeSync(log);

  let isStopping = false;
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      endGroup(child.pid); // also when it was the guard that died
      resolve();
    });
    child.once('error', () => resolve());
  });
  const failed = exited.then<never>(() => {
    if (isStopping) return new Promise<never>(() => undefined);
    throw new StartFailure(
      `The Worker (wrangler dev) ended by itself. Start again; the data is kept. The end of its log ${logFile}:\n` +
        logTail(logFile, logLines),
    );
  });
  failed.catch(() => undefined);

  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    logFile,
    failed,
    answering: (signal) => Promise.race([untilAnswer(`${url}/health`, logFile, signal), failed]),
    async stop() {
      isStopping = true;
      if (child.connected) child.send('stop');
      await exited;
    },
  };
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

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
