/**
 * Runs a fault test for longer than `npm test` does.
 *
 *   npm run test:faults -- --runs 2000 [--seed N]     random interleavings, without and with failovers and deletions
 *   npm run test:crashes -- --seconds 600             stores and Workers killed again and again
 *   npm run test:kills -- --rounds 20                 ClickHouse killed between its log of tokens and the rows
 *   npm run test:points                               every call to a store with every kind of fault
 *   npm run test:ingest -- --rows 5000000 --kills 8   a file whose load is killed again and again
 *   npm run test:reads -- --probes 10000 --seconds 60 reads of what was just written, and of sums that never change
 *   npm run test:linearizable -- --ops 8000 [--seed N] what clients saw while everything is killed, explained by one order
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
    rounds: { type: 'string', default: '20' },
    rows: { type: 'string', default: '5000000' },
    kills: { type: 'string', default: '8' },
    probes: { type: 'string', default: '10000' },
    ops: { type: 'string', default: '8000' },
  },
});
const root = join(import.meta.dirname, '..', '..');
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
const files = positionals.length === 0 ? ['interleavings'] : positionals;
const child = spawn(process.execPath, [vitest, 'run', ...files.map((name) => `test/faults/${name}`)], {
  cwd: root,
  env: {
    ...process.env,
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
    ...(values.seed !== undefined && { FAULT_SEED: values.seed }),
  },
  stdio: 'inherit',
});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
