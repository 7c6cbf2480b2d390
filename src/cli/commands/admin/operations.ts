import { readFile } from 'node:fs/promises';
import { text as textOf } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import { type CommonOptions, connect, tableName } from '../../config.ts';
import { CliFailure, usage } from '../../failure.ts';
import { rowCount } from '../../ingest/show-progress.ts';
import { type Io, print } from '../../io.ts';
import { number } from '../../options.ts';
import { savedPath } from '../../paths.ts';
import { confirm, fetchAll, type Item, showList, showOne } from '../../show.ts';
import { names } from '../query.ts';
import { status } from './status.ts';

type Own = CommonOptions & Record<string, unknown>;

export function maintenanceCommands(program: Command, io: Io): void {
  program
    .command('flush')
    .description('flush the hot buffer to ClickHouse')
    .argument('[dataset.table]', 'default: all tables')
    .action(async (name: string | undefined, _, own: Command) => {
      const options = own.optsWithGlobals<Own>();
      const { timestore } = await connect(options, io);
      const body = name === undefined ? undefined : tableName(name);
      const rest = { body, isRepeatable: true, signal: io.signal };
      const { rows } = await timestore.call<{ rows: number }>('POST', '/v1/admin/flush', rest);
      await print(io.stdout, options.json ? `${JSON.stringify({ rows })}\n` : `${rowCount(rows)} flushed.\n`);
    });
  program
    .command('audit')
    .description('audit that every accepted row is stored once; exit code 1 for missing or duplicate rows')
    .argument('[dataset.table]', 'default: the latest audit of each table')
    .action(async (name: string | undefined, _, own: Command) => audit(name, own.optsWithGlobals<Own>(), io));
  program
    .command('reconcile')
    .description('compare the catalogue with ClickHouse: columns, retention, storage policy')
    .argument('[dataset.table]', 'default: the latest result of each table')
    .action(async (name: string | undefined, _, own: Command) => {
      const options = own.optsWithGlobals<Own>();
      const { timestore } = await connect(options, io);
      const path = '/v1/admin/reconcile';
      if (name === undefined) {
        const items = await fetchAll(timestore, path, 'reconciliations', {}, { signal: io.signal });
        await showList(items, ['dataset', 'table', 'drift', 'age_s'], options, io);
        return;
      }
      const rest = { body: tableName(name), isRepeatable: true, signal: io.signal };
      await showOne(await timestore.call<Item>('POST', path, rest), options, io);
    });
}

async function audit(name: string | undefined, options: Own, io: Io): Promise<void> {
  const { timestore } = await connect(options, io);
  const path = '/v1/admin/audit';
  const audits =
    name === undefined
      ? await fetchAll(timestore, path, 'audits', {}, { signal: io.signal })
      : [await timestore.call<Item>('POST', path, { body: tableName(name), isRepeatable: true, signal: io.signal })];
  const [only = {}] = audits;
  const columns = ['dataset', 'table', 'ok', 'missing', 'doubled', 'unaccounted'];
  if (name !== undefined && options.json) await showOne(only, options, io);
  else await showList(audits, columns, options, io);
  const bad = audits.filter(({ ok }) => ok !== true).map(({ dataset, table }) => `${dataset}.${table}`);
  if (bad.length > 0) throw new CliFailure(`Missing or duplicate rows in ${bad.join(', ')}.`);
}

const logColumns = ['at', 'actor', 'action', 'outcome', 'dataset', 'table', 'count'];

export function monitoringCommands(program: Command, io: Io): void {
  program
    .command('status')
    .description('show the status of the stores; exit code 75 if rows cannot be accepted')
    .action(async (_, own: Command) => status(own.optsWithGlobals<Own>(), io));
  program
    .command('audit-log')
    .description('list changes and denied requests')
    .option('--dataset <name>')
    .option('--actor <id>')
    .option('--action <name>')
    .addOption(new Option('--outcome <outcome>').choices(['done', 'refused']))
    .option('--from <time>', 'RFC 3339')
    .option('--to <time>', 'RFC 3339')
    .option('-n, --limit <n>', 'maximum number of results', number(1, 10_000), 50)
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<Own & { limit: number } & Record<string, string>>();
      const { timestore } = await connect(options, io);
      const { dataset, actor, action, outcome, from, to, limit } = options;
      const query = { dataset, actor, action, outcome, from, to };
      const items = await fetchAll(timestore, '/v1/admin/audit-log', 'lines', query, { limit, signal: io.signal });
      await showList(items, logColumns, options, io);
    });
  program
    .command('receipt')
    .description('show the status of a batch')
    .argument('<batchId>')
    .action(async (id: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await showOne(await timestore.receipt(id), own.optsWithGlobals(), io);
    });
  program
    .command('storage')
    .description('list volumes and disks')
    .action(async (_, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      const items = await fetchAll(timestore, '/v1/admin/storage-targets', 'targets', {}, { signal: io.signal });
      await showList(items, ['kind', 'name', 'shard', 'available', 'policy', 'volumes'], own.optsWithGlobals(), io);
    });
  program
    .command('metrics')
    .description('print metrics in the Prometheus format')
    .action(async (_, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await print(io.stdout, await (await timestore.open('GET', '/metrics', { signal: io.signal })).text());
    });
}

export function quarantineCommands(program: Command, io: Io): void {
  const quarantine = program.command('quarantine').description('manage quarantined rows: list, replay, discard');
  quarantine
    .command('list', { isDefault: true })
    .description('list quarantined rows with their reasons')
    .argument('<dataset>')
    .option('--table <name>')
    .action(async (dataset: string, _, own: Command) => {
      const options = own.optsWithGlobals<Own & { table?: string }>();
      const { timestore } = await connect(options, io);
      const path = `/v1/admin/quarantine/${encodeURIComponent(dataset)}`;
      const items = await fetchAll(timestore, path, 'rows', { table: options.table }, { signal: io.signal });
      await showList(items, ['id', 'timestamp', 'table', 'reason', 'field', 'detail', 'payload'], options, io);
    });
  quarantine
    .command('replay')
    .description('ingest quarantined rows again; each is accepted once')
    .argument('<dataset>')
    .option('--table <name>')
    .option('--ids <ids>', 'only these rows, comma-separated')
    .action(async (dataset: string, _, own: Command) => {
      const options = own.optsWithGlobals<Own & { table?: string; ids?: string }>();
      const { timestore } = await connect(options, io);
      const { table, ids } = options;
      const body = { dataset, table, ...(ids !== undefined && { ids: names(ids) }) };
      const rest = { body, isRepeatable: true, signal: io.signal };
      await showOne(await timestore.call<Item>('POST', '/v1/admin/quarantine/replay', rest), options, io);
    });
  quarantine
    .command('discard')
    .description('discard quarantined rows permanently')
    .argument('<dataset>')
    .argument('<id...>')
    .option('-y, --yes', 'skip the confirmation prompt')
    .action(async (dataset: string, ids: string[], _, own: Command) => {
      const options = own.optsWithGlobals<Own & { yes?: boolean }>();
      const { timestore } = await connect(options, io);
      await confirm(
        `This discards ${ids.length} quarantined ${ids.length === 1 ? 'row' : 'rows'} of ${dataset} permanently.`,
        options,
        io,
      );
      const rest = { body: { dataset, ids }, isRepeatable: true, signal: io.signal };
      await showOne(await timestore.call<Item>('POST', '/v1/admin/quarantine/discard', rest), options, io);
    });
}

export function savedCommands(program: Command, io: Io): void {
  const saved = program
    .command('saved')
    .description('manage saved queries: list, show, save, delete (run: timestore sql --saved)');
  saved
    .command('list', { isDefault: true })
    .description('list saved queries')
    .option('--dataset <name>')
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<Own & { dataset?: string }>();
      const { timestore } = await connect(options, io);
      const items = await fetchAll(
        timestore,
        '/v1/sql/saved',
        'queries',
        { dataset: options.dataset },
        { signal: io.signal },
      );
      await showList(items, ['dataset', 'name', 'description', 'sql', 'savedAt'], options, io);
    });
  saved
    .command('show')
    .description('show a saved query')
    .argument('<dataset/name>')
    .action(async (name: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await showOne(
        await timestore.call<Item>('GET', savedPath(name), { signal: io.signal }),
        own.optsWithGlobals(),
        io,
      );
    });
  saved
    .command('save')
    .description('save a statement under a name')
    .argument('<dataset/name>')
    .argument('<statement>', 'SQL, or - for standard input')
    .option('--description <text>')
    .action(async (name: string, statement: string, _, own: Command) => {
      const options = own.optsWithGlobals<Own & { description?: string }>();
      const { timestore } = await connect(options, io);
      const sql = statement === '-' ? await textOf(io.stdin) : statement;
      const body = { sql, description: options.description };
      await showOne(await timestore.call<Item>('PUT', savedPath(name), { body, signal: io.signal }), options, io);
    });
  saved
    .command('delete')
    .description('delete a saved query')
    .argument('<dataset/name>')
    .action(async (name: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await timestore.call('DELETE', savedPath(name), { signal: io.signal });
      io.stderr.write(`Deleted ${name}.\n`);
    });
}

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

const callExamples = `
Examples
  timestore call GET /v1/sql/schema
  timestore call POST /v1/datasets/demo/ingest --data @orders.json
  timestore call DELETE '/v1/admin/datasets/demo/tables/old?graceSeconds=3600'`;

export function callCommand(program: Command, io: Io): void {
  program
    .command('call')
    .description('call any route of the API, see /openapi.json')
    .argument('<method>')
    .argument('<path>')
    .option('-d, --data <json>', 'the body; @file reads a file, @- standard input')
    .addHelpText('after', callExamples)
    .action(async (text: string, path: string, _, own: Command) => {
      const options = own.optsWithGlobals<Own & { data?: string }>();
      const method = methods.find((each) => each === text.toUpperCase());
      if (method === undefined) throw usage(`Unknown method ${text}; use one of ${methods.join(', ')}.`);
      if (!path.startsWith('/')) throw usage(`The path ${path} must begin with /.`);
      const body = await readBody(options.data, io);
      const { timestore } = await connect(options, io);
      const response = await timestore.open(method, path, { body, signal: io.signal });
      const answer = await response.text();
      await print(io.stdout, answer === '' || answer.endsWith('\n') ? answer : `${answer}\n`);
    });
}

async function readBody(data: string | undefined, io: Io): Promise<unknown> {
  if (data === undefined) return undefined;
  const text =
    data === '@-' ? await textOf(io.stdin) : data.startsWith('@') ? await readFile(data.slice(1), 'utf8') : data;
  try {
    return JSON.parse(text);
  } catch {
    throw usage('--data is not JSON.');
  }
}
