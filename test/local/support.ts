import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll } from 'vitest';
import { freePorts, type Stack, type StackOptions, startStack } from '../../local/stack.ts';

/** A new directory that is gone after the file's tests. */
export function useTempDir(): () => string {
  let dir = '';
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'timestore-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  return () => dir;
}

/** One stack for all tests of a file, on free ports and a directory of its own. */
export function useStack(options: Partial<StackOptions> = {}): () => Stack {
  const dir = useTempDir();
  let stack: Stack | undefined;
  beforeAll(async () => {
    stack = await startStack({ dataDir: dir(), ports: await freePorts(), ...options });
  });
  afterAll(() => stack?.stop());
  return () => {
    if (!stack) throw new Error('the stack is not up');
    return stack;
  };
}

/** Waits for a condition, asked again and again, and fails by its name when it does not come true. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, limitMs = 60_000): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}`);
    await delay(10);
  }
}

/** Whether the process runs; one that has ended and waits to be collected does not. */
export function isAlive(pid: number): boolean {
  return processes().some((process) => process.pid === pid);
}

/** Whether any process of the group runs: also what its leader has started. */
export function isGroupAlive(leader: number): boolean {
  return processes().some((process) => process.group === leader);
}

export function parentOf(pid: number): number {
  const found = listing().find((each) => each.pid === pid);
  if (found === undefined) throw new Error(`there is no process ${pid}`);
  return found.parent;
}

function processes(): { pid: number; group: number }[] {
  return listing().filter(({ state }) => !/^[ZX]/.test(state));
}

function listing(): { pid: number; parent: number; group: number; state: string }[] {
  if (process.platform !== 'linux') {
    const lines = execFileSync('ps', ['-axo', 'pid=,ppid=,pgid=,stat='], { encoding: 'utf8' }).trim().split('\n');
    return lines.map((line) => {
      const [pid = '', parent = '', group = '', state = ''] = line.trim().split(/\s+/);
      return { pid: Number(pid), parent: Number(parent), group: Number(group), state };
    });
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        // After the name, which may hold anything: state, parent, group.
        const [state = '', parent, group] =
          readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
        return [{ pid: Number(pid), parent: Number(parent), group: Number(group), state }];
      } catch {
        return [];
      }
    });
}
