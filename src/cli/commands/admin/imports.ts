import { type Command, Option } from 'commander';
import { type Timestore, TimestoreError } from '../../../client/index.ts';
import { type CommonOptions, connect, stateFolder, tableName } from '../../config.ts';
import { CliFailure, exitCodes, interrupted, toFailure, usage } from '../../failure.ts';
import { uploadFiles } from '../../import/bucket.ts';
import { follow, type Import, importPath, showImport } from '../../import/follow.ts';
import type { LocalFile } from '../../import/local-file.ts';
import { retry } from '../../import/patiently.ts';
import { ImportRecord } from '../../import/record.ts';
import type { Io } from '../../io.ts';
import { collect, number, type PatientOptions, patienceOption } from '../../options.ts';
import { tablePath } from '../../paths.ts';
import { fetchAll, type Item, showList } from '../../show.ts';
import { names } from '../query.ts';
import { type FileOptions, fileOptions, findFiles, rowOptions } from './file-options.ts';
import { waiting } from './jobs.ts';
import { parseField } from './tables.ts';

type Creating = FileOptions & {
  timestampColumn?: string;
  timestampPrecision?: string;
  keyFields?: string;
  key?: string;
  wait?: boolean;
  state?: string;
};

const examples = `
Examples
  timestore imports create demo.readings 2025-*.parquet --wait
  timestore imports create demo.readings old.csv.gz --field sensor:string --key old --wait
  timestore imports create demo.readings --object imports/demo/2025.parquet --object imports/demo/2026.parquet
  timestore imports create demo.readings data.duckdb --from-table readings --wait

An import is atomic: all rows of all files appear at once, or none. The command uploads the files to the bucket, and the server
imports them from there, whether the command waits or not.

With --key, an interrupted command can be repeated: uploaded files are not sent again, and an import is not created twice. The
state is recorded on this machine (--state). A key belongs to one import of the same files with the same options; any other
use fails, also from another machine or without the recorded state.`;

export function importCommands(program: Command, io: Io): void {
  const imports = program
    .command('imports')
    .description('manage imports of files: list, show, create')
    .addHelpText('after', examples);
  imports
    .command('list', { isDefault: true })
    .description('list imports, newest first')
    .option('--dataset <name>')
    .addOption(new Option('--state <state>').choices(['queued', 'running', 'done', 'failed']))
    .option('-n, --limit <n>', 'maximum number of results', number(1, 10_000), 50)
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { dataset?: string; state?: string; limit: number }>();
      const { timestore } = await connect(options, io);
      const { dataset, state, limit } = options;
      const query = { kind: 'import', dataset, state };
      const items = await fetchAll(timestore, '/v1/admin/jobs', 'jobs', query, { limit, signal: io.signal });
      const shown = options.json ? items : items.map(withCounts);
      await showList(
        shown,
        ['id', 'dataset', 'table', 'state', 'objects', 'rows', 'createdAt', 'finishedAt'],
        options,
        io,
      );
    });
  waiting(imports.command('show').description('show the progress and the invalid rows of an import').argument('<id>'))
    .addOption(patienceOption('how long to retry while the server is unavailable'))
    .action(async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<PatientOptions & { wait?: boolean }>();
      const { timestore } = await connect(options, io);
      const found = await timestore.call<Import>('GET', importPath(id), { signal: io.signal });
      const over = options.wait ? await followImport(timestore, found, options, io) : found;
      await showImport(over, { ...options, all: true }, new Map(), io);
    });
  waiting(fileOptions(imports.command('create').description('import files, and objects of the bucket')))
    .option('--field <name:type>', 'type of a new field, as in `tables create`; repeatable', collect)
    .option('--timestamp-column <name>', 'for a new table; default: timestamp')
    .addOption(
      new Option('--timestamp-precision <digits>', 'digits of a second, for a new table; default: 9').choices([
        '3',
        '6',
        '9',
      ]),
    )
    .option('--key-fields <names>', 'sort key before the timestamp, for a new table; comma-separated')
    .option('--key <key>', 'idempotency key: the command can be repeated')
    .option('--state <folder>', `folder of the recorded uploads (${stateFolder})`)
    .addHelpText('after', examples)
    .action(async (name: string, files: string[], _, own: Command) =>
      create(name, files, own.optsWithGlobals<Creating>(), io),
    );
}

function withCounts(job: Item): Item {
  const { objects } = job.request as { objects: string[] };
  return { ...job, objects: objects.length, rows: (job.result as { rows?: number } | null)?.rows };
}

/** Throws CliFailure where the wait ends first: the import continues on the server. */
async function followImport(timestore: Timestore, created: Import, options: PatientOptions, io: Io): Promise<Import> {
  try {
    return await follow(timestore, created, options, io);
  } catch (error) {
    throw toEndFailure(error, `The import continues; \`timestore imports show ${created.id} --wait\` follows it.`, io);
  }
}

function toEndFailure(error: unknown, further: string, io: Io): CliFailure {
  const failure = io.signal.aborted ? interrupted() : toFailure(error);
  if (failure.exitCode === exitCodes.usage) return failure;
  return new CliFailure(`${failure.message}\n${further}`, failure.exitCode, error);
}

async function create(name: string, paths: string[], options: Creating, io: Io): Promise<void> {
  const { dataset, table } = tableName(name);
  const { object: objects = [], key } = options;
  if (paths.length === 0 && objects.length === 0) throw usage('Nothing to import: name files, or --object KEY.');
  const requested = buildRequest(options);
  const { files, format } = await findFiles(paths, options, io);
  // Retries are up to `--patience`, not to the client.
  const { timestore, url } = await connect(options, io, { attempts: 1 });
  const isRecorded = key !== undefined && files.length > 0;
  const folder = options.state ?? io.env.TIMESTORE_STATE ?? stateFolder;
  const record = isRecorded ? await ImportRecord.open(folder, { url, dataset, table, key }) : undefined;
  const asked = JSON.stringify({ objects, format, files: files.map((file) => file.mark), ...requested });
  const creation = { timestore, name, options, record, io };
  const before = record?.begun;
  if (before !== undefined && before.asked !== asked) {
    throw new CliFailure(
      `Key ${key} belongs to an earlier import into ${name} with other files, other options, or an earlier version of these ` +
        'files. Nothing was imported. Use another --key for another import.',
    );
  }
  let body = before?.body;
  let labels = new Map<string, string>();
  if (body === undefined) {
    const sent = await uploadAll(files, requested, creation);
    const fields = sent.fields.length > 0 && { fields: sent.fields };
    body = { objects: [...objects, ...sent.objects], format, ...requested, ...fields };
    ({ labels } = sent);
    await record?.begin(asked, body);
  }
  const created = await begin(body, creation);
  const over = options.wait ? await followImport(timestore, created, options, io) : created;
  await showImport(over, { ...options, all: false }, labels, io);
}

/** The members of the request besides the objects. */
function buildRequest(options: Creating) {
  const { field, timestampColumn, timestampPrecision: digits, keyFields } = options;
  return {
    ...rowOptions(options),
    ...(field !== undefined && { fields: field.map(parseField) }),
    ...(timestampColumn !== undefined && { timestampColumn }),
    ...(digits !== undefined && { timestampPrecision: Number(digits) }),
    ...(keyFields !== undefined && { keyFields: names(keyFields) }),
  };
}

type Creation = {
  timestore: Timestore;
  name: string;
  options: Creating;
  record: ImportRecord | undefined;
  io: Io;
};

/** Uploads all files. Throws CliFailure. */
async function uploadAll(files: LocalFile[], requested: ReturnType<typeof buildRequest>, creation: Creation) {
  const { record, io } = creation;
  try {
    return await uploadFiles(files, { ...creation, fields: requested.fields, columns: requested.columns }, io);
  } catch (error) {
    const again = record === undefined ? '' : ' The same command continues the upload.';
    throw toEndFailure(error, `Nothing was imported.${again}`, io);
  }
}

async function begin(body: Item, { timestore, name, options, record, io }: Creation): Promise<Import> {
  const { signal } = io;
  const headers = { 'idempotency-key': options.key ?? crypto.randomUUID() };
  try {
    return await retry(
      () => timestore.call<Import>('POST', `${tablePath(name)}/imports`, { body, headers, isRepeatable: true, signal }),
      { patienceMs: options.patience, signal },
    );
  } catch (error) {
    if (error instanceof TimestoreError && !error.retryable) {
      await record?.removeRequest();
      if (error.code !== 'key-reused') throw error;
      throw new CliFailure(
        `Key ${options.key} belongs to an earlier import into ${name} with other files or options, or from another machine. ` +
          `Nothing was imported; \`timestore imports\` lists the imports. Use another --key for another import.`,
        exitCodes.failed,
        error,
      );
    }
    const further =
      options.key === undefined
        ? '`timestore imports` lists it if it was created.'
        : 'Repeat the command; nothing is imported twice.';
    throw toEndFailure(error, `The import may have been created. ${further}`, io);
  }
}
