import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineFailure } from './failure.ts';
import { isRunning, type ProcessMark, processMark } from './process-mark.ts';

type LockContent = { nonce: string; holder: ProcessMark; engines: ProcessMark[] };

export type Lock = {
  /** Records an engine's process. The next holder of the directory waits until that process has ended too. */
  note(pid: number): void;
  release(): void;
};

const endLimitMs = 5_000;

/**
 * Locks a data directory for one stack: two stacks on the same files would destroy them. Also takes over the lock of a
 * stack that was killed, once the last of its engines has ended.
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
          'Stop that stack, or choose another directory with LOCAL_DATA_DIR (and other ports with LOCAL_PORT_BASE).',
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
  const deadline = performance.now() + endLimitMs;
  for (;;) {
    const running = engines.filter(isRunning);
    if (running.length === 0) return;
    if (performance.now() > deadline) {
      throw new EngineFailure(
        'stack',
        `the stack that used ${dataDir} has ended, but some of its engines still run ` +
          `(processes ${running.map((mark) => mark.pid).join(', ')}). End them, then start again.`,
      );
    }
    await delay(20);
  }
}

function create(file: string, content: LockContent): boolean {
  const draft = `${file}.${content.nonce}`;
  writeFileSync(draft, JSON.stringify(content));
  try {
    // The file appears complete or not at all, so no process takes a partly written lock for a stale one.
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

/** Removes the lock with this nonce, but not a newer lock of another process. */
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
