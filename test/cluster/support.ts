import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import type { Stack } from '../../local/stack.ts';
import { migrate } from '../../src/cli/migrate.ts';
import type { Event } from '../../src/core/log.ts';
import { createContext } from '../../src/create-context.ts';
import type { Instance } from '../integration/support.ts';
import { startTestStack } from '../test-stack.ts';

/**
 * Three ClickHouse nodes of a test file's own, which it may stop.
 *
 * @param isMigrated whether it is brought to this version as a cluster at once
 */
export function useCluster(isMigrated = true) {
  const dataDir = mkdtempSync(join(tmpdir(), 'timestore-cluster-'));
  let stack: Stack;
  let env: Record<string, string>;
  beforeAll(async () => {
    ({ stack, env } = await startTestStack(dataDir, 3));
    if (isMigrated) await migrate(env);
  });
  afterAll(async () => {
    await stack?.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });
  return {
    dataDir,
    env: () => env,
    stack: () => stack,
    /** An instance of the functions, as another isolate would be. Tables that it makes have a lane on each shard. */
    instance(overrides: Record<string, string> = {}): Instance {
      const events: Event[] = [];
      const context = createContext({ ...env, TIMESTORE_LANES_DEFAULT: '3', ...overrides });
      return { ...context, log: (event) => events.push(event), events };
    },
    /** Has nodes down while something is done, and up again afterwards. */
    async without<T>(shards: number[], work: () => Promise<T>): Promise<T> {
      const nodes = shards.flatMap((shard) => stack.nodes[shard - 1] ?? []);
      for (const node of nodes) node.kill('SIGKILL');
      try {
        return await work();
      } finally {
        for (const node of nodes) await node.restart();
      }
    },
  };
}
