import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The folder for the built Worker: see built-worker.ts. */
    buildFolder: string;
  }
}

/** A temporary folder of a run, whichever projects are in it. */
export default function setUp(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'timestore-run-'));
  // Many processes run the same sources. Compiled once, a short process takes half of its time.
  process.env.NODE_COMPILE_CACHE = join(folder, 'compiled');
  project.provide('buildFolder', join(folder, 'build'));
  return () => rmSync(folder, { recursive: true, force: true });
}
