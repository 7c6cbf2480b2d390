import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

type Listed = { pid: number; parent: number; program: string };

/** The processes of a program among all that a process has started, directly or through others. */
export function descendants(ancestor: number, program: string): number[] {
  const all = processes();
  const found: number[] = [];
  const beneath = (pid: number): void => {
    for (const each of all) {
      if (each.parent !== pid) continue;
      if (each.program === program) found.push(each.pid);
      beneath(each.pid);
    }
  };
  beneath(ancestor);
  return found;
}

/** Those that run; one that has ended and waits for its parent is none. */
function processes(): Listed[] {
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
        // The program's name, which may hold anything, stands in parentheses; then state and parent.
        const [, program = '', state, parent] =
          /^\d+ \((.*)\) (.) (\d+) /s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
        return state === 'Z' || state === 'X' ? [] : [{ pid: Number(pid), parent: Number(parent), program }];
      } catch {
        return []; // it has ended meanwhile
      }
    });
}
