import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { portsFetchRefuses } from '../../local/engines/ports.ts';
import { until } from '../local/support.ts';

const root = join(import.meta.dirname, '..', '..');
const stopLimitMs = 30_000;

/** The folder and the ports of one start command, as environment values. */
export type Place = { dataDir: string; port: number; base: number; env: Record<string, string> };

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** A new folder and free ports. Processes that still run there after the test are ended. */
export async function newPlace(): Promise<Place> {
  const parent = mkdtempSync(join(tmpdir(), 'timestore-start-'));
  const dataDir = join(parent, 'data');
  const base = await freeBase();
  // After those of three nodes.
  const port = base + 17;
  cleanups.push(async () => {
    endGroups(processesOf(dataDir));
    await until('nothing runs in the folder', () => processesOf(dataDir).length === 0, stopLimitMs);
    rmSync(parent, { recursive: true, force: true });
  });
  const env = {
    LOCAL_DATA_DIR: dataDir,
    LOCAL_PORT_BASE: String(base),
    PORT: String(port),
    LOCAL_COLLECT_SECONDS: '1',
  };
  return { dataDir, port, base, env };
}

export type Command = {
  child: ChildProcess;
  pid: number;
  /** Everything printed so far, both streams. */
  output(): string;
  /** Waits until the output matches; fails with the output when the command ends before. */
  prints(pattern: RegExp): Promise<void>;
  ended: Promise<number | string>;
};

/** Runs a script of package.json as npm does, in a process group of its own. */
export function run(script: string, env: Record<string, string>, args: string[] = []): Command {
  const child = spawn(process.execPath, ['local/bootstrap.mjs', `local/${script}.ts`, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      printed += chunk;
    });
  }
  let isOver = false;
  const ended = new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => {
      isOver = true;
      resolve(code ?? signal ?? 'unknown');
    });
  });
  return {
    child,
    pid: child.pid ?? 0,
    output: () => printed,
    ended,
    async prints(pattern) {
      await until(
        `the output matches ${pattern}`,
        () => {
          if (pattern.test(printed)) return true;
          if (isOver) throw new Error(`the command ended without ${pattern}:\n${printed}`);
          return false;
        },
        240_000,
      );
    },
  };
}

/**
 * Processes that were started for a folder, whoever their parent is now: they have it in their environment, or, those
 * that write their title over it (Redis), as their working folder.
 */
export function processesOf(dataDir: string): number[] {
  const marker = `LOCAL_DATA_DIR=${dataDir}\0`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        if (/^Z/.test(statOf(pid)[0] ?? '')) return false;
        return (
          readFileSync(`/proc/${pid}/environ`, 'utf8').includes(marker) ||
          readlinkSync(`/proc/${pid}/cwd`).startsWith(dataDir)
        );
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** State, parent and group: what stands after the name, which may hold anything. */
function statOf(pid: number | string): string[] {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
}

/** Ends whole groups: a watcher that is ended alone leaves what it watches. */
function endGroups(pids: number[]): void {
  for (const pid of pids) {
    try {
      endProcess(-Number(statOf(pid)[2]));
    } catch {
      // It has ended by itself.
    }
  }
}

/** A process of a folder by what its command line says. */
export function processOf(dataDir: string, pattern: RegExp): number {
  const found = processesOf(dataDir).find((pid) => pattern.test(commandLine(pid)));
  if (found === undefined) throw new Error(`no process of ${dataDir} matches ${pattern}`);
  return found;
}

export function commandLine(pid: number): string {
  return existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '';
}

export function endProcess(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Nothing of a start is left: no process, no listener. */
export async function expectNothingLeft({ dataDir, base, port }: Place): Promise<void> {
  await until('no process is left', () => processesOf(dataDir).length === 0, stopLimitMs);
  const ports = Array.from({ length: port - base + 1 }, (_, n) => base + n);
  // A killed process is out of the list before the last of its threads lets go of its ports.
  await until(
    `nothing listens on the ports ${base} to ${port}`,
    async () => !(await Promise.all(ports.map(isListening))).includes(true),
  );
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** What was given out and does not listen yet. */
const given = new Set<number>();

/** The first of eighteen consecutive ports without a listener. */
async function freeBase(): Promise<number> {
  for (;;) {
    // Below those that other tests beside this one take for their engines, in turn with the other process of these tests.
    const turn = Number(process.env.VITEST_POOL_ID ?? 0) % 2;
    const base = 2_000 + 18 * (2 * Math.floor(Math.random() * 215) + turn);
    const ports = Array.from({ length: 18 }, (_, n) => base + n);
    if (given.has(base) || ports.some((each) => portsFetchRefuses.has(each))) continue;
    given.add(base);
    if (!(await Promise.all(ports.map(isListening))).includes(true)) return base;
  }
}

/** Calls the Worker of a place. */
export async function call<Body>(
  { port }: Place,
  path: string,
  json?: unknown,
): Promise<{ status: number; body: Body }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    headers: { authorization: 'Bearer local-admin', 'content-type': 'application/json' },
    ...(json !== undefined && { method: 'POST', body: JSON.stringify(json) }),
  });
  return { status: response.status, body: (await response.json()) as Body };
}

/** How many rows of this machine a query finds. */
export async function metricRows(place: Place): Promise<number> {
  const { body } = await call<{ rows: unknown[] }>(place, '/v1/datasets/machine/query', {
    tableName: 'metrics',
    columns: ['timestamp'],
    limit: 100_000,
  });
  return body.rows.length;
}
