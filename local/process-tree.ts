import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

type Listed = { pid: number; parent: number; program: string };

/** Process ids of a program among the direct and indirect child processes of `ancestor`. */
export function descendants(ancestor: number, program: string): number[] {
  const all = listProcesses();
  const found: number[] = [];
  const collect = (pid: number): void => {
    for (const each of all) {
      if (each.parent !== pid) continue;
      if (each.program === program) found.push(each.pid);
      collect(each.pid);
    }
  };
  collect(ancestor);
  return found;
}

/** All running processes, without zombies. */
function listProcesses(): Listed[] {
  if (process.platform !== 'linux') {
    const lines = execFileSync('ps', ['-axo', 'pid=,ppid=,state=,comm='], { encoding: 'utf8' }).trim().split('\n');
    return lines.flatMap((line) => {
      const [, pid, parent, state = '', path = ''] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
      return state.startsWith('Z')
        ? []
        : [{ pid: Number(pid), parent: Number(parent), program: path.split('/').at(-1) ?? '' }];
    });
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        // The program's name is in parentheses and may contain any character; state and parent follow.
        const [, program = '', state, parent] =
          /^\d+ \((.*)\) (.) (\d+) /s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
        return state === 'Z' || state === 'X' ? [] : [{ pid: Number(pid), parent: Number(parent), program }];
      } catch {
        return []; // the process has ended since
      }
    });
}
