import { appendFileSync } from 'node:fs';
import { EngineFailure, type EngineName } from './failure.ts';
import { type EngineProcess, type Exit, logTail, spawnEngine } from './process.ts';
import { type Probe, waitUntilReady } from './readiness.ts';

/** One engine of a running stack. */
export type Engine = {
  readonly name: EngineName;
  /** The engine's own process, not the process that started it; undefined while it is down or external. */
  readonly pid: number | undefined;
  readonly url: string;
  /** Sends a signal to the real engine: SIGKILL or SIGSTOP for fault tests. */
  kill(signal?: NodeJS.Signals): void;
  /** Stops the engine if it runs, and starts it on the same port and data. */
  restart(): Promise<void>;
  stop(): Promise<void>;
};

export type EngineDefinition = {
  name: EngineName;
  url: string;
  /** The program of its process. */
  script: string;
  options: unknown;
  probe: Probe;
  /** Signals go to the whole group: set for an engine of several processes. */
  signalsGroup?: boolean;
};

export type EngineContext = {
  logFile: string;
  /** Time limit for the process to be up, and again for its first answer. */
  limitMs: number;
  /** Aborts a start in progress. */
  signal: AbortSignal;
  /** Called with the process that leads the engine's group, at each start. */
  onSpawn: (pid: number) => void;
  /** Called when the engine ends unexpectedly. */
  onDeath: (failure: EngineFailure) => void;
};

const gracefulLimitMs = 900;
const logLines = 12;

export async function startEngine(definition: EngineDefinition, context: EngineContext): Promise<Engine> {
  const { name, url } = definition;
  const { logFile, limitMs } = context;
  let current: EngineProcess | undefined;
  let isEndRequested = false;

  async function launch(isSecond = false): Promise<void> {
    isEndRequested = false;
    const engine = spawnEngine(definition.script, definition.options, logFile);
    current = engine;
    if (engine.pid !== undefined) context.onSpawn(engine.pid);
    const settled = new AbortController();
    const death = engine.exited.then((exit) => {
      throw new Error(`its process ended before it was ready (${describeExit(exit)})`);
    });
    try {
      const up = Promise.race([engine.up, rejectAfter(limitMs, settled.signal)]);
      const ready = up.then(() => waitUntilReady(definition.probe, limitMs, settled.signal));
      await Promise.race([ready, death, rejectOnAbort(context.signal, settled.signal)]);
    } catch (error) {
      isEndRequested = true;
      engine.signalGroup('SIGKILL');
      if (error instanceof NotUp && !isSecond) {
        // Very rarely a start hangs with an empty log. The cause is unknown, so the engine is started a second time.
        appendFileSync(logFile, `${name}: ${error.message}. It is started again.\n`);
        await engine.exited;
        return launch(true);
      }
      throw new EngineFailure(name, `could not start: ${(error as Error).message}.${logNote(logFile)}`, {
        cause: error,
      });
    } finally {
      settled.abort();
    }
    void engine.exited.then((exit) => {
      if (isEndRequested || current !== engine) return;
      context.onDeath(
        new EngineFailure(
          name,
          `ended unexpectedly while the stack was running (${describeExit(exit)}). Start the stack again; its data is kept.` +
            logNote(logFile),
        ),
      );
    });
  }

  async function stop(): Promise<void> {
    const engine = current;
    if (engine === undefined) return;
    isEndRequested = true;
    engine.requestStop();
    // An engine that is suspended (SIGSTOP) or hangs does not handle the request.
    const timer = setTimeout(() => engine.signalGroup('SIGKILL'), gracefulLimitMs);
    await engine.exited;
    clearTimeout(timer);
  }

  await launch();
  return {
    name,
    url,
    get pid() {
      return current?.enginePid;
    },
    kill(signal = 'SIGKILL') {
      if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') isEndRequested = true;
      if (definition.signalsGroup) current?.signalGroup(signal);
      else current?.signalEngine(signal);
    },
    async restart() {
      await stop();
      await launch();
    },
    stop,
  };
}

/** An external engine: the stack does not start, kill or stop it. */
export function externalEngine(name: EngineName, url: string): Engine {
  return {
    name,
    url,
    pid: undefined,
    kill() {
      throw new EngineFailure(name, `is external (${url}): this stack cannot kill it.`);
    },
    restart: () => Promise.reject(new EngineFailure(name, `is external (${url}): this stack cannot restart it.`)),
    stop: () => Promise.resolve(),
  };
}

function describeExit({ code, signal }: Exit): string {
  return signal ? `signal ${signal}` : `exit code ${code ?? 'unknown'}`;
}

function logNote(logFile: string): string {
  const tail = logTail(logFile, logLines);
  return tail === '' ? ` Its log ${logFile} is empty.` : ` Last lines of its log ${logFile}:\n${tail}`;
}

class NotUp extends Error {}

function rejectAfter(limitMs: number, settled: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const timer = setTimeout(() => reject(new NotUp(`its process was not up within ${limitMs} ms`)), limitMs);
    settled.addEventListener('abort', () => clearTimeout(timer));
  });
}

function rejectOnAbort(signal: AbortSignal, settled: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(new Error('its start was aborted'));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { signal: settled });
  });
}
