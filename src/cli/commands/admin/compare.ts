import type { Command } from 'commander';
import type { Timestore } from '../../../client/index.ts';
import { bodyText } from '../../../client/write.ts';
import { type CommonOptions, connect } from '../../config.ts';
import { CliFailure, exitCodes, usage } from '../../failure.ts';
import { uploadFiles } from '../../import/bucket.ts';
import { rowCount, whole } from '../../ingest/show-progress.ts';
import { type Io, print } from '../../io.ts';
import { tablePath } from '../../paths.ts';
import { type Item, showTable } from '../../show.ts';
import { type FileOptions, fileOptions, findFiles, rowOptions } from './file-options.ts';
import { findReceipt } from './jobs.ts';

type Side = { values: number; min: string | null; max: string | null; sum: string | null };

/** The result of a comparison. */
export type Comparison = {
  equal: boolean;
  rows: { source: number; table: number };
  days: { compared: number; different: number };
  differing: {
    day: string;
    rows: { source: number; table: number };
    columns: { name: string; source: Side; table: Side }[];
  }[];
  differingRows: { source: number; table: number; row: Item }[];
  columns: { compared: string[]; onlyInSource: string[]; onlyInTable: string[] };
  wrongRows: number;
  errors: Item[];
};

const examples = `
Examples
  timestore compare demo.readings readings.parquet
  timestore compare demo.readings data.duckdb --from-table readings --columns timestamp,sensor,celsius
  timestore compare demo.readings --object exports/demo/readings/4f0c…/2026-05-01.parquet --from 2026-05-01 --to 2026-05-02

The order of rows does not matter; duplicate rows are counted. --from, --to and --columns apply to both sides. The exit code is
0 if both sides are equal, else 1.`;

export function compareCommand(program: Command, io: Io): void {
  fileOptions(program.command('compare').description('compare a table with files that should hold the same rows'))
    .addHelpText('after', examples)
    .action(async (name: string, paths: string[], _, own: Command) =>
      compare(name, paths, own.optsWithGlobals<FileOptions>(), io),
    );
}

async function compare(name: string, paths: string[], options: FileOptions, io: Io): Promise<void> {
  const { object: keys = [] } = options;
  if (paths.length === 0 && keys.length === 0) throw usage('Nothing to compare with: name files, or --object KEY.');
  const { files, format } = await findFiles(paths, options, io);
  const { timestore } = await connect(options, io);
  const { objects } = await uploadFiles(files, { timestore, name, options }, io);
  const body = { objects: [...keys, ...objects], format, ...rowOptions(options) };
  const found = await fetchComparison(timestore, name, body, io);
  await showComparison(found, options, io);
  if (!found.equal) throw new CliFailure('The files and the table differ.', exitCodes.failed);
}

/** Runs a comparison on the server and waits for its result. Throws CliFailure where it fails. */
export async function fetchComparison(timestore: Timestore, name: string, body: Item, io: Io): Promise<Comparison> {
  return (await findReceipt(timestore, `${tablePath(name)}/comparisons`, body, io)) as Comparison;
}

/** Lines of each printed table. */
const lines_max = 20;

export async function showComparison(found: Comparison, { json }: CommonOptions, io: Io): Promise<void> {
  if (json) {
    await print(io.stdout, `${bodyText(found)}\n`);
    return;
  }
  const { rows, days, differing, differingRows, columns, wrongRows } = found;
  io.stdout.write(
    `${rowCount(rows.source)} in the files, ${whole(rows.table)} in the table; ` +
      `${whole(days.different)} of ${whole(days.compared)} days differ.\n`,
  );
  if (columns.onlyInSource.length > 0) io.stdout.write(`Only in the files: ${columns.onlyInSource.join(', ')}\n`);
  if (columns.onlyInTable.length > 0) io.stdout.write(`Only in the table: ${columns.onlyInTable.join(', ')}\n`);
  if (wrongRows > 0) io.stdout.write(`${rowCount(wrongRows)} of the files cannot be stored in the table.\n`);
  const sides = differing.flatMap(({ day, columns: different, rows: counts }) => [
    { day, column: '', 'in files': counts.source, 'in table': counts.table },
    ...different.map(({ name, source, table }) => ({
      day,
      column: name,
      'in files': formatSide(source),
      'in table': formatSide(table),
    })),
  ]);
  await showFirst(['day', 'column', 'in files', 'in table'], sides, io);
  const lines = differingRows.map(({ source, table, row }) => ({ 'in files': source, 'in table': table, row }));
  await showFirst(['in files', 'in table', 'row'], lines, io);
}

async function showFirst(names: string[], lines: Item[], io: Io): Promise<void> {
  if (lines.length === 0) return;
  const columns = names.map((name) => ({ name, isNumber: false }));
  await showTable(columns, lines.slice(0, lines_max), io);
  if (lines.length > lines_max) io.stdout.write(`and ${whole(lines.length - lines_max)} more; --json lists all\n`);
}

function formatSide({ values, min, max, sum }: Side): string {
  return `${whole(values)} from ${min ?? '-'} to ${max ?? '-'}${sum === null ? '' : `, sum ${sum}`}`;
}
