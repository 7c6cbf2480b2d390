/**
 * The real engines on one machine, on 127.0.0.1: a ClickHouse, a Redis behind Upstash's REST protocol, a Postgres
 * behind Neon's HTTP protocol, and an S3. Each is a process of its own that ends with the process that started it.
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
  /** Time since this engine's start (or stop) began. */
  ms: number;
  detail?: string;
};

export type StackOptions = {
  dataDir: string;
  ports: Ports;
  external?: External;
  /** The nodes of a ClickHouse cluster, one shard each; the first has the ports of a single server. */
  nodes?: NodePorts[];
  onProgress?: (event: Progress) => void;
};

export type Stack = {
  /** Environment variables of the Worker. */
  env: Record<string, string>;
  engines: Record<EngineName, Engine>;
  /** All ClickHouse nodes; the first is also among the engines. */
  nodes: Engine[];
  /** Addresses to show to a person. */
  urls: Record<EngineName | 'neon', string>;
  /** Rejects with an EngineFailure when an engine ends unexpectedly. */
  failed: Promise<never>;
  /** Stops all engines, in order. Can be called again. */
  stop(): Promise<void>;
};

const startLimitMs = 30_000;

/** Starts all engines and resolves when each has answered. After a failure it stops all engines and throws one EngineFailure. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { ports, onProgress, nodes = [] } = options;
  const dataDir = resolve(options.dataDir);
  const plan = planStack(ports, options.external ?? {}, nodes);
  const running: [EngineName, Engine][] = [];
  const startAbort = new AbortController();
  const death = Promise.withResolvers<never>();
  death.promise.catch(() => undefined);

  mkdirSync(join(dataDir, 'logs'), { recursive: true });
  const lock = await lockDataDir(dataDir);
  const nodeName = (node: number, name: EngineName = 'clickhouse') => (node === 1 ? name : `${name}-${node}`);
  const logFileFor = (name: EngineName, node = 1) => join(dataDir, 'logs', `${nodeName(node, name)}.log`);

  async function start(name: EngineName, define: () => EngineDefinition, node = 1): Promise<Engine> {
    const startedAt = performance.now();
    const report = (state: Progress['state'], detail?: string) =>
      onProgress?.({ engine: name, state, ms: Math.round(performance.now() - startedAt), ...(detail && { detail }) });
    const externalUrl = plan.externalUrls[name];
    if (externalUrl !== undefined) {
      report('external', externalUrl);
      return externalEngine(name, externalUrl);
    }
    report('starting');
    try {
      rmSync(logFileFor(name, node), { force: true });
      const engine = await startEngine(define(), {
        logFile: logFileFor(name, node),
        limitMs: startLimitMs,
        signal: startAbort.signal,
        onSpawn: lock.note,
        onDeath: death.reject,
      });
      running.push([name, engine]);
      report('ready', engine.url);
      return engine;
    } catch (error) {
      // The first failure aborts all other starts; their failures are not reported.
      if (!startAbort.signal.aborted) report('failed', (error as Error).message);
      startAbort.abort();
      throw error;
    }
  }

  async function stop(): Promise<void> {
    // Engines that use another engine stop first.
    for (const group of [
      ['upstash', 'clickhouse', 'postgres'],
      ['redis', 's3'],
    ] as const) {
      await Promise.all(
        running.map(async ([name, engine]) => {
          const startedAt = performance.now();
          if (!(group as readonly EngineName[]).includes(name)) return;
          await engine.stop();
          onProgress?.({ engine: name, state: 'stopped', ms: Math.round(performance.now() - startedAt) });
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
      const logFile = logFileFor('clickhouse', node);
      const define = () => clickhouseEngine({ dataDir, logFile, httpPort, tcpPort, s3: plan.s3, node, nodes });
      return start('clickhouse', define, node);
    };
    const numbers = Array.from({ length: Math.max(1, nodes.length) }, (_, i) => i + 1);
    const started = await allOrFirstFailure({
      s3,
      // ClickHouse loads its cold parts from S3 when it starts, so it waits for S3.
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

/** Waits until every start has ended, then throws the first failure. */
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
