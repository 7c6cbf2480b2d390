/**
 * `npm run bench`: Timestore beside what a user would pick instead, on this machine and its engines, in one run.
 *
 *   npm run bench [-- --lines 1,2,4] [--short] [--json] [--write]
 *
 * `--short` takes about ten minutes and judges counts alone: it fails where a count is not at its goal, or where a
 * measurement breaks off. Goals of speed are printed. `--write` puts the results into RESULTS.md and the curves beside it.
 *
 * @module
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Curve, drawCurve } from './curves.ts';
import { type Figure, isCount, isReached, showFigures } from './figures.ts';
import { measureClickHouseLoad } from './lines/clickhouse-load.ts';
import { measureCluster } from './lines/cluster.ts';
import { measureCost } from './lines/cost.ts';
import { measureFlush } from './lines/flush.ts';
import { measureGrowth } from './lines/growth.ts';
import { measureImport } from './lines/import.ts';
import { measureIngest } from './lines/ingest.ts';
import { measureMemory } from './lines/memory.ts';
import { measureQueries } from './lines/queries.ts';
import { measureStart } from './lines/start.ts';
import { measureVisibility } from './lines/visible.ts';
import { machine } from './machine.ts';
import { full, type Scale, short } from './scale.ts';
import { openWorld, quiet, type World } from './world.ts';

const { values } = parseArgs({
  options: {
    lines: { type: 'string' },
    short: { type: 'boolean' },
    json: { type: 'boolean' },
    write: { type: 'boolean' },
  },
});
const scale = values.short ? short : full;

type Measured = { figures: Figure[]; curves: Curve[] };

type Measurement = {
  lines: number[];
  measure: (world: World, scale: Scale) => Promise<Figure[] | Measured>;
  env?: Record<string, string>;
  /** ClickHouse servers; one if left out. */
  nodes?: number;
};

/** In a world of its own, so that none finds what another has left. */
async function measureOnce({ measure, env, nodes }: Measurement): Promise<Measured> {
  const world = await openWorld(env, nodes);
  try {
    const measured = await measure(world, scale);
    return Array.isArray(measured) ? { figures: measured, curves: [] } : measured;
  } finally {
    await world.stop();
  }
}

const measurements: Measurement[] = [
  { lines: [1, 2], measure: measureIngest },
  { lines: [3], measure: measureVisibility },
  { lines: [4], measure: measureQueries, env: quiet },
  { lines: [5], measure: measureFlush, env: quiet },
  { lines: [6], measure: measureClickHouseLoad },
  { lines: [7], measure: measureCost },
  { lines: [8], measure: measureGrowth, env: quiet },
  { lines: [9], measure: measureMemory, env: quiet },
  { lines: [10], measure: measureStart },
  { lines: [11], measure: measureImport },
  { lines: [12], measure: measureCluster, env: quiet, nodes: 3 },
];

const asked = values.lines?.split(',').map(Number);
const figures: Figure[] = [];
const curves: Curve[] = [];
let broken = 0;
for (const each of measurements) {
  const { lines } = each;
  if (asked !== undefined && !lines.some((line) => asked.includes(line))) continue;
  try {
    const from = performance.now();
    const measured = await measureOnce(each);
    figures.push(...measured.figures);
    curves.push(...measured.curves);
    console.error(`line ${lines.join(', ')}: ${((performance.now() - from) / 1000).toFixed(0)} s`);
  } catch (error) {
    // The other lines are still measured.
    broken += 1;
    console.error(`line ${lines.join(', ')}: ${error instanceof Error ? error.stack : error}`);
  }
}
if (values.json) console.log(JSON.stringify({ machine: machine(), figures }, undefined, 2));
else console.log(`${machine()}\n\n${showFigures(figures)}`);
if (values.write) {
  for (const curve of curves) drawCurve(join(import.meta.dirname, `${curve.name}.svg`), curve);
  const path = join(import.meta.dirname, 'RESULTS.md');
  const text = readFileSync(path, 'utf8');
  const section = `<!-- figures -->\n\n${machine()}\n\n${showFigures(figures)}\n\n<!-- end -->`;
  writeFileSync(
    path,
    text.replace(/<!-- figures -->.*<!-- end -->/s, () => section),
  );
}
for (const each of figures) {
  if (isReached(each)) continue;
  console.error(`line ${each.line}: ${each.name} is not at its goal`);
}
const judged = figures.filter((each) => each.goal !== undefined && isCount(each));
const missed = judged.filter((each) => !isReached(each)).length;
console.error(`${judged.length - missed} passed, ${missed + broken} failed`);
process.exit(broken > 0 || (values.short && missed > 0) ? 1 : 0);
