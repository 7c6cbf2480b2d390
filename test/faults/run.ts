/**
 * Runs the random interleavings, as many as asked for.
 *
 *   npm run test:faults -- --runs 2000 [--seed N]
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { runs: { type: 'string', default: '1000' }, seed: { type: 'string' } } });
const root = join(import.meta.dirname, '..', '..');
const vitest = spawn(
  process.execPath,
  [join(root, 'node_modules/vitest/vitest.mjs'), 'run', 'test/faults/interleavings'],
  {
    cwd: root,
    env: { ...process.env, FAULT_RUNS: values.runs, ...(values.seed !== undefined && { FAULT_SEED: values.seed }) },
    stdio: 'inherit',
  },
);
vitest.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
