import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildWorker } from '../../local/build-worker.ts';
import { freePorts, type Stack } from '../../local/stack.ts';
import { migrate } from '../../src/cli/migrate.ts';
import { type Context, createContext } from '../../src/create-context.ts';
import type { NodeContext } from '../../src/stores/clickhouse/servers.ts';
import { startWorkerProcess } from '../faults/worker-process.ts';
import { startTestStack } from '../test-stack.ts';
import { childOf } from './processes.ts';

export const adminKey = 'local-admin';

/** A Worker in a runtime of its own. */
export type Running = {
  url: string;
  /** Of the runtime. */
  pid: number;
  stop(): Promise<void>;
};

export type WorkerStart = {
  build: string;
  main?: string;
  bindings: Record<string, string>;
  /** For V8, such as a limit of its heap. */
  v8Flags?: string;
};

/** The engines, and Timestore's Worker as it is deployed. */
export type World = {
  stack: Stack;
  env: Record<string, string>;
  build: string;
  ctx: NodeContext<Context>;
  timestore: Running;
  /** Another Worker beside it. */
  start(options: WorkerStart): Promise<Running>;
  stop(): Promise<void>;
};

/** No flush but those that are measured. */
export const quiet = {
  TIMESTORE_TRIGGER_ROWS: '10000000',
  TIMESTORE_TRIGGER_BYTES: '1000000000',
  TIMESTORE_TRIGGER_AGE_MS: '3600000',
};

export const peersDir = join(import.meta.dirname, 'peers');

/** @param overrides environment values of Timestore's Worker */
export async function openWorld(overrides: Record<string, string> = {}, nodes = 1): Promise<World> {
  const dataDir = mkdtempSync(join(tmpdir(), 'timestore-bench-'));
  const build = join(dataDir, 'build');
  const [{ stack, env: own }] = await Promise.all([startTestStack(dataDir, nodes), buildWorker(build)]);
  const env = { ...own, ...overrides };
  const workers = new Set<Running>();
  const start: World['start'] = async ({ v8Flags, ...options }) => {
    const { upstash: port } = await freePorts();
    const worker = await startWorkerProcess(
      { assets: false, ...options, port },
      v8Flags === undefined ? {} : { MINIFLARE_WORKERD_V8_FLAGS: v8Flags },
    );
    const running = {
      url: worker.url,
      pid: childOf(worker.pid()),
      stop: async () => {
        workers.delete(running);
        await worker.kill();
      },
    };
    workers.add(running);
    return running;
  };
  const stop = async () => {
    await Promise.all([...workers].map((worker) => worker.stop()));
    await stack.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
  try {
    await migrate(env);
    return {
      stack,
      env,
      build,
      ctx: { ...createContext(env), shard: 1 },
      timestore: await start({ build, bindings: env }),
      start,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
