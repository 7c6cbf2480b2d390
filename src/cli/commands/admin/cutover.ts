import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { type Timestore, TimestoreError } from '../../../client/index.ts';
import { connect } from '../../config.ts';
import { CliFailure, exitCodes, usage } from '../../failure.ts';
import { intoBucket } from '../../import/bucket.ts';
import { findFile, isNamedDuckDb, type LocalFile } from '../../import/local-file.ts';
import { rowCount } from '../../ingest/show-progress.ts';
import type { Io } from '../../io.ts';
import { type PatientOptions, patienceOption, verificationSides } from '../../options.ts';
import { datasetPath, tablePath } from '../../paths.ts';
import { fetchAll, type Item } from '../../show.ts';
import { fetchComparison, showComparison } from './compare.ts';
import { findReceipt } from './jobs.ts';

type CuttingOver = PatientOptions & { back?: boolean };

type Dataset = Item & {
  state: string;
  migration: { reads: string; mirror: boolean; mirrored?: { behindRows: number; error: string | null } | null } | null;
};

const examples = `
Examples
  timestore cutover plant readings=readings.parquet meters=plant.duckdb
  timestore cutover plant --back

Files hold what the original has at this moment: make them while writes are stopped there, or name those of the system itself.
Each is of one table; of a DuckDB file it is the table of the same name.

  1  freeze      writers are told to try again (409, with Retry-After)
  2  mirror      until the original has every row that was accepted here
  3  backfill    rows of the files that the table here has not
  4  compare     files and table must hold the same rows
  5  switch      queries are answered here
  6  unfreeze    writers go on

Whatever ends it before the switch, writers go on and queries are answered as before; rows that were brought stay, and are not
brought again. --back is the way back: freeze, mirror, then the original answers, unfreeze.`;

export function cutoverCommand(program: Command, io: Io): void {
  program
    .command('cutover')
    .description('a dataset is taken over from another system, or given back')
    .argument('<dataset>')
    .argument('[table=file...]', 'what the other system has of each table')
    .option('--back', 'the other system answers again')
    .addOption(patienceOption('how long to wait for what is away, and for the mirror', '10m'))
    .addHelpText('after', examples)
    .action(async (dataset: string, sources: string[], _, own: Command) => {
      const options = own.optsWithGlobals<CuttingOver>();
      const { timestore } = await connect(options, io);
      const found = await timestore.call<Dataset>('GET', datasetPath(dataset), { signal: io.signal });
      const cutover = { timestore, dataset, found, options, io };
      if (options.back) await goBack(cutover, sources);
      else await cutOver(cutover, sources);
    });
}

/** What is taken over or given back, and with what. */
type Cutover = {
  timestore: Timestore;
  dataset: string;
  /** As it was before. */
  found: Dataset;
  options: CuttingOver;
  io: Io;
};

/** What the other system has of a table. The file is looked at when writes are stopped: it may be another one by then. */
type Source = { name: string; find: () => Promise<LocalFile> };

async function cutOver(cutover: Cutover, texts: string[]): Promise<void> {
  if (texts.length === 0) throw usage('Say what the other system has: TABLE=FILE, for each table.');
  const sources: Source[] = [];
  for (const text of texts) sources.push(await parseSource(cutover, text));
  await whileFrozen(cutover, async () => {
    for (const source of sources) await bring(cutover, source);
    const mirror = cutover.found.migration?.mirror ?? false;
    await change(cutover, { migration: mirror ? { reads: 'on', mirror } : null });
    tell(cutover, 'switch    queries are answered here');
  });
}

/** Of `TABLE=FILE`. Throws CliFailure where either is not there. */
async function parseSource({ timestore, dataset, io }: Cutover, text: string): Promise<Source> {
  const [table, path] = verificationSides('argument', text, 'TABLE=FILE');
  const isDuckDb = isNamedDuckDb(path);
  const find = async () => await findFile(path, isDuckDb ? { fromTable: table } : {}, io);
  await find();
  const name = `${dataset}.${table}`;
  // In a frozen dataset none can be made.
  await timestore.call('GET', tablePath(name), { signal: io.signal }).catch((error: unknown) => {
    if (!(error instanceof TimestoreError) || error.code !== 'not-found') throw error;
    const what = isDuckDb ? `${path} --from-table ${table}` : path;
    throw new CliFailure(
      `There is no table ${name} yet. Bring what there is first, while writers go on: \`timestore imports create ${name} ${what} --wait\`.`,
    );
  });
  return { name, find };
}

/** Brings what a table lacks. Throws CliFailure where it is not the same as the file then. */
async function bring(cutover: Cutover, { name, find }: Source): Promise<void> {
  const { timestore, options, io } = cutover;
  const file = await find();
  const { objects, fields } = await intoBucket([file], { timestore, name, options }, io);
  const request = { objects, format: file.format };
  const body = { ...request, missingOnly: true, ...(fields.length > 0 && { fields }) };
  const { rows } = (await findReceipt(timestore, `${tablePath(name)}/imports`, body, io)) as { rows: number };
  tell(cutover, `backfill  ${name}: ${rowCount(rows)} brought`);
  const compared = await fetchComparison(timestore, name, request, io);
  if (!compared.equal) {
    await showComparison(compared, options, io);
    throw new CliFailure(`${name} is not the same as ${file.label}. Nothing was switched.`, exitCodes.failed);
  }
  tell(cutover, `compare   ${name}: ${rowCount(compared.rows.table)}, the same on both sides`);
}

async function goBack(cutover: Cutover, texts: string[]): Promise<void> {
  if (texts.length > 0) throw usage('--back needs no files.');
  if (!cutover.found.migration?.mirror) {
    throw new CliFailure(
      `The other system has not got what was accepted here: dataset ${cutover.dataset} has no mirror. An export has its rows.`,
    );
  }
  await whileFrozen(cutover, async () => {
    await change(cutover, { migration: { reads: 'off', mirror: true } });
    tell(cutover, 'switch    the other system answers queries');
  });
}

/** Does something while no rows are accepted, once the other system has all that were; writers go on whatever becomes of it. */
async function whileFrozen(cutover: Cutover, work: () => Promise<void>): Promise<void> {
  const { dataset, found, io } = cutover;
  // One that broke off leaves it frozen when it is killed: then it goes on from there.
  if (found.state !== 'active' && found.state !== 'frozen') {
    throw new CliFailure(`Dataset ${dataset} is ${found.state}.`);
  }
  await change(cutover, { state: 'frozen' });
  tell(cutover, 'freeze    no rows are accepted');
  try {
    await mirrored(cutover);
    await work();
  } finally {
    // Also after Ctrl-C.
    await change({ ...cutover, io: { ...io, signal: AbortSignal.timeout(60_000) } }, { state: 'active' });
    tell(cutover, 'unfreeze  rows are accepted');
  }
}

const poll_ms = 500;

/** Waits until the other system has every row, if it is to have any. Throws CliFailure where that takes too long. */
async function mirrored(cutover: Cutover): Promise<void> {
  const { timestore, dataset, options, io } = cutover;
  const { signal } = io;
  const until_ms = Date.now() + options.patience;
  for (;;) {
    const { migration } = await timestore.call<Dataset>('GET', datasetPath(dataset), { signal });
    if (!migration?.mirror) return;
    const { behindRows = 0, error = null } = migration.mirrored ?? {};
    if (behindRows === 0) break;
    if (Date.now() > until_ms) {
      throw new CliFailure(
        `The other system still lacks ${rowCount(behindRows)}${error === null ? '' : `: ${error}`}. Try again once it takes them.`,
        exitCodes.later,
      );
    }
    for (const { name: table } of await fetchAll(
      timestore,
      `${datasetPath(dataset)}/tables`,
      'tables',
      {},
      { signal },
    )) {
      await timestore.call('POST', '/v1/admin/flush', { body: { dataset, table }, signal });
    }
    await delay(poll_ms, undefined, { signal });
  }
  tell(cutover, 'mirror    the other system has every row');
}

async function change({ timestore, dataset, io }: Cutover, body: Item): Promise<void> {
  await timestore.call('PATCH', datasetPath(dataset), { body, isRepeatable: true, signal: io.signal });
}

function tell({ options, io }: Cutover, text: string): void {
  if (!options.quiet) io.stderr.write(`${text}\n`);
}
