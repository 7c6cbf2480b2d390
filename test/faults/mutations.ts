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
const waiting = chosen.filter((each) => results.get(keyOf(each))?.kind !== 'noticed');
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

async function work(copy: MutatedCopy): Promise<void> {
  for (;;) {
    const mutation = waiting.shift();
    if (mutation === undefined || interrupt.signal.aborted) return;
    const startedAt = performance.now();
    let verdict = await look(copy, mutation);
    if (verdict.kind === 'unproven' && !interrupt.signal.aborted) {
      // Of the mutation, or of the machine: other engines tell.
      await copy.stopEngines();
      verdict = await look(copy, mutation);
    }
    if (interrupt.signal.aborted) return;
    const { rule, file, from, to, suite } = mutation;
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    keep({ rule, file, from, to, suite, seconds, ...verdict });
  }
}

/** Asks the named test, and where it passes the whole suite. */
async function look(copy: MutatedCopy, mutation: Mutation): Promise<Verdict> {
  const { suite, test } = mutation;
  if (test !== undefined) {
    const verdict = verdictOf(await copy.runWith(mutation, [suite], literally(test)));
    if (verdict.kind !== 'unnoticed') return verdict;
    console.log(`  not by "${test}"`);
  }
  return verdictOf(await copy.runWith(mutation, [suite]));
}

/** A test that fails without a mutation proves nothing. */
async function checkUnchanged(copy: MutatedCopy): Promise<void> {
  const found = chosen.flatMap((each) => results.get(keyOf(each)) ?? []).filter(({ kind }) => kind === 'noticed');
  const names = found.flatMap((each) => (each.kind === 'noticed' ? each.test.slice(each.test.indexOf(': ') + 2) : []));
  if (names.length === 0) return;
  const pattern = [...new Set(names)].map((name) => `^${literally(name)}$`).join('|');
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
