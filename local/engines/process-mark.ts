import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Names one process for good: the system gives the number alone to another process later. */
export type ProcessMark = { pid: number; startedAt: string };

export function processMark(pid: number): ProcessMark {
  return { pid, startedAt: startOf(pid) ?? '' };
}

export function isRunning(mark: ProcessMark): boolean {
  return startOf(mark.pid) === mark.startedAt;
}

/** A killed process looks dead when its first thread is; it holds its ports and files until its last one is. */
function hasThreads(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).length > 1;
}

/** When the process started, in the system's own words; undefined when there is none, or only its remains. */
function startOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      // Everything up to the last parenthesis is the program's name, which may hold anything.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
      const [state, startTicks] = [fields[0], fields[19]];
      return state === 'X' || (state === 'Z' && !hasThreads(pid)) ? undefined : startTicks;
    } catch {
      return undefined;
    }
  }
  const { stdout } = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' });
  return stdout.trim() || undefined;
}
