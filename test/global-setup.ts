import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { migrate } from '../src/cli/migrate.ts';
import { useKeptEngines } from './kept-engines.ts';
import { startTestStack } from './test-stack.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The environment of a stack that all tests of a run share; each uses datasets of its own. */
    env: Record<string, string>;
  }
}

type Shared = { env: Record<string, string>; stop(): Promise<void> };

/** Each project loads this file by itself: what the projects share is kept where all of them find it. */
const run = globalThis as { sharedStack?: Promise<Shared>; sharedStackUsers?: number };

/** One stack on free ports in a temporary folder, or the kept one, for the whole run. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  run.sharedStack ??= start();
  run.sharedStackUsers = (run.sharedStackUsers ?? 0) + 1;
  const { env, stop } = await run.sharedStack;
  project.provide('env', env);
  return async () => {
    run.sharedStackUsers = (run.sharedStackUsers ?? 0) - 1;
    if (run.sharedStackUsers === 0) await stop();
  };
}

async function start(): Promise<Shared> {
  // Of a program that has started and emptied engines for this run.
  const { TEST_ENGINES_ENV: given } = process.env;
  if (given !== undefined) return { env: JSON.parse(given) as Record<string, string>, stop: () => Promise.resolve() };
  const kept = await useKeptEngines();
  if (kept !== undefined) return kept;
  const dataDir = mkdtempSync(join(tmpdir(), 'timestore-test-'));
  const { stack, env } = await startTestStack(dataDir);
  const stop = async () => {
    await stack.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
  try {
    await migrate(env);
  } catch (error) {
    await stop();
    throw error;
  }
  return { env, stop };
}
