import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { buildWorker } from '../local/build-worker.ts';
import { migrate } from '../src/cli/migrate.ts';
import { startTestStack } from './test-stack.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The environment of a stack that all integration tests share; each uses datasets of its own. */
    env: Record<string, string>;
    /** The folder of the built Worker. */
    build: string;
  }
}

/** One stack on free ports in a temporary folder for the whole run. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const dataDir = mkdtempSync(join(tmpdir(), 'timestore-test-'));
  const build = join(dataDir, 'build');
  // Many processes run the same sources, which are compiled once: half of the time of a short one.
  process.env.NODE_COMPILE_CACHE = join(dataDir, 'compiled');
  const [{ stack, env }] = await Promise.all([startTestStack(dataDir), buildWorker(build)]);
  try {
    await migrate(env);
  } catch (error) {
    await stack.stop();
    throw error;
  }
  project.provide('env', env);
  project.provide('build', build);
  return async () => {
    await stack.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
}
