import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './program.ts';

const repeatedSignal_ms = 500;

/** Runs the program with the streams, signals and exit code of this process. */
export async function main(): Promise<void> {
  const ending = new AbortController();
  let firstAt: number | undefined;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.on(signal, () => {
      // Wrappers such as npx forward the Ctrl-C that the terminal has already sent.
      if (firstAt !== undefined && performance.now() - firstAt < repeatedSignal_ms) return;
      if (firstAt !== undefined) process.exit(code);
      firstAt = performance.now();
      ending.abort();
    });
  }
  // A reader such as `head` may close the pipe early.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    process.stderr.write(`Standard output failed: ${error.message}\n`);
    process.exit(1);
  });
  process.stderr.on('error', () => undefined);
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  const { stdin, stdout, stderr, env } = process;
  const code = await run(process.argv.slice(2), version, { stdin, stdout, stderr, env, signal: ending.signal });
  process.exitCode = code;
  // An open standard input would keep the process running.
  stdin.destroy();
}
