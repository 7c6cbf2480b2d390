/**
 * `npm run check`: types; lint, format and layering; dead code. All run at the same time.
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';

const bin = join(import.meta.dirname, '..', 'node_modules', '.bin');

const checks = [
  { name: 'types', command: 'tsc', args: [] },
  { name: 'lint, format, layering', command: 'biome', args: ['check', '--error-on-warnings', '.'] },
  { name: 'dead code', command: 'knip', args: ['--no-progress'] },
];

const results = await Promise.all(checks.map(run));
process.exitCode = results.every((ok) => ok) ? 0 : 1;

function run({ name, command, args }: (typeof checks)[number]): Promise<boolean> {
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const child = spawn(join(bin, command), args, { cwd: join(import.meta.dirname, '..') });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output += chunk;
      });
    }
    child.on('error', (error) => {
      output += error.message;
    });
    child.on('close', (code) => {
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      console.log(`${code === 0 ? '✔' : '✘'} ${name} (${seconds} s)${code === 0 ? '' : `\n${output.trimEnd()}\n`}`);
      resolve(code === 0);
    });
  });
}
