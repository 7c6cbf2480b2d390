/**
 * Runs tests of one ClickHouse server on a cluster of three, as they are: `npm run test:cluster [-- paths]`.
 *
 * Tables have one lane, as by default, and are on any of the shards; tests that change the lanes spread them.
 *
 * @module
 */
import { runVitest } from '../run-vitest.ts';

const tested = [
  ...['flush', 'ingest', 'query', 'quarantine', 'audit'].map((name) => `test/integration/${name}`),
  ...['export', 'import', 'backup', 'compare', 'change-rows'].map((name) => `test/integration/jobs/${name}.test.ts`),
  'test/faults',
];
const paths = process.argv.slice(2);
process.exitCode = await runVitest(paths.length === 0 ? tested : paths, { TEST_NODES: '3' });
