import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { type Timestore, TimestoreError } from '../../../client/index.ts';
import { connect } from '../../config.ts';
import { CliFailure, exitCodes, usage } from '../../failure.ts';
import { uploadFiles } from '../../import/bucket.ts';
import { findFile, isNamedDuckDb, type LocalFile } from '../../import/local-file.ts';
import { rowCount } from '../../ingest/show-progress.ts';
import type { Io } from '../../io.ts';
import { type PatientOptions, patienceOption, splitPair } from '../../options.ts';
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

The files hold the current rows of the source system: export them while writes to it are stopped, or name its own files. Each
file belongs to one table; of a DuckDB file, the table of the same name is read.

  1  freeze      Timestore rejects writes (409 with Retry-After)
  2  mirror      wait until the source system has every row that Timestore accepted
  3  backfill    import the rows of the files that are missing in Timestore
  4  compare     files and tables must hold the same rows
  5  switch      Timestore answers queries
  6  unfreeze    Timestore accepts writes

If the command ends before the switch, writes resume and the source system still answers queries. Imported rows remain, and a
repeated command does not import them again. --back reverts the switch: freeze, mirror, the source system answers, unfreeze.`;

export function cutoverCommand(program: Command, io: Io): void {
  program
    .command('cutover')
    .description('switch a dataset from its source system to Timestore, or back')
    .argument('<dataset>')
    .argument('[table=file...]', 'the rows of the source system, a file for each table')
    .option('--back', 'switch back to the source system')
    .addOption(patienceOption('how long to retry and to wait for the mirror', '10m'))
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

type Cutover = {
  timestore: Timestore;
  dataset: string;
  /** The dataset before the cutover. */
  found: Dataset;
  options: CuttingOver;
  io: Io;
};

/** The rows of a table in the source system. The file is read only after the freeze, since it may change before. */
type Source = { name: string; find: () => Promise<LocalFile> };

async function cutOver(cutover: Cutover, texts: string[]): Promise<void> {
  if (texts.length === 0) throw usage('Name the rows of the source system: TABLE=FILE for each table.');
  const sources: Source[] = [];
  for (const text of texts) sources.push(await parseSource(cutover, text));
  await whileFrozen(cutover, async () => {
    for (const source of sources) await backfill(cutover, source);
    const mirror = cutover.found.migration?.mirror ?? false;
    await change(cutover, { migration: mirror ? { reads: 'on', mirror } : null });
    tell(cutover, 'switch    Timestore answers queries');
  });
}

/** Parses `TABLE=FILE`. Throws CliFailure where the file or the table does not exist. */
async function parseSource({ timestore, dataset, io }: Cutover, text: string): Promise<Source> {
  const [table, path] = splitPair('argument', text, 'TABLE=FILE');
  const isDuckDb = isNamedDuckDb(path);
  const find = async () => await findFile(path, isDuckDb ? { fromTable: table } : {}, io);
  await find();
  const name = `${dataset}.${table}`;
  // A frozen dataset cannot get new tables.
  await timestore.call('GET', tablePath(name), { signal: io.signal }).catch((error: unknown) => {
    if (!(error instanceof TimestoreError) || error.code !== 'not-found') throw error;
    const what = isDuckDb ? `${path} --from-table ${table}` : path;
    throw new CliFailure(
      `Table ${name} does not exist. First import the present rows: \`timestore imports create ${name} ${what} --wait\`.`,
    );
  });
  return { name, find };
}

/** Imports the missing rows of a table. Throws CliFailure where the table differs from the file afterwards. */
async function backfill(cutover: Cutover, { name, find }: Source): Promise<void> {
  const { timestore, options, io } = cutover;
  const file = await find();
  const { objects, fields } = await uploadFiles([file], { timestore, name, options }, io);
  const request = { objects, format: file.format };
  const body = { ...request, missingOnly: true, ...(fields.length > 0 && { fields }) };
  const { rows } = (await findReceipt(timestore, `${tablePath(name)}/imports`, body, io)) as { rows: number };
  tell(cutover, `backfill  ${name}: ${rowCount(rows)} imported`);
  const compared = await fetchComparison(timestore, name, request, io);
  if (!compared.equal) {
    await showComparison(compared, options, io);
    throw new CliFailure(
      `${name} differs from ${file.label}. The source system still answers queries.`,
      exitCodes.failed,
    );
  }
  tell(cutover, `compare   ${name}: ${rowCount(compared.rows.table)}, equal on both sides`);
}

async function goBack(cutover: Cutover, texts: string[]): Promise<void> {
  if (texts.length > 0) throw usage('--back takes no files.');
  if (!cutover.found.migration?.mirror) {
    throw new CliFailure(
      `Dataset ${cutover.dataset} has no mirror, so that the source system does not have its new rows. Export them instead.`,
    );
  }
  await whileFrozen(cutover, async () => {
    await change(cutover, { migration: { reads: 'off', mirror: true } });
    tell(cutover, 'switch    the source system answers queries');
  });
}

/** Freezes the dataset, waits for the mirror, and runs `work`. Unfreezes it in any case. */
async function whileFrozen(cutover: Cutover, work: () => Promise<void>): Promise<void> {
  const { dataset, found, io } = cutover;
  // A cutover that was killed leaves the dataset frozen; the next one continues.
  if (found.state !== 'active' && found.state !== 'frozen') {
    throw new CliFailure(`Dataset ${dataset} is ${found.state}.`);
  }
  await change(cutover, { state: 'frozen' });
  tell(cutover, 'freeze    Timestore rejects writes');
  try {
    await waitForMirror(cutover);
    await work();
  } finally {
    // The signal is aborted after Ctrl-C, so that this request has its own.
    await change({ ...cutover, io: { ...io, signal: AbortSignal.timeout(60_000) } }, { state: 'active' });
    tell(cutover, 'unfreeze  Timestore accepts writes');
  }
}

const poll_ms = 500;

/** Waits until the source system has every row, if the dataset is mirrored. Throws CliFailure after the patience. */
async function waitForMirror(cutover: Cutover): Promise<void> {
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
        `The source system is ${rowCount(behindRows)} behind${error === null ? '' : `: ${error}`}. Try again later.`,
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
  tell(cutover, 'mirror    the source system has every row');
}

async function change({ timestore, dataset, io }: Cutover, body: Item): Promise<void> {
  await timestore.call('PATCH', datasetPath(dataset), { body, isRepeatable: true, signal: io.signal });
}

function tell({ options, io }: Cutover, text: string): void {
  if (!options.quiet) io.stderr.write(`${text}\n`);
}
