import { type Command, Option } from 'commander';
import { usage } from '../../failure.ts';
import { findFile, type LocalFile, type Selection } from '../../import/local-file.ts';
import { type Format, formats } from '../../ingest/source.ts';
import type { Io } from '../../io.ts';
import { collect, type PatientOptions, patienceOption, renameOption } from '../../options.ts';
import { names, selectRows } from '../query.ts';

/** The files, objects and rows that a command reads. */
export type FileOptions = PatientOptions &
  Selection & { object?: string[]; from?: string; to?: string; rename?: Record<string, string> };

/** The arguments and options of commands that read files and objects. */
export function fileOptions(command: Command): Command {
  return command
    .argument('<dataset.table>')
    .argument(
      '[file...]',
      'Parquet, CSV with a header line, or NDJSON, plain or compressed with gzip or zstd; or DuckDB',
    )
    .option('--object <key>', 'an object of the bucket; repeatable', collect)
    .addOption(new Option('-f, --format <format>', 'format of all files; default: detected').choices([...formats]))
    .option('--duckdb', 'read files as DuckDB databases, like .duckdb, .ddb and .db files')
    .option('--from-table <name>', 'table or view of a DuckDB file')
    .option('--sql <statement>', 'SELECT statement on a DuckDB file')
    .option('--from <time>', 'start of the time range')
    .option('--to <time>', 'end of the time range, excluded')
    .option('-c, --columns <names>', 'comma-separated; default: all')
    .addOption(renameOption())
    .addOption(patienceOption('how long to retry while the server is unavailable'));
}

/** The row selection of a request. */
export const rowOptions = (options: FileOptions) => ({
  ...selectRows(options),
  ...(options.columns !== undefined && { columns: names(options.columns) }),
  ...(options.rename !== undefined && { rename: options.rename }),
});

/** Finds all files. Throws CliFailure for missing files, an unknown format, or several formats. */
export async function findFiles(
  paths: string[],
  options: FileOptions,
  io: Io,
): Promise<{ files: LocalFile[]; format: Format | undefined }> {
  if (options.sql !== undefined && options.fromTable !== undefined) {
    throw usage('--sql and --from-table exclude each other.');
  }
  const files = await Promise.all(paths.map((path) => findFile(path, options, io)));
  const [first] = files;
  const other = files.find(({ format }) => format !== first?.format);
  if (options.format === undefined && first !== undefined && other !== undefined) {
    throw usage(
      `All files must have one format: ${first.label} is ${first.format}, ${other.label} is ${other.format}. Use a command for each format.`,
    );
  }
  return { files, format: options.format ?? first?.format };
}
