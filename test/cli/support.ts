import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
/** As `npm run timestore` starts it. */
const program = ['--import', join(root, 'local', 'text-modules.ts'), join(root, 'src', 'cli', 'main.ts')];

export type Ended = { code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string };

export type Running = {
  ended: Promise<Ended>;
  kill(signal: NodeJS.Signals): void;
  stdin: NodeJS.WritableStream;
  /** Everything on standard output so far. */
  output(): string;
};

/** The command in a process of its own, with a home of its own. */
export function useCli(): {
  start(args: string[], env?: Record<string, string>): Running;
  run(args: string[], env?: Record<string, string>, input?: string | Uint8Array): Promise<Ended>;
  home: string;
} {
  const home = mkdtempSync(join(tmpdir(), 'timestore-cli-'));
  afterAll(() => rmSync(home, { recursive: true, force: true }));
  const start = (args: string[], env: Record<string, string> = {}): Running => {
    const { PATH = '', NODE_COMPILE_CACHE = '' } = process.env;
    const child = spawn(process.execPath, [...program, ...args], {
      cwd: home,
      env: { PATH, NODE_COMPILE_CACHE, HOME: home, XDG_CONFIG_HOME: join(home, 'config'), ...env },
    });
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        said[name] += text;
      });
    }
    child.stdin.on('error', () => undefined);
    const { promise: ended, resolve } = Promise.withResolvers<Ended>();
    child.once('close', (code, signal) => resolve({ code, signal, ...said }));
    return { ended, stdin: child.stdin, kill: (signal) => child.kill(signal), output: () => said.stdout };
  };
  return {
    home,
    start,
    async run(args, env, input) {
      const { ended, stdin } = start(args, env);
      if (input === undefined) stdin.end();
      else stdin.end(input);
      return await ended;
    },
  };
}
