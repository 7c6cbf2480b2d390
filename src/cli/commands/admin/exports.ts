import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { type CommonOptions, connect } from '../../config.ts';
import { CliFailure, exitCodes, usage } from '../../failure.ts';
import { rowCount, size } from '../../ingest/show-progress.ts';
import type { Io } from '../../io.ts';
import { duration, number } from '../../options.ts';
import { intoFile } from '../../output.ts';
import { tablePath } from '../../paths.ts';
import { confirm, fetchAll, type Item, showList, showOne } from '../../show.ts';
import { names, selectRows } from '../query.ts';
import { type Job, showJob, waiting } from './jobs.ts';

type Creating = CommonOptions & {
  format: string;
  from?: string;
  to?: string;
  last?: number;
  columns?: string;
  key?: string;
  wait?: boolean;
};

type Export = Item & {
  dataset: string;
  table: string;
  rows: number;
  objects: { day: string; key: string; bytes: number; url: string }[];
};

const path = '/v1/admin/exports';
const exportPath = (id: string): string => `${path}/${encodeURIComponent(id)}`;

const examples = `
Examples
  timestore exports create demo.readings --from 2026-05-01 --to 2026-06-01 --wait
  timestore exports download 4f0c… --to may/
  timestore exports show 4f0c… --json | jq -r '.objects[].url'`;

export function exportCommands(program: Command, io: Io): void {
  const exports = program
    .command('exports')
    .description('manage exports to the bucket, a file a day: list, show, create, download, delete')
    .addHelpText('after', examples);
  exports
    .command('list', { isDefault: true })
    .description('list published exports, newest first')
    .option('--dataset <name>')
    .option('--table <name>')
    .option('-n, --limit <n>', 'maximum number of results', number(1, 10_000), 50)
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { dataset?: string; table?: string; limit: number }>();
      const { timestore } = await connect(options, io);
      const { dataset, table, limit } = options;
      const items = await fetchAll(timestore, path, 'exports', { dataset, table }, { limit, signal: io.signal });
      const counted = options.json
        ? items
        : items.map((item) => ({ ...item, days: (item.objects as object[]).length }));
      await showList(
        counted,
        ['id', 'dataset', 'table', 'format', 'days', 'rows', 'bytes', 'publishedAt'],
        options,
        io,
      );
    });
  exports
    .command('show')
    .description('show an export with presigned URLs of its files')
    .argument('<id>')
    .addOption(new Option('--expires-in <time>', 'validity of the URLs').argParser(duration).default(3_600_000, '1h'))
    .action(async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { expiresIn: number }>();
      const { timestore } = await connect(options, io);
      const query = { expiresIn: Math.ceil(options.expiresIn / 1000) };
      await showOne(await timestore.call<Item>('GET', exportPath(id), { query, signal: io.signal }), options, io);
    });
  const create = exports.command('create').description('export all accepted rows, or those of a time range');
  waiting(create.argument('<dataset.table>'))
    .addOption(new Option('-f, --format <format>').choices(['parquet', 'csv', 'ndjson']).default('parquet'))
    .option('--from <time>', 'start of the time range')
    .option('--to <time>', 'end of the time range, excluded')
    .option('--last <time>', 'the last 12h, 7d …', duration)
    .option('-c, --columns <names>', 'comma-separated; default: all')
    .option('--key <key>', 'idempotency key: repeating the command does not create another export')
    .action(async (name: string, _, own: Command) => createExport(name, own.optsWithGlobals<Creating>(), io));
  exports
    .command('download')
    .description('download the files of an export; complete files are skipped')
    .argument('<id>')
    .option('--to <folder>', 'default: DATASET.TABLE-ID')
    .action(async (id: string, _, own: Command) => download(id, own.optsWithGlobals(), io));
  exports
    .command('delete')
    .description('delete an export and its files')
    .argument('<id>')
    .option('-y, --yes', 'skip the confirmation prompt')
    .action(async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { yes?: boolean }>();
      const { timestore } = await connect(options, io);
      await confirm(`This deletes export ${id} and its files.`, options, io);
      await timestore.call('DELETE', exportPath(id), { signal: io.signal });
      io.stderr.write(`Deleted ${id}.\n`);
    });
}

type Scheduling = CommonOptions & { hour: number; days: number; format: string; columns?: string };

export function scheduleCommands(program: Command, io: Io): void {
  const schedules = program.command('export-schedules').description('manage daily exports: list, set, remove');
  const schedulePath = (name: string): string => `${tablePath(name)}/export-schedule`;
  schedules
    .command('list', { isDefault: true })
    .description('list export schedules')
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions>();
      const { timestore } = await connect(options, io);
      const items = await fetchAll(timestore, '/v1/admin/export-schedules', 'schedules', {}, { signal: io.signal });
      await showList(items, ['dataset', 'table', 'hour', 'days', 'format', 'columns', 'nextAt'], options, io);
    });
  schedules
    .command('set')
    .description('export whole days of a table, daily at an hour (UTC)')
    .argument('<dataset.table>')
    .requiredOption('--hour <n>', 'hour of the day in UTC', number(0, 23))
    .option('--days <n>', 'number of whole days to export', number(1, 366), 1)
    .addOption(new Option('-f, --format <format>').choices(['parquet', 'csv', 'ndjson']).default('parquet'))
    .option('-c, --columns <names>', 'comma-separated; default: all')
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Scheduling>();
      const { timestore } = await connect(options, io);
      const { hour, days, format, columns } = options;
      const body = { hour, days, format, ...(columns !== undefined && { columns: names(columns) }) };
      await showOne(await timestore.call<Item>('PUT', schedulePath(name), { body, signal: io.signal }), options, io);
    });
  schedules
    .command('remove')
    .description('remove the schedule of a table; its exports remain')
    .argument('<dataset.table>')
    .action(async (name: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await timestore.call('DELETE', schedulePath(name), { signal: io.signal });
      io.stderr.write(`Removed the schedule of ${name}.\n`);
    });
}

async function createExport(name: string, options: Creating, io: Io): Promise<void> {
  const exportsPath = `${tablePath(name)}/exports`;
  const { timeRange } = selectRows(options);
  const body = {
    format: options.format,
    timeRange,
    ...(options.columns !== undefined && { columns: names(options.columns) }),
  };
  const { timestore } = await connect(options, io);
  const headers = { 'idempotency-key': options.key ?? crypto.randomUUID() };
  const job = await timestore.call<Job>('POST', exportsPath, { body, headers, isRepeatable: true, signal: io.signal });
  await showJob(timestore, job, options, io);
}

async function download(id: string, options: CommonOptions & { to?: string }, io: Io): Promise<void> {
  const { timestore } = await connect(options, io);
  const found = await timestore.call<Export>('GET', exportPath(id), { signal: io.signal });
  const folder = options.to ?? `${found.dataset}.${found.table}-${id}`;
  if ((await stat(folder).catch(() => undefined))?.isFile()) throw usage(`${folder} is a file.`);
  await mkdir(folder, { recursive: true });
  let files = 0;
  let bytes = 0;
  for (const { key, bytes: expected, url } of found.objects) {
    const file = join(folder, key.split('/').at(-1) ?? key);
    files += 1;
    if ((await stat(file).catch(() => undefined))?.size === expected) continue;
    // A presigned URL needs no key, which must not be sent to the bucket.
    const answer = await fetch(url, { signal: io.signal }).catch((error: unknown) => {
      if (io.signal.aborted) throw error;
      throw new CliFailure(`${new URL(url).origin} is unreachable. Try again.`, exitCodes.later, error);
    });
    if (!answer.ok)
      throw new CliFailure(`The bucket answered ${answer.status} for ${key}. Try again.`, exitCodes.later);
    const written = await intoFile((answer.body ?? new Blob().stream()) as AsyncIterable<Uint8Array>, file);
    if (written !== expected) throw new CliFailure(`${file} has ${written} bytes instead of ${expected}.`);
    bytes += written;
    if (!options.quiet) io.stderr.write(`${file}  ${size(written)}\n`);
  }
  const summary = { folder, files, rows: found.rows, bytes };
  if (options.json) io.stdout.write(`${JSON.stringify(summary)}\n`);
  else io.stdout.write(`${rowCount(found.rows)} in ${files} files in ${folder}, ${size(bytes)} downloaded.\n`);
}
