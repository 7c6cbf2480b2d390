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
import { type NodePorts, type Ports, requireFreePorts } from './engines/ports.ts';
import { postgresEngine } from './engines/postgres/engine.ts';
import { redisEngine } from './engines/redis/engine.ts';
import { s3Engine } from './engines/s3/engine.ts';
import { upstashEngine } from './engines/upstash/engine.ts';

export type { External } from './engines/addresses.ts';
export type { Engine } from './engines/engine.ts';
export { EngineFailure, type EngineName, engineNames } from './engines/failure.ts';
export { freeNodePorts, freePorts, type NodePorts, nodePortsFrom, type Ports, portsFrom } from './engines/ports.ts';

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
  /** The nodes of a ClickHouse cluster, each a shard of its own; the first is the server that there is without it. */
  nodes?: NodePorts[];
  onProgress?: (event: Progress) => void;
};

export type Stack = {
  /** What the Worker gets as its environment. */
  env: Record<string, string>;
  engines: Record<EngineName, Engine>;
  /** All ClickHouse nodes, the first of which is among the engines. */
  nodes: Engine[];
  /** Addresses to show to a person. */
  urls: Record<EngineName | 'neon', string>;
  /** Rejects with an EngineFailure when an engine ends that nobody asked to end. */
  failed: Promise<never>;
  /** Ends all engines, in order. Can be called again. */
  stop(): Promise<void>;
};

const startLimitMs = 30_000;

/** Starts all engines and resolves when each has answered. Throws one EngineFailure, with nothing left running. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { ports, onProgress, nodes = [] } = options;
  const dataDir = resolve(options.dataDir);
  const plan = planStack(ports, options.external ?? {}, nodes);
  const running: [EngineName, Engine][] = [];
  const givenUp = new AbortController();
  const death = Promise.withResolvers<never>();
  death.promise.catch(() => undefined);

  mkdirSync(join(dataDir, 'logs'), { recursive: true });
  const lock = await lockDataDir(dataDir);
  const nodeName = (node: number, name: EngineName = 'clickhouse') => (node === 1 ? name : `${name}-${node}`);
  const logOf = (name: EngineName, node = 1) => join(dataDir, 'logs', `${nodeName(node, name)}.log`);

  async function start(name: EngineName, define: () => EngineDefinition, node = 1): Promise<Engine> {
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
      rmSync(logOf(name, node), { force: true });
      const engine = await startEngine(define(), {
        logFile: logOf(name, node),
        limitMs: startLimitMs,
        signal: givenUp.signal,
        onSpawn: lock.note,
        onDeath: death.reject,
      });
      running.push([name, engine]);
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
        running.map(async ([name, engine]) => {
          const from = performance.now();
          if (!(group as readonly EngineName[]).includes(name)) return;
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
    await requireFreePorts(ports, plan.ports, nodes);
    const s3 = start('s3', () => s3Engine(dataDir, ports.s3));
    const startNode = (node: number) => {
      const { http: httpPort, tcp: tcpPort } = nodes[node - 1] ?? {
        http: ports.clickhouseHttp,
        tcp: ports.clickhouseTcp,
      };
      const logFile = logOf('clickhouse', node);
      const define = () => clickhouseEngine({ dataDir, logFile, httpPort, tcpPort, s3: plan.s3, node, nodes });
      return start('clickhouse', define, node);
    };
    const numbers = Array.from({ length: Math.max(1, nodes.length) }, (_, i) => i + 1);
    const started = await allOrFirstFailure({
      s3,
      // Loads its cold parts from S3 when it starts: the one engine that waits for another.
      ...Object.fromEntries(numbers.map((node) => [nodeName(node), s3.then(() => startNode(node))])),
      redis: start('redis', () => redisEngine(dataDir, ports.redis)),
      upstash: start('upstash', () => upstashEngine(ports.upstash, plan.redisUrl)),
      postgres: start('postgres', () =>
        postgresEngine({ dataDir, wirePort: ports.postgres, neonPort: ports.neon, url: plan.postgresUrl }),
      ),
    });
    const engines = Object.fromEntries(engineNames.map((name) => [name, started.get(name)])) as Record<
      EngineName,
      Engine
    >;
    const clickhouses = numbers.flatMap((node) => started.get(nodeName(node)) ?? []);
    const urls = Object.fromEntries(engineNames.map((name) => [name, engines[name].url])) as Record<EngineName, string>;
    return {
      env: workerEnv(plan),
      engines,
      nodes: clickhouses,
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
async function allOrFirstFailure(starts: Record<string, Promise<Engine>>): Promise<Map<string, Engine>> {
  let failure: unknown;
  const settled = await Promise.all(
    Object.entries(starts).map(async ([name, start]) => {
      try {
        return [[name, await start] as const];
      } catch (error) {
        failure ??= error;
        return [];
      }
    }),
  );
  if (failure) throw failure;
  return new Map(settled.flat());
}
