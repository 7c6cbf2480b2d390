import { type Command, Option } from 'commander';
import { type Timestore, TimestoreError } from '../../../client/index.ts';
import { type CommonOptions, connect, stateFolder, tableName } from '../../config.ts';
import { CliFailure, exitCodes, interrupted, toFailure, usage } from '../../failure.ts';
import { intoBucket } from '../../import/bucket.ts';
import { follow, type Import, importPath, showImport } from '../../import/follow.ts';
import type { LocalFile } from '../../import/local-file.ts';
import { retryPatiently } from '../../import/patiently.ts';
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

All rows of all files show at one moment, or none does. Files go into the bucket first, and the server reads them from there:
what follows goes on there, whether this command waits for it or not.

With --key a command that broke off is given again as it was: files that are in the bucket already are not sent again, and an
import that was made is not made twice. What it is about is on record on this machine (--state). A key is of one import of the
same files with the same options, and any other use of it is refused; from another machine, or without the record, too.`;

export function importCommands(program: Command, io: Io): void {
  const imports = program
    .command('imports')
    .description('files that are read into a table, all or nothing: list, show, create')
    .addHelpText('after', examples);
  imports
    .command('list', { isDefault: true })
    .description('the newest first')
    .option('--dataset <name>')
    .addOption(new Option('--state <state>').choices(['queued', 'running', 'done', 'failed']))
    .option('-n, --limit <n>', 'most of them', number(1, 10_000), 50)
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
  waiting(imports.command('show').description('how far one is, and which rows are at fault').argument('<id>'))
    .addOption(patienceOption('how long to try again while the server is away'))
    .action(async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<PatientOptions & { wait?: boolean }>();
      const { timestore } = await connect(options, io);
      const found = await timestore.call<Import>('GET', importPath(id), { signal: io.signal });
      const over = options.wait ? await followed(timestore, found, options, io) : found;
      await showImport(over, { ...options, all: true }, new Map(), io);
    });
  waiting(fileOptions(imports.command('create').description('of files, and of objects that are in the bucket')))
    .option('--field <name:type>', 'of one that the table lacks, as in `tables create`; may be repeated', collect)
    .option('--timestamp-column <name>', 'of a new table; timestamp by default')
    .addOption(
      new Option('--timestamp-precision <digits>', 'of a second, of a new table; 9 by default').choices([
        '3',
        '6',
        '9',
      ]),
    )
    .option('--key-fields <names>', 'of a new table: the sort key before the timestamp, with commas between')
    .option('--key <key>', 'the same command with the same key is the same import')
    .option('--state <folder>', `where it is on record what was uploaded under a key (${stateFolder})`)
    .addHelpText('after', examples)
    .action(async (name: string, files: string[], _, own: Command) =>
      create(name, files, own.optsWithGlobals<Creating>(), io),
    );
}

function withCounts(job: Item): Item {
  const { objects } = job.request as { objects: string[] };
  return { ...job, objects: objects.length, rows: (job.result as { rows?: number } | null)?.rows };
}

/** Throws CliFailure where it is not over yet: it goes on without this command. */
async function followed(timestore: Timestore, begun: Import, options: PatientOptions, io: Io): Promise<Import> {
  try {
    return await follow(timestore, begun, options, io);
  } catch (error) {
    throw ended(error, `The import goes on: \`timestore imports show ${begun.id} --wait\` follows it.`, io);
  }
}

function ended(error: unknown, further: string, io: Io): CliFailure {
  const failure = io.signal.aborted ? interrupted() : toFailure(error);
  if (failure.exitCode === exitCodes.usage) return failure;
  return new CliFailure(`${failure.message}\n${further}`, failure.exitCode, error);
}

async function create(name: string, paths: string[], options: Creating, io: Io): Promise<void> {
  const { dataset, table } = tableName(name);
  const { object: objects = [], key } = options;
  if (paths.length === 0 && objects.length === 0) throw usage('Say what is imported: files, or --object KEY.');
  const wanted = buildRequest(options);
  const { files, format } = await findFiles(paths, options, io);
  // How long it is tried again is for --patience to say.
  const { timestore, url } = await connect(options, io, { attempts: 1 });
  const isRecorded = key !== undefined && files.length > 0;
  const folder = options.state ?? io.env.TIMESTORE_STATE ?? stateFolder;
  const record = isRecorded ? await ImportRecord.open(folder, { url, dataset, table, key }) : undefined;
  const asked = JSON.stringify({ objects, format, files: files.map((file) => file.mark), ...wanted });
  const creation = { timestore, name, options, record, io };
  const before = record?.begun;
  if (before !== undefined && before.asked !== asked) {
    throw new CliFailure(
      `Under the key ${key} something else was imported into ${name}: other files, other options, or these files before they ` +
        'changed. Nothing was imported now. Under another --key it is another import.',
    );
  }
  let body = before?.body;
  let labels = new Map<string, string>();
  if (body === undefined) {
    const sent = await uploadAll(files, wanted, creation);
    const fields = sent.fields.length > 0 && { fields: sent.fields };
    body = { objects: [...objects, ...sent.objects], format, ...wanted, ...fields };
    ({ labels } = sent);
    await record?.begin(asked, body);
  }
  const begun = await begin(body, creation);
  const over = options.wait ? await followed(timestore, begun, options, io) : begun;
  await showImport(over, { ...options, all: false }, labels, io);
}

/** What the request says besides where the rows are. */
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

/** Has all files in the bucket. Throws CliFailure with what became of the import. */
async function uploadAll(files: LocalFile[], wanted: ReturnType<typeof buildRequest>, creation: Creation) {
  const { record, io } = creation;
  try {
    return await intoBucket(files, { ...creation, fields: wanted.fields, columns: wanted.columns }, io);
  } catch (error) {
    const again = record === undefined ? '' : ' The same command goes on with what is in the bucket already.';
    throw ended(error, `Nothing was imported.${again}`, io);
  }
}

async function begin(body: Item, { timestore, name, options, record, io }: Creation): Promise<Import> {
  const { signal } = io;
  const headers = { 'idempotency-key': options.key ?? crypto.randomUUID() };
  try {
    return await retryPatiently(
      () => timestore.call<Import>('POST', `${tablePath(name)}/imports`, { body, headers, isRepeatable: true, signal }),
      { patienceMs: options.patience, signal },
    );
  } catch (error) {
    if (error instanceof TimestoreError && !error.retryable) {
      await record?.refused();
      if (error.code !== 'key-reused') throw error;
      throw new CliFailure(
        `Under the key ${options.key} something else was imported into ${name}: other files or options, or the same from ` +
          `another machine. Nothing was imported now; \`timestore imports\` lists what was. Under another --key it is another import.`,
        exitCodes.failed,
        error,
      );
    }
    const further =
      options.key === undefined
        ? '`timestore imports` tells whether it was made.'
        : 'The same command goes on from there, and imports nothing twice.';
    throw ended(error, `It is not known whether the import was made. ${further}`, io);
  }
}
