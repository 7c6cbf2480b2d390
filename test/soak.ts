/**
 * Runs tests that `npm test` has in a short form, for longer: `npm run test:soak -- <names> [options]`.
 *
 * @module
 */
import { parseArgs } from 'node:util';
import { runVitest } from './run-vitest.ts';

type Option = 'runs' | 'seed' | 'seconds' | 'rounds' | 'rows' | 'kills' | 'probes' | 'ops';

const soaks: Record<string, { files: string[]; options: Option[]; text: string }> = {
  interleavings: {
    files: ['faults/interleavings', 'faults/losses'],
    options: ['runs', 'seed'],
    text: 'random interleavings of writes, flushes, faults and queries, without and with failovers and deletions',
  },
  crashes: {
    files: ['faults/real-crashes'],
    options: ['seconds'],
    text: 'ClickHouse, Redis and the Worker killed again and again under load',
  },
  kills: {
    files: ['faults/killed-between'],
    options: ['rounds'],
    text: 'ClickHouse killed between its log of tokens and the rows',
  },
  points: {
    files: [
      'faults/crash-points',
      'faults/killed-import',
      'faults/killed-export',
      'integration/migration/mirror',
      'integration/jobs/export.test',
    ],
    options: [],
    text: 'every call to a store with every kind of fault',
  },
  ingest: {
    files: ['faults/killed-ingest'],
    options: ['rows', 'kills'],
    text: 'a file whose load is killed again and again',
  },
  reads: {
    files: ['faults/read-your-writes', 'faults/one-cut'],
    options: ['probes', 'seconds'],
    text: 'reads of rows just written, and of sums that never change, under flushes',
  },
  linearizable: {
    files: ['faults/linearizable'],
    options: ['ops', 'seconds', 'seed'],
    text: 'the answers of clients while all is killed, explained by one order',
  },
  queries: {
    files: [
      'integration/query/differential',
      'integration/query/walls',
      'integration/keys/row-filter',
      'integration/ingest/round-trip',
      'integration/http/answers.test',
    ],
    options: [],
    text: 'generated rows and queries, and answers of 5 million rows',
  },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '1000' },
    seed: { type: 'string' },
    seconds: { type: 'string', default: '60' },
    rounds: { type: 'string', default: '20' },
    rows: { type: 'string', default: '5000000' },
    kills: { type: 'string', default: '8' },
    probes: { type: 'string', default: '10000' },
    ops: { type: 'string', default: '8000' },
  },
});

const chosen = positionals.map((name) => soaks[name]);
if (chosen.length === 0 || chosen.includes(undefined)) {
  console.error('Usage: npm run test:soak -- <names> [options]\n');
  for (const [name, { options, text }] of Object.entries(soaks)) {
    console.error(`  ${name.padEnd(14)} ${text}`);
    if (options.length > 0) console.error(`  ${''.padEnd(14)} ${options.map((each) => `--${each} N`).join(' ')}`);
  }
  process.exit(2);
}
const files = chosen.flatMap((soak) => soak?.files ?? []).map((name) => `test/${name}`);
process.exitCode = await runVitest(files, {
  FAULT_POINTS: 'all',
  FAULT_RUNS: values.runs,
  FAULT_SECONDS: values.seconds,
  FAULT_ROUNDS: values.rounds,
  INGEST_ROWS: values.rows,
  INGEST_KILLS: values.kills,
  LINEAR_OPS: values.ops,
  LINEAR_SECONDS: values.seconds,
  READ_PROBES: values.probes,
  CUT_SECONDS: values.seconds,
  DIFFERENTIAL_RUNS: '40',
  WALL_RUNS: '2000',
  ROW_FILTER_RUNS: '300',
  ROUND_TRIP_RUNS: '400',
  ANSWER_ROWS: '5000000',
  ...(values.seed !== undefined && { FAULT_SEED: values.seed }),
});
