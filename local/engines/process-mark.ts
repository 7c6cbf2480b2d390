import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Identifies one process for good: the system reuses the bare process id. */
export type ProcessMark = { pid: number; startedAt: string };

export function processMark(pid: number): ProcessMark {
  return { pid, startedAt: readStartTime(pid) ?? '' };
}

export function isRunning(mark: ProcessMark): boolean {
  return readStartTime(mark.pid) === mark.startedAt;
}

/** A killed process becomes a zombie with its first thread, but keeps ports and files until its last thread has ended. */
function hasThreads(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).length > 1;
}

/** Start time of the process as the system prints it; undefined for a process that has ended. */
function readStartTime(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      // The program's name ends at the last parenthesis and may contain any character.
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
