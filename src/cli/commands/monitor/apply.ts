import type { Command } from 'commander';
import { TimestoreError } from '../../../client/index.ts';
import { findCycle } from '../../../monitoring/changes/cycle.ts';
import { textProblems } from '../../../monitoring/changes/definition-texts.ts';
import { referencesOf } from '../../../monitoring/changes/references.ts';
import { collections, type Definitions, definitions, type Kind, kinds } from '../../../monitoring/resources/kinds.ts';
import { connect } from '../../config.ts';
import { type Io, print } from '../../io.ts';
import { failureOf, type LoadedSet, loadSet, type Problem } from '../../monitor/load.ts';
import { type PlannedChange, planText } from '../../monitor/plan-text.ts';
import { yamlOf } from '../../monitor/yaml-text.ts';
import { fetchAll, type Item, showOne } from '../../show.ts';
import type { MonitorOptions } from './index.ts';

export const secretsPath = '/v1/monitor/secrets';

type Applying = MonitorOptions & { dryRun?: boolean; prune?: boolean; secrets?: string };

type Plan = { revision: number; changes: PlannedChange[]; unchanged: number };

const items_max = 100_000;

const examples = `
Examples
  timestore monitor apply monitor.yaml --dry-run
  timestore monitor apply monitor/*.yaml --secrets secrets.env --prune
  timestore monitor export > monitor.yaml`;

export function applyCommands(monitor: Command, io: Io): void {
  monitor
    .command('apply')
    .description('apply YAML files: shows the plan, then changes everything or nothing')
    .argument('<file...>')
    .option('--dry-run', 'show the plan and change nothing')
    .option('--prune', 'also delete resources that the files do not have; silences only if they have `silences:`')
    .option('--secrets <file>', `lines NAME=VALUE for \${NAME} in the files`)
    .addHelpText('after', examples)
    .action(async (files: string[], _, own: Command) => apply(files, own.optsWithGlobals<Applying>(), io));
  monitor
    .command('export')
    .description('print all resources as YAML for `apply`, with the names of secrets')
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<MonitorOptions>();
      await print(io.stdout, yamlOf(await fetchResources(options, io)));
    });
  monitor
    .command('lint')
    .description('check YAML files as a complete set, without a deployment')
    .argument('<file...>')
    .option('--secrets <file>', `lines NAME=VALUE for \${NAME} in the files`)
    .action(async (files: string[], _, own: Command) => {
      const { secrets, quiet } = own.optsWithGlobals<Applying>();
      const set = await loadSet(files, { secretsFile: secrets, isLinted: true });
      const problems = setProblems(set);
      if (problems.length > 0) throw failureOf(problems);
      const count = Object.values(set.resources).reduce((sum, each) => sum + Object.keys(each).length, 0);
      if (!quiet) io.stderr.write(`${count} resources, no problems.\n`);
    });
}

async function apply(files: string[], options: Applying, io: Io): Promise<void> {
  const { dataset, prune = false, dryRun = false, secrets: secretsFile, json, quiet } = options;
  const set = await loadSet(files, { secretsFile });
  const { timestore } = await connect(options, io);
  const send = async (isPlanOnly: boolean, headers: Record<string, string>) => {
    const body = { resources: set.resources, secrets: Object.fromEntries(set.secrets), prune, dryRun: isPlanOnly };
    try {
      const rest = { query: { dataset }, body, headers, signal: io.signal };
      return await timestore.call<Plan & Item>('POST', '/v1/monitor/apply', rest);
    } catch (error) {
      throw placedFailure(error, set) ?? error;
    }
  };
  const plan = await send(true, {});
  if (!json) await print(io.stdout, planText(plan.changes, plan.unchanged));
  const isDone = dryRun || plan.changes.length === 0;
  // Only the shown plan is carried out: after another change in between, the deployment refuses.
  const done = isDone ? plan : await send(false, { 'if-match': `"${plan.revision}"` });
  if (json) await showOne(done, options, io);
  else if (!isDone && !quiet) io.stderr.write(`Applied; revision ${done.revision}.\n`);
}

async function fetchResources(options: MonitorOptions, io: Io) {
  const { timestore } = await connect(options, io);
  const { dataset } = options;
  const found: { kind: Kind; id: string; definition: Item }[] = [];
  for (const kind of kinds) {
    const name = collections[kind];
    const rest = { limit: items_max, signal: io.signal };
    const items = await fetchAll(timestore, `/v1/monitor/${name}`, name, { dataset, limit: 1_000 }, rest);
    found.push(...items.map(({ id, definition }) => ({ kind, id: String(id), definition: definition as Item })));
  }
  return found;
}

/** The problems of a refused set with their places in the files; undefined for another failure. */
function placedFailure(error: unknown, set: LoadedSet) {
  if (!(error instanceof TimestoreError) || !Array.isArray(error.problem.problems)) return undefined;
  const problems = (error.problem.problems as { path: string; message: string }[]).map(({ path, message }) => {
    return { place: placeOfPath(path, set), message };
  });
  const placed = problems.filter((each): each is Problem => each.place !== undefined);
  return placed.length === problems.length && placed.length > 0 ? failureOf(placed) : undefined;
}

/** Of a path such as `resources.rules.api.down.threshold`, in which the id may contain dots. */
function placeOfPath(path: string, { resources, placeOf }: LoadedSet) {
  for (const kind of kinds) {
    const prefix = `resources.${collections[kind]}.`;
    if (!path.startsWith(prefix)) continue;
    const rest = path.slice(prefix.length);
    const ids = Object.keys(resources[collections[kind]] ?? {}).filter(
      (id) => rest === id || rest.startsWith(`${id}.`),
    );
    const [id] = ids.sort((a, b) => b.length - a.length);
    if (id !== undefined)
      return placeOf(
        kind,
        id,
        rest
          .slice(id.length + 1)
          .split('.')
          .filter(Boolean),
      );
  }
  return undefined;
}

function parsed<K extends Kind>(kind: K, definition: Item): Definitions[K] {
  return definitions[kind].parse(definition) as Definitions[K];
}

/** Texts that cannot be parsed, references to resources that no file has, and cycles of relations. */
function setProblems({ resources, placeOf }: LoadedSet): Problem[] {
  const problems: Problem[] = [];
  const note = (kind: Kind, id: string, path: string[], message: string) => {
    const place = placeOf(kind, id, path);
    if (place !== undefined) problems.push({ place, message });
  };
  for (const kind of kinds) {
    for (const [id, definition] of Object.entries(resources[collections[kind]] ?? {})) {
      const whole = parsed(kind, definition);
      for (const { path, message } of textProblems(kind, whole)) {
        note(kind, id, path.split('.'), `${kind} ${id}: ${path}: ${message}`);
      }
      for (const { kind: other, id: name, path } of referencesOf(kind, whole)) {
        if (Object.hasOwn(resources[collections[other]] ?? {}, name)) continue;
        note(kind, id, path.split('.'), `${kind} ${id}: ${path}: the files have no ${other} ${name}`);
      }
    }
  }
  const relations = Object.entries(resources.relations ?? {}).map(([id, each]) => ({
    id,
    ...parsed('relation', each),
  }));
  const enabled = relations.filter(({ enabled, relationType }) => enabled && relationType !== 'part_of');
  const edges = enabled.map((each) => ({ source: each.sourceServiceId, target: each.targetServiceId }));
  const cycle = findCycle(edges);
  const first = enabled.find((each) => each.sourceServiceId === cycle?.[0] && each.targetServiceId === cycle?.[1]);
  if (cycle !== undefined && first !== undefined) {
    note('relation', first.id, [], `the relations have a cycle: ${cycle.join(' → ')}`);
  }
  return problems;
}
