/**
 * Runs a fault test for longer than `npm test` does.
 *
 *   npm run test:faults -- --runs 2000 [--seed N]     random interleavings
 *   npm run test:crashes -- --seconds 600             stores killed again and again
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '1000' },
    seed: { type: 'string' },
    seconds: { type: 'string', default: '60' },
  },
});
const root = join(import.meta.dirname, '..', '..');
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
const child = spawn(process.execPath, [vitest, 'run', `test/faults/${positionals[0] ?? 'interleavings'}`], {
  cwd: root,
  env: {
    ...process.env,
    ...{ FAULT_RUNS: values.runs, FAULT_SECONDS: values.seconds },
    ...(values.seed !== undefined && { FAULT_SEED: values.seed }),
  },
  stdio: 'inherit',
});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
