import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './program.ts';

const burstMs = 500;

/** The program as a process: its streams, signals and exit code. */
export async function main(): Promise<void> {
  const ending = new AbortController();
  let firstAt: number | undefined;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.on(signal, () => {
      // A terminal's Ctrl-C comes once more from each program above that passes it on.
      if (firstAt !== undefined && performance.now() - firstAt < burstMs) return;
      if (firstAt !== undefined) process.exit(code);
      firstAt = performance.now();
      ending.abort();
    });
  }
  // Who reads has had enough, as `head` has.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    process.stderr.write(`The answer cannot be written: ${error.message}\n`);
    process.exit(1);
  });
  process.stderr.on('error', () => undefined);
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  const { stdin, stdout, stderr, env } = process;
  const code = await run(process.argv.slice(2), version, { stdin, stdout, stderr, env, signal: ending.signal });
  process.exitCode = code;
  // A pipe that nobody reads any more would keep this process.
  stdin.destroy();
}
