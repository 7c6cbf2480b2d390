import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineFailure } from './failure.ts';
import { isRunning, type ProcessMark, processMark } from './process-mark.ts';

type LockContent = { nonce: string; holder: ProcessMark; engines: ProcessMark[] };

export type Lock = {
  /** Adds an engine's process: who takes the directory over after us waits until that has ended too. */
  note(pid: number): void;
  release(): void;
};

const lastMomentsMs = 5_000;

/**
 * Takes a data directory for one stack: two on the same files would destroy them. Also takes it from a stack that died
 * without a word, once the last of its engines is gone.
 */
export async function lockDataDir(dataDir: string): Promise<Lock> {
  const file = join(dataDir, 'stack.lock');
  const content: LockContent = { nonce: crypto.randomUUID(), holder: processMark(process.pid), engines: [] };
  while (!create(file, content)) {
    const held = read(file);
    if (held && isRunning(held.holder)) {
      throw new EngineFailure(
        'stack',
        `the data directory ${dataDir} is in use by another running stack (process ${held.holder.pid}). ` +
          'Stop that one, or choose another directory with LOCAL_DATA_DIR (and other ports with LOCAL_PORT_BASE).',
      );
    }
    if (held) await waitForEnd(held.engines, dataDir);
    removeStale(file, held?.nonce);
  }
  return {
    note(pid) {
      content.engines.push(processMark(pid));
      replace(file, content);
    },
    release() {
      if (read(file)?.nonce === content.nonce) rmSync(file, { force: true });
    },
  };
}

async function waitForEnd(engines: ProcessMark[], dataDir: string): Promise<void> {
  const deadline = performance.now() + lastMomentsMs;
  for (;;) {
    const left = engines.filter(isRunning);
    if (left.length === 0) return;
    if (performance.now() > deadline) {
      throw new EngineFailure(
        'stack',
        `the stack that used ${dataDir} has died, but engines of it still run ` +
          `(processes ${left.map((mark) => mark.pid).join(', ')}). End them, then start again.`,
      );
    }
    await delay(20);
  }
}

function create(file: string, content: LockContent): boolean {
  const draft = `${file}.${content.nonce}`;
  writeFileSync(draft, JSON.stringify(content));
  try {
    // Appears complete or not at all: nobody reads half a lock and takes it for a stale one.
    linkSync(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  } finally {
    rmSync(draft, { force: true });
  }
}

function replace(file: string, content: LockContent): void {
  const draft = `${file}.${content.nonce}`;
  writeFileSync(draft, JSON.stringify(content));
  renameSync(draft, file);
}

/** Removes the lock that was looked at, not one that somebody else has made in its place meanwhile. */
function removeStale(file: string, nonce: string | undefined): void {
  const aside = `${file}.${crypto.randomUUID()}`;
  try {
    renameSync(file, aside);
    if (read(aside)?.nonce !== nonce) linkSync(aside, file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function read(file: string): LockContent | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as LockContent;
  } catch {
    return undefined;
  }
}
