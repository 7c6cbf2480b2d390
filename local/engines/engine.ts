import { appendFileSync } from 'node:fs';
import { EngineFailure, type EngineName } from './failure.ts';
import { type EngineProcess, type Exit, logTail, spawnEngine } from './process.ts';
import { type Ask, waitUntilReady } from './readiness.ts';

/** One engine of a running stack. */
export type Engine = {
  readonly name: EngineName;
  /** The engine's own process, not that of what watches over it; undefined while it is down or external. */
  readonly pid: number | undefined;
  readonly url: string;
  /** Sends a signal to the real engine: SIGKILL or SIGSTOP for fault tests. */
  kill(signal?: NodeJS.Signals): void;
  /** Starts it again, on the same port and data, when it has ended or been asked to. */
  restart(): Promise<void>;
  stop(): Promise<void>;
};

export type EngineDefinition = {
  name: EngineName;
  url: string;
  /** The program of its process. */
  script: string;
  options: unknown;
  ask: Ask;
  /** Signals go to the whole group, where the engine is more than one process. */
  signalsGroup?: boolean;
};

export type EngineContext = {
  logFile: string;
  /** For its process to be up, and as long again for its first answer. */
  limitMs: number;
  /** Ends a start that is under way. */
  signal: AbortSignal;
  /** Called with the process that leads the engine's group, at each start. */
  onSpawn: (pid: number) => void;
  /** Called when the engine ends and nobody asked for that. */
  onDeath: (failure: EngineFailure) => void;
};

const gracefulLimitMs = 900;
const logLines = 12;

export async function startEngine(definition: EngineDefinition, context: EngineContext): Promise<Engine> {
  const { name, url } = definition;
  const { logFile, limitMs } = context;
  let current: EngineProcess | undefined;
  let endAsked = false;

  async function launch(isSecond = false): Promise<void> {
    endAsked = false;
    const engine = spawnEngine(definition.script, definition.options, logFile);
    current = engine;
    if (engine.pid !== undefined) context.onSpawn(engine.pid);
    const over = new AbortController();
    const death = engine.exited.then((exit) => {
      throw new Error(`its process ended before it was ready (${describeExit(exit)})`);
    });
    try {
      const up = Promise.race([engine.up, deadline(limitMs, over.signal)]);
      const ready = up.then(() => waitUntilReady(definition.ask, limitMs, over.signal));
      await Promise.race([ready, death, aborted(context.signal, over.signal)]);
    } catch (error) {
      endAsked = true;
      engine.signalGroup('SIGKILL');
      if (error instanceof NotUp && !isSecond) {
        // A start without an end and with nothing in its log was seen once, of very many; what held it is not known.
        appendFileSync(logFile, `${name}: ${error.message}, and is started once more\n`);
        await engine.exited;
        return launch(true);
      }
      throw new EngineFailure(name, `could not start: ${(error as Error).message}.${logNote(logFile)}`, {
        cause: error,
      });
    } finally {
      over.abort();
    }
    void engine.exited.then((exit) => {
      if (endAsked || current !== engine) return;
      context.onDeath(
        new EngineFailure(
          name,
          `ended by itself while the stack was running (${describeExit(exit)}). Start the stack again; its data is kept.` +
            logNote(logFile),
        ),
      );
    });
  }

  async function stop(): Promise<void> {
    const engine = current;
    if (engine === undefined) return;
    endAsked = true;
    engine.requestStop();
    // A stopped (SIGSTOP) or stuck engine does not hear the request.
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
      if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') endAsked = true;
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

/** An engine that runs elsewhere: there is nothing here to start, kill or stop. */
export function externalEngine(name: EngineName, url: string): Engine {
  return {
    name,
    url,
    pid: undefined,
    kill() {
      throw new EngineFailure(name, `is external (${url}) and not this stack's to kill.`);
    },
    restart: () => Promise.reject(new EngineFailure(name, `is external (${url}) and not this stack's to restart.`)),
    stop: () => Promise.resolve(),
  };
}

function describeExit({ code, signal }: Exit): string {
  return signal ? `signal ${signal}` : `exit code ${code ?? 'unknown'}`;
}

function logNote(logFile: string): string {
  const tail = logTail(logFile, logLines);
  return tail === '' ? ` Its log ${logFile} is empty.` : ` The end of its log ${logFile}:\n${tail}`;
}

class NotUp extends Error {}

function deadline(limitMs: number, over: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const timer = setTimeout(() => reject(new NotUp(`its process was not up within ${limitMs} ms`)), limitMs);
    over.addEventListener('abort', () => clearTimeout(timer));
  });
}

function aborted(signal: AbortSignal, over: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const refuse = () => reject(new Error('its start was given up'));
    if (signal.aborted) refuse();
    signal.addEventListener('abort', refuse, { signal: over });
  });
}
