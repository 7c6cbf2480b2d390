/**
 * Takes one rule after the other out of the real code, in a copy, and looks which test notices. A rule that no test
 * misses is not tested. At the end the tests that noticed run on the unchanged code, where they must pass.
 *
 *   npm run test:mutations [-- --only words --results file --workers 2]
 *
 * `--only`: rules with these words. `--results`: the file with a line of JSON for each rule; a run that finds its file
 * goes on with the rules that are not noticed in it.
 *
 * @module
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { listenForInterrupts } from '../../local/interrupt.ts';
import { MutatedCopy } from './mutated-copy.ts';
import { type Mutation, mutations } from './mutation-list.ts';
import { type Verdict, verdictOf } from './mutation-verdict.ts';

type Result = { file: string; from: string; to: string; rule: string; suite: string; seconds: number } & Verdict;

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    results: { type: 'string' },
    workers: { type: 'string', default: '1' },
  },
});
const interrupt = listenForInterrupts();
const chosen = mutations.filter(({ rule, file }) => `${rule} ${file}`.includes(values.only));
const results = new Map(readResults().map((result) => [keyOf(result), result]));
const waiting: { mutation: Mutation; isLast: boolean }[] = chosen
  .filter((each) => results.get(keyOf(each))?.kind !== 'noticed')
  .map((mutation) => ({ mutation, isLast: false }));
console.log(`${waiting.length} of ${mutations.length} rules to take out`);

const copies = Array.from({ length: Number(values.workers) }, () => new MutatedCopy());
try {
  await Promise.race([Promise.all(copies.map(work)), interrupt.interrupted]);
  const [copy] = copies;
  if (copy !== undefined) await Promise.race([checkUnchanged(copy), interrupt.interrupted]);
} catch (error) {
  if (!interrupt.signal.aborted) throw error;
} finally {
  await Promise.all(copies.map((copy) => copy.remove()));
}
const noticed = chosen.filter((each) => results.get(keyOf(each))?.kind === 'noticed').length;
console.log(`\n${noticed} noticed, ${chosen.length - noticed} not`);
process.exit(noticed === chosen.length ? process.exitCode : 1);

/** Asks the named test first. What it does not prove is tried a last time behind all others, on the whole suite. */
async function work(copy: MutatedCopy): Promise<void> {
  for (;;) {
    const next = waiting.shift();
    if (next === undefined || interrupt.signal.aborted) return;
    const { mutation, isLast } = next;
    const { rule, file, from, to, suite, test } = mutation;
    const startedAt = performance.now();
    const verdict = verdictOf(
      await copy.runWith(mutation, [suite], isLast || test === undefined ? undefined : literally(test)),
    );
    if (interrupt.signal.aborted) return;
    // Of the mutation, or of the machine: other engines tell.
    if (verdict.kind === 'unproven') await copy.stopEngines();
    const isKnown = verdict.kind === 'noticed' || (verdict.kind === 'unnoticed' && test === undefined);
    if (!isLast && !isKnown) {
      waiting.push({ mutation, isLast: true });
      console.log(`  not yet: ${rule} (${verdict.kind === 'unproven' ? verdict.reason : `not by "${test}"`})`);
      continue;
    }
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    keep({ rule, file, from, to, suite, seconds, ...verdict });
  }
}

/** A test that fails without a mutation proves nothing. */
async function checkUnchanged(copy: MutatedCopy): Promise<void> {
  const found = chosen.flatMap((each) => results.get(keyOf(each)) ?? []).filter(({ kind }) => kind === 'noticed');
  const names = found.flatMap((each) => (each.kind === 'noticed' ? each.test.slice(each.test.indexOf(': ') + 2) : []));
  if (names.length === 0) return;
  // Vitest's pattern sees ` > ` between the parts of a name, where its report has a space.
  const pattern = [...new Set(names)].map((name) => `^${name.split(' ').map(literally).join('[ >]+')}$`).join('|');
  const { report } = await copy.run([...new Set(found.map(({ suite }) => suite))], pattern, []);
  const passed = new Set(
    report?.testResults.flatMap(({ assertionResults }) =>
      assertionResults.flatMap(({ status, fullName }) => (status === 'passed' ? fullName : [])),
    ),
  );
  for (const name of new Set(names)) {
    if (passed.has(name)) continue;
    console.log(`✘ on the unchanged code, this test does not pass: ${name}`);
    process.exitCode = 1;
  }
}

function keep(result: Result): void {
  results.set(keyOf(result), result);
  if (values.results !== undefined) appendFileSync(values.results, `${JSON.stringify(result)}\n`);
  const mark = result.kind === 'noticed' ? '✔' : '✘';
  const text = { noticed: result.kind === 'noticed' ? result.test : '', unnoticed: 'no test notices', unproven: '' };
  const reason = result.kind === 'unproven' ? `no proof: ${result.reason}` : text[result.kind];
  console.log(`${mark} without ${result.rule} (${result.seconds} s): ${reason}`);
}

function readResults(): Result[] {
  if (values.results === undefined || !existsSync(values.results)) return [];
  const lines = readFileSync(values.results, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Result);
}

function keyOf({ file, from, to }: Pick<Mutation, 'file' | 'from' | 'to'>): string {
  return JSON.stringify([file, from, to]);
}

function literally(text: string): string {
  return text.replace(/[$()*+.?[\\\]^{|}]/g, String.raw`\$&`);
}
