/**
 * Searches the model further than the tests do, and prints the shortest counterexample for each rule that is taken out.
 *
 *   npm run model
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { getHeapStatistics } from 'node:v8';
import { alertBounds, alertRules, searchAlerts } from './alerts.ts';
import { importBounds, importRules, searchImports } from './import.ts';
import { allRules, bounded, type Rules, rulesWithout, wide } from './rules.ts';
import { search } from './search.ts';

const statesMax = 3_000_000;
/** Far enough for the counterexample of each rule. */
const ruleStatesMax = 150_000;
/** What the widest bounds take; a program gets less by itself. */
const heap_mb = 14_000;

if (getHeapStatistics().heap_size_limit < heap_mb * 2 ** 20) {
  const own = [`--max-old-space-size=${heap_mb}`, ...process.execArgv, ...process.argv.slice(1)];
  process.exit(spawnSync(process.execPath, own, { stdio: 'inherit' }).status ?? 1);
}

const searches = [
  ...Object.entries(wide).map(([name, bounds]) => ({
    name,
    run: () => search(allRules, bounds, statesMax),
  })),
  ...Object.entries(importBounds).map(([name, bounds]) => ({
    name: `imports: ${name}`,
    run: () => searchImports(importRules, bounds),
  })),
  ...Object.entries(alertBounds).map(([name, bounds]) => ({
    name: `alerts: ${name}`,
    run: () => searchAlerts(alertRules, bounds, statesMax),
  })),
];
for (const { name, run } of searches) {
  const from = performance.now();
  const { states, complete, found } = run();
  const took = `${((performance.now() - from) / 1000).toFixed(1)} s`;
  console.log(`${found ? '✘' : '✔'} ${name}: ${states} states${complete ? '' : ', not all'}, ${took}`);
  if (found === undefined) continue;
  console.log(`  ${found.violation}\n${found.steps.map((step) => `    ${step}`).join('\n')}`);
  process.exitCode = 1;
}

for (const rule of Object.keys(allRules) as (keyof Rules)[]) {
  const results = Object.entries(bounded).map(([name, bounds]) => ({
    name,
    ...search(rulesWithout(rule), bounds, ruleStatesMax),
  }));
  const [shortest] = results
    .filter(({ found }) => found)
    .sort((a, b) => (a.found?.steps.length ?? 0) - (b.found?.steps.length ?? 0));
  console.log(
    `\nWithout ${rule}: ${shortest?.found ? `${shortest.found.violation} (${shortest.name})` : 'nothing is found'}`,
  );
  for (const step of shortest?.found?.steps ?? []) console.log(`    ${step}`);
  if (shortest === undefined) process.exitCode = 1;
}
