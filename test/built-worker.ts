import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inject } from 'vitest';
import { buildWorker } from '../local/build-worker.ts';

/**
 * The folder of the built Worker. The first file of a run that needs the Worker builds it; the files in other processes
 * wait for that, and a run without such a file builds nothing.
 */
export async function builtWorker(): Promise<string> {
  const build = inject('buildFolder');
  const result = `${build}.result`;
  if (isFirst(`${build}.lock`)) {
    const error = await buildWorker(build).then(
      () => '',
      (failure: Error) => failure.message,
    );
    writeFileSync(result, error, { flush: true });
  }
  while (!existsSync(result)) await delay(50);
  const error = readFileSync(result, 'utf8');
  if (error !== '') throw new Error(error);
  return build;
}

function isFirst(lock: string): boolean {
  mkdirSync(dirname(lock), { recursive: true });
  try {
    mkdirSync(lock);
    return true;
  } catch {
    return false;
  }
}
