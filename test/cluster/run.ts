/**
 * Runs tests of one ClickHouse server on a cluster of three, as they are: `npm run test:cluster [-- paths]`.
 *
 * Tables have one lane, as by default, and are on any of the shards; tests that change the lanes spread them.
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';

const tested = [
  ...['flush', 'ingest', 'query', 'quarantine', 'audit'].map((name) => `test/integration/${name}`),
  ...['export', 'import', 'backup', 'compare', 'change-rows'].map((name) => `test/integration/jobs/${name}.test.ts`),
  'test/faults',
];
const root = join(import.meta.dirname, '..', '..');
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
const paths = process.argv.slice(2);
const child = spawn(process.execPath, [vitest, 'run', ...(paths.length === 0 ? tested : paths)], {
  cwd: root,
  env: { ...process.env, TEST_NODES: '3' },
  stdio: 'inherit',
});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
