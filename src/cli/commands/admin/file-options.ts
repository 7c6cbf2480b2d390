import { type Command, Option } from 'commander';
import { usage } from '../../failure.ts';
import { findFile, type LocalFile, type Selection } from '../../import/local-file.ts';
import { type Format, formats } from '../../ingest/source.ts';
import type { Io } from '../../io.ts';
import { collect, type PatientOptions, patienceOption, renameOption } from '../../options.ts';
import { chosenRows, names } from '../query.ts';

/** Which files, objects and rows of them a command reads. */
export type FileOptions = PatientOptions &
  Selection & { object?: string[]; from?: string; to?: string; rename?: Record<string, string> };

/** What a command takes that reads files and objects for a table. */
export function fileOptions(command: Command): Command {
  return command
    .argument('<dataset.table>')
    .argument('[file...]', 'Parquet, CSV with names in its first line, NDJSON; plain, gzip or zstd; or DuckDB')
    .option('--object <key>', 'an object of the bucket; may be repeated', collect)
    .addOption(new Option('-f, --format <format>', 'of all files, where it is not plain').choices([...formats]))
    .option('--duckdb', 'files are of DuckDB, as those that end in .duckdb, .ddb and .db are')
    .option('--from-table <name>', 'the table or view of a DuckDB file')
    .option('--sql <statement>', 'or what it gives: SELECT …')
    .option('--from <time>', 'rows from here on')
    .option('--to <time>', 'rows before')
    .option('-c, --columns <names>', 'with commas between; all by default')
    .addOption(renameOption())
    .addOption(patienceOption('how long to try again while the server is away'));
}

/** What a request says of the rows. */
export const rowOptions = (options: FileOptions) => ({
  ...chosenRows(options),
  ...(options.columns !== undefined && { columns: names(options.columns) }),
  ...(options.rename !== undefined && { rename: options.rename }),
});

/** Finds all files. Throws CliFailure for what is not there, cannot be told, or is of several formats. */
export async function findFiles(
  paths: string[],
  options: FileOptions,
  io: Io,
): Promise<{ files: LocalFile[]; format: Format | undefined }> {
  if (options.sql !== undefined && options.fromTable !== undefined) {
    throw usage('--sql and --from-table say different things. Use one.');
  }
  const files = await Promise.all(paths.map((path) => findFile(path, options, io)));
  const [first] = files;
  const other = files.find(({ format }) => format !== first?.format);
  if (options.format === undefined && first !== undefined && other !== undefined) {
    throw usage(
      `Files have to be of one format: ${first.label} is ${first.format}, ${other.label} is ${other.format}. Give each format a command of its own.`,
    );
  }
  return { files, format: options.format ?? first?.format };
}
