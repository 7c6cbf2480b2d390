import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TestProject } from 'vitest/node';
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

/** As it is deployed. */
export async function buildWorker(outDir: string): Promise<void> {
  const root = join(import.meta.dirname, '..');
  const wrangler = join(root, 'node_modules', 'wrangler', 'bin', 'wrangler.js');
  const settings = {
    WRANGLER_SEND_METRICS: 'false',
    WRANGLER_WRITE_LOGS: 'false',
    WRANGLER_HIDE_BANNER: 'true',
    CI: 'true',
  };
  await promisify(execFile)(process.execPath, [wrangler, 'deploy', '--dry-run', '--outdir', outDir], {
    cwd: root,
    env: { ...process.env, ...settings },
  });
}
