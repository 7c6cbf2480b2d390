import { createInterface } from 'node:readline';
import { type Command, Option } from 'commander';
import { type Table, type Timestore, TimestoreError, WriteError, type WriteOptions } from '../../client/index.ts';
import { connect, stateFolder, tableName } from '../config.ts';
import { CliFailure, exitCodes, interrupted, toFailure, usage } from '../failure.ts';
import { load, type Progress } from '../ingest/load.ts';
import { rowCount, showProgress, whole } from '../ingest/show-progress.ts';
import { type Format, findSource, formats } from '../ingest/source.ts';
import type { Io } from '../io.ts';
import { number, type PatientOptions, patienceOption, renameOption } from '../options.ts';
import { tablePath } from '../paths.ts';

type IngestOptions = PatientOptions & {
  table: string;
  format?: Format;
  run: string;
  rename?: Record<string, string>;
  onError: 'reject' | 'quarantine';
  ack: 'buffered' | 'durable' | 'flushed';
  parallel: number;
  batchRows: number;
  batchBytes: number;
  state?: string;
  live?: boolean;
};

const examples = `
Examples
  timestore ingest readings.ndjson --table demo.readings
  timestore ingest 2026-*.csv.gz --table demo.readings --parallel 8 --on-error quarantine
  zcat old.ndjson.gz | timestore ingest - --table demo.readings
  tail -F app.log | timestore ingest - --table demo.log --live

Repeat the command to resume an interrupted load. Under one --run name each row of a file is accepted once, however often the
command runs; of a file that has grown, only the new rows are accepted.`;

export function ingestCommand(program: Command, io: Io): void {
  program
    .command('ingest')
    .description('ingest files, each row exactly once')
    .argument('<file...>', 'NDJSON, CSV with a header line, or Parquet; plain, gzip or zstd; - is standard input')
    .requiredOption('-t, --table <dataset.table>', 'the table; the first rows create it')
    .addOption(new Option('-f, --format <format>', 'format of the files; default: detected').choices([...formats]))
    .addOption(
      new Option('--on-error <how>', 'invalid rows: reject their batch and end the load, or quarantine them')
        .choices(['reject', 'quarantine'])
        .default('reject'),
    )
    .addOption(
      new Option('--ack <when>', 'when the server acknowledges a batch')
        .choices(['buffered', 'durable', 'flushed'])
        .default('buffered'),
    )
    .option('--run <name>', 'name of the load: under another name, the same rows are accepted again', 'default')
    .addOption(renameOption())
    .option('--live', 'stream standard input: rows are sent within a second, and cannot be resumed')
    .option('-p, --parallel <n>', 'number of concurrent requests', number(1, 64), 4)
    .option('--batch-rows <n>', 'maximum rows of a request', number(1, 50_000), 20_000)
    .option('--batch-bytes <n>', 'approximate maximum bytes of a request', number(1_000, 8_000_000), 2_000_000)
    .addOption(patienceOption('how long to retry while the server accepts nothing'))
    .option('--state <folder>', `folder of the journals of sent files (${stateFolder})`)
    .addHelpText('after', examples)
    .action(async (files: string[], _, command: Command) =>
      ingest(files, command.optsWithGlobals<IngestOptions>(), io),
    );
}

async function ingest(files: string[], options: IngestOptions, io: Io): Promise<void> {
  const { dataset, table: name } = tableName(options.table);
  if (files.filter((file) => file === '-').length > 1) throw usage('Standard input can be read only once.');
  if (options.live && (files.length > 1 || files[0] !== '-'))
    throw usage('--live reads standard input only: timestore ingest - …');
  const sources = await Promise.all(files.map(findSource));
  // The load retries by the progress of all batches, so that the client does not retry.
  const { timestore, url } = await connect(options, io, options.live ? {} : { attempts: 1 });
  const file = sources[0]?.name ?? '';
  const counts = { bytesRead: 0, accepted: 0, before: 0, quarantined: 0, requests: 0 };
  const progress: Progress = { ...counts, file, waits: undefined };
  const sizes = sources.map(({ bytes }) => bytes);
  const bytes = sizes.includes(undefined) ? undefined : sizes.reduce((sum: number, each) => sum + (each ?? 0), 0);
  const bar = options.quiet ? undefined : showProgress(io, progress, bytes);
  const from = performance.now();
  const { format, parallel, patience: patienceMs, ack, onError, rename } = options;
  const write = { ack, onError, ...(rename && { rename }) };
  // Renamed fields make different rows, which need other idempotency keys.
  const run = rename === undefined ? options.run : JSON.stringify([options.run, rename]);
  try {
    if (options.live) {
      await follow(timestore.table(dataset, name), write, progress, io);
    } else {
      await load(
        sources,
        {
          url,
          run,
          format,
          write,
          patienceMs,
          requests: parallel,
          table: timestore.table(dataset, name),
          receipt: (batchId) => timestore.receipt(batchId),
          readTimeFields: () => readTimeFields(timestore, options.table, io),
          state: options.state ?? io.env.TIMESTORE_STATE ?? stateFolder,
          limits: { rows: options.batchRows, bytes: options.batchBytes },
          stdin: io.stdin,
          signal: io.signal,
          onChange: () => bar?.changed(),
        },
        progress,
      );
    }
  } catch (error) {
    bar?.end();
    throw toEndFailure(error, progress, io, options.live ? 'live' : sizes.includes(undefined) ? 'pipe' : 'files');
  }
  bar?.end();
  const seconds = (performance.now() - from) / 1000;
  if (options.json) io.stdout.write(`${JSON.stringify(summary(progress, seconds))}\n`);
  else io.stdout.write(`${formatCounts(progress)} in ${seconds.toFixed(1)} s${rate(progress, seconds)}.\n`);
}

/** The timestamp fields; `timestamp` for a table that does not exist yet, or whose schema the key may not read. */
async function readTimeFields(timestore: Timestore, table: string, { signal }: Io): Promise<ReadonlySet<string>> {
  type Version = { fields: { name: string; type: string }[] };
  const path = `${tablePath(table)}/schema`;
  try {
    const { versions } = await timestore.call<{ versions: Version[] }>('GET', path, { query: { limit: 1 }, signal });
    const fields = versions[0]?.fields ?? [];
    return new Set(fields.filter(({ type }) => type === 'timestamp').map(({ name }) => name));
  } catch (error) {
    const isAnswer = error instanceof TimestoreError && ['not-found', 'forbidden'].includes(error.code);
    if (!isAnswer) throw error;
    return new Set(['timestamp']);
  }
}

const summary = ({ accepted, before, quarantined, requests }: Progress, seconds: number) => ({
  accepted,
  before,
  quarantined,
  requests,
  seconds: Math.round(seconds * 1000) / 1000,
});

function formatCounts({ accepted, before, quarantined }: Progress): string {
  const parts = [`${rowCount(accepted)} accepted`];
  if (quarantined > 0) parts.push(`${whole(quarantined)} quarantined`);
  if (before > 0) parts.push(`${whole(before)} accepted before`);
  return parts.join(', ');
}

const rate = ({ accepted }: Progress, seconds: number): string =>
  accepted > 0 && seconds >= 1 ? ` (${whole(accepted / seconds)} rows/s)` : '';

const nextSteps = {
  files: 'Repeat the command to resume; no row is stored twice',
  pipe: 'Send the same input again within 24 hours; no row is stored twice',
  live: 'Rows that were read later were not sent',
};

/** Adds the counts and the next step to the failure of a load. */
function toEndFailure(error: unknown, progress: Progress, io: Io, kind: keyof typeof nextSteps): CliFailure {
  const failure = io.signal.aborted ? interrupted() : toFailure(error);
  if (failure.exitCode === exitCodes.usage) return failure;
  return new CliFailure(`${failure.message}\n${formatCounts(progress)}. ${nextSteps[kind]}.`, failure.exitCode, error);
}

/** Streams rows until the end of the input or Ctrl-C. Input that cannot be read again needs no derivable keys. */
async function follow(
  table: Table,
  write: Pick<WriteOptions, 'ack' | 'onError' | 'rename'>,
  progress: Progress,
  { stdin, signal }: Io,
): Promise<void> {
  const writer = table.writer({
    write,
    onAccepted({ accepted, quarantined }) {
      progress.accepted += accepted;
      progress.quarantined += quarantined;
      progress.requests += 1;
    },
  });
  const end = () => stdin.destroy();
  signal.addEventListener('abort', end, { once: true });
  try {
    for await (const line of createInterface({ input: stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
      progress.bytesRead += line.length + 1;
      if (line.trim() !== '') await writer.addLine(line);
    }
    await writer.close();
  } catch (error) {
    throw error instanceof WriteError ? (error.cause ?? error) : error;
  } finally {
    signal.removeEventListener('abort', end);
  }
}
