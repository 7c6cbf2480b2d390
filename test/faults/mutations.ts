/**
 * Takes one rule after the other out of the real code, in a copy, and looks which tests notice. A rule that no test
 * misses is not tested.
 *
 *   npm run test:mutations [-- --only words]
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Mutation, mutated, mutations } from './mutation-list.ts';

const root = join(import.meta.dirname, '..', '..');
const suites = ['test/integration', 'test/faults/interleavings', 'test/faults/crash-points'];

/** `npm run test:mutations -- --only words`: rules with these words. */
const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });
const chosen = mutations.filter(({ rule, file }) => `${rule} ${file}`.includes(values.only));

// Without a change every suite passes: what fails below fails for its change.
const unchanged = { rule: 'nothing', file: 'package.json', from: '"name"', to: '"name"' };
for (const suite of new Set([...suites, ...chosen.flatMap((each) => each.suite ?? [])])) {
  if (values.only !== '' && !chosen.some((each) => each.suite === suite)) continue;
  const failing = firstFailure(unchanged, suite);
  if (failing !== undefined) throw new Error(`${suite} fails as it is: ${failing}`);
}

let survived = 0;
for (const mutation of chosen) {
  let noticed: string | undefined;
  for (const suite of [mutation.suite ?? [], suites].flat()) noticed ??= firstFailure(mutation, suite);
  if (noticed === undefined) survived += 1;
  console.log(`${noticed ? '✔' : '✘'} without ${mutation.rule}: ${noticed ?? 'nothing is noticed'}`);
}
console.log(`\n${chosen.length - survived} noticed, ${survived} not`);
process.exitCode = survived === 0 ? 0 : 1;

/** The first test of a suite that fails; undefined when all pass. */
function firstFailure({ file, from, to }: Mutation, suite: string): string | undefined {
  const copy = mkdtempSync(join(tmpdir(), 'timestore-mutation-'));
  try {
    for (const each of [
      'src',
      'functions',
      'sql',
      'local',
      'test',
      'package.json',
      'wrangler.toml',
      'tsconfig.json',
      'vitest.config.ts',
    ]) {
      cpSync(join(root, each), join(copy, each), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const source = readFileSync(join(copy, file), 'utf8');
    const changed = mutated(source, { from, to });
    if (changed === undefined) throw new Error(`${file} does not contain the text that the mutation replaces: ${from}`);
    writeFileSync(join(copy, file), changed);
    const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
    const { status, signal, stderr } = spawnSync(process.execPath, [vitest, 'run', '--bail=1', suite], {
      cwd: copy,
      env: { ...process.env, NO_COLOR: '1', FAULT_RUNS: '200', FAULT_POINTS: '2' },
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
      maxBuffer: 1024 ** 3,
      timeout: 900_000,
    });
    // Not over in time is not noticed.
    if (signal !== null) throw new Error(`${suite} ended by ${signal}`);
    return status === 0 ? undefined : (/ FAIL +(.*)/.exec(stderr)?.[1] ?? `${suite} ended with ${status}`);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}
