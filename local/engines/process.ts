import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import type { FromChild, ToChild } from './serve.ts';

export type Exit = { code: number | null; signal: NodeJS.Signals | null };

/** A running engine process as its parent sees it. */
export type EngineProcess = {
  /** The process that leads the engine's group. */
  readonly pid: number | undefined;
  /** The process of the engine itself; undefined until it is up. */
  readonly enginePid: number | undefined;
  /** Resolves when the engine's process has started; rejects with its error message when the start fails. */
  readonly up: Promise<void>;
  readonly exited: Promise<Exit>;
  requestStop(): void;
  signalEngine(signal: NodeJS.Signals): void;
  signalGroup(signal: NodeJS.Signals): void;
};

export function spawnEngine(script: string, options: unknown, logFile: string): EngineProcess {
  const log = openSync(logFile, 'a');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
    // A process group of its own: terminal signals do not reach it, and a signal to the group reaches all its processes.
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
    env: childEnv(),
  });
  closeSync(log);

  let enginePid: number | undefined;
  const exited = new Promise<Exit>((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }));
    child.once('exit', (code, signal) => {
      enginePid = undefined;
      // A child of the engine process must not outlive it.
      signalGroup(child, 'SIGKILL');
      resolve({ code, signal });
    });
  });
  const up = new Promise<void>((resolve, reject) => {
    child.on('message', (message: FromChild) => {
      if ('failure' in message) return reject(new Error(message.failure));
      enginePid = message.pid;
      resolve();
    });
  });
  up.catch(() => undefined);
  send(child, { start: options });

  return {
    pid: child.pid,
    get enginePid() {
      return enginePid;
    },
    up,
    exited,
    requestStop: () => send(child, { stop: true }),
    signalEngine: (signal) => {
      if (enginePid !== undefined) ignoreEnded(() => process.kill(enginePid as number, signal));
    },
    signalGroup: (signal) => signalGroup(child, signal),
  };
}

export function logTail(logFile: string, lines: number): string {
  try {
    const text = readFileSync(logFile, 'utf8');
    // ClickHouse's stack traces have no symbols here, so they are of no use.
    const useful = text.split('\n').filter((line) => line.trim() !== '' && !/^\d+\. \? @ 0x/.test(line));
    return useful.slice(-lines).join('\n');
  } catch {
    return '';
  }
}

/** The environment without Node.js options of the parent, such as inspectors and loaders: they would break engines. */
function childEnv(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _flags, NODE_CHANNEL_FD: _channel, VITEST: _vitest, ...env } = process.env;
  return env;
}

function send(child: ChildProcess, message: ToChild): void {
  if (child.connected) child.send(message, () => undefined);
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  const { pid } = child;
  if (pid !== undefined) ignoreEnded(() => process.kill(-pid, signal));
}

function ignoreEnded(action: () => void): void {
  try {
    action();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
