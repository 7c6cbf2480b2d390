/**
 * The real engines on one machine, on 127.0.0.1: a ClickHouse, a Redis behind Upstash's REST protocol, a Postgres
 * behind Neon's HTTP protocol, and an S3. Each is a process of its own, and none outlives the process that started it.
 *
 * @module
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { External } from './engines/addresses.ts';
import { clickhouseEngine } from './engines/clickhouse/engine.ts';
import { type Engine, type EngineDefinition, externalEngine, startEngine } from './engines/engine.ts';
import { type EngineName, engineNames } from './engines/failure.ts';
import { lockDataDir } from './engines/lock.ts';
import { planStack, workerEnv } from './engines/plan.ts';
import { type Ports, requireFreePorts } from './engines/ports.ts';
import { postgresEngine } from './engines/postgres/engine.ts';
import { redisEngine } from './engines/redis/engine.ts';
import { s3Engine } from './engines/s3/engine.ts';
import { upstashEngine } from './engines/upstash/engine.ts';

export type { External } from './engines/addresses.ts';
export type { Engine } from './engines/engine.ts';
export { EngineFailure, type EngineName, engineNames } from './engines/failure.ts';
export { freePorts, type Ports, portsFrom } from './engines/ports.ts';

export type Progress = {
  engine: EngineName;
  state: 'starting' | 'ready' | 'external' | 'failed' | 'stopped';
  /** Since this engine's start began. */
  ms: number;
  detail?: string;
};

export type StackOptions = {
  dataDir: string;
  ports: Ports;
  external?: External;
  onProgress?: (event: Progress) => void;
};

export type Stack = {
  /** What the Worker gets as its environment. */
  env: Record<string, string>;
  engines: Record<EngineName, Engine>;
  /** Addresses to show to a person. */
  urls: Record<EngineName | 'neon', string>;
  /** Rejects with an EngineFailure when an engine ends that nobody asked to end. */
  failed: Promise<never>;
  /** Ends all engines, in order. Can be called again. */
  stop(): Promise<void>;
};

/** Starts all engines and resolves when each has answered. Throws one EngineFailure, with nothing left running. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { ports, onProgress } = options;
  const dataDir = resolve(options.dataDir);
  const plan = planStack(ports, options.external ?? {});
  const running = new Map<EngineName, Engine>();
  const givenUp = new AbortController();
  const death = Promise.withResolvers<never>();
  death.promise.catch(() => undefined);

  mkdirSync(join(dataDir, 'logs'), { recursive: true });
  const lock = await lockDataDir(dataDir);
  const logOf = (name: EngineName) => join(dataDir, 'logs', `${name}.log`);

  async function start(name: EngineName, define: () => EngineDefinition): Promise<Engine> {
    const from = performance.now();
    const report = (state: Progress['state'], detail?: string) =>
      onProgress?.({ engine: name, state, ms: Math.round(performance.now() - from), ...(detail && { detail }) });
    const elsewhere = plan.elsewhere[name];
    if (elsewhere !== undefined) {
      report('external', elsewhere);
      return externalEngine(name, elsewhere);
    }
    report('starting');
    try {
      rmSync(logOf(name), { force: true });
      const engine = await startEngine(define(), {
        logFile: logOf(name),
        signal: givenUp.signal,
        onSpawn: lock.note,
        onDeath: death.reject,
      });
      running.set(name, engine);
      report('ready', engine.url);
      return engine;
    } catch (error) {
      // One engine that cannot start is enough: no other is waited for. Their ends follow from this one.
      if (!givenUp.signal.aborted) report('failed', (error as Error).message);
      givenUp.abort();
      throw error;
    }
  }

  async function stop(): Promise<void> {
    // What uses another engine ends first.
    for (const group of [
      ['upstash', 'clickhouse', 'postgres'],
      ['redis', 's3'],
    ] as const) {
      await Promise.all(
        group.map(async (name) => {
          const from = performance.now();
          const engine = running.get(name);
          if (!engine) return;
          await engine.stop();
          onProgress?.({ engine: name, state: 'stopped', ms: Math.round(performance.now() - from) });
        }),
      );
    }
    lock.release();
  }
  let stopping: Promise<void> | undefined;
  const stopOnce = () => {
    stopping ??= stop();
    return stopping;
  };

  try {
    await requireFreePorts(ports, plan.ports);
    const s3 = start('s3', () => s3Engine(dataDir, ports.s3));
    const engines = await allOrFirstFailure({
      s3,
      // Loads its cold parts from S3 when it starts: the one engine that waits for another.
      clickhouse: s3.then(() =>
        start('clickhouse', () =>
          clickhouseEngine({
            dataDir,
            logFile: logOf('clickhouse'),
            httpPort: ports.clickhouseHttp,
            tcpPort: ports.clickhouseTcp,
            s3: plan.s3,
          }),
        ),
      ),
      redis: start('redis', () => redisEngine(dataDir, ports.redis)),
      upstash: start('upstash', () => upstashEngine(ports.upstash, plan.redisUrl)),
      postgres: start('postgres', () =>
        postgresEngine({ dataDir, wirePort: ports.postgres, neonPort: ports.neon, url: plan.postgresUrl }),
      ),
    });
    const urls = Object.fromEntries(engineNames.map((name) => [name, engines[name].url])) as Record<EngineName, string>;
    return {
      env: workerEnv(plan),
      engines,
      urls: { ...urls, neon: plan.neonUrl },
      failed: death.promise,
      stop: stopOnce,
    };
  } catch (error) {
    await stopOnce();
    throw error;
  }
}

/** Waits for every start, so that none is under way any more when the first failure is thrown. */
async function allOrFirstFailure<Starts extends Record<EngineName, Promise<Engine>>>(
  starts: Starts,
): Promise<Record<EngineName, Engine>> {
  let failure: unknown;
  const settled = await Promise.all(
    Object.entries(starts).map(async ([name, start]) => {
      try {
        return [name, await start];
      } catch (error) {
        failure ??= error;
        return [name, undefined];
      }
    }),
  );
  if (failure) throw failure;
  return Object.fromEntries(settled) as Record<EngineName, Engine>;
}
