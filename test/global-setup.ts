import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { migrate } from '../local/migrate.ts';
import { freePorts, startStack } from '../local/stack.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The environment of a stack that all integration tests share; each uses datasets of its own. */
    env: Record<string, string>;
  }
}

/** One stack on free ports in a temporary folder for the whole run. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const dataDir = mkdtempSync(join(tmpdir(), 'timestore-test-'));
  const stack = await startStack({ dataDir, ports: await freePorts() });
  const env = { ...stack.env, TIMESTORE_ADMIN_KEY: 'local-admin', TIMESTORE_LOCAL: 'true' };
  try {
    await migrate(env);
  } catch (error) {
    await stack.stop();
    throw error;
  }
  project.provide('env', env);
  return async () => {
    await stack.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
}
