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

/** What is done to one table, or told of all. */
export function tableOperations(program: Command, io: Io): void {
  program
    .command('flush')
    .description('moves what waits in the hot buffer to ClickHouse now')
    .argument('[dataset.table]', 'all tables if left out')
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
    .description('compares what was accepted with where it is; exit code 1 if rows are missing or doubled')
    .argument('[dataset.table]', 'the newest audit of each table if left out')
    .action(async (name: string | undefined, _, own: Command) => audit(name, own.optsWithGlobals<Own>(), io));
  program
    .command('reconcile')
    .description('compares a table with ClickHouse: columns, retention, storage policy')
    .argument('[dataset.table]', 'what was last found of each if left out')
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
  if (bad.length > 0) throw new CliFailure(`Rows do not add up in ${bad.join(', ')}.`);
}

const logColumns = ['at', 'actor', 'action', 'outcome', 'dataset', 'table', 'count'];

/** What is told of the deployment. */
export function tellingCommands(program: Command, io: Io): void {
  program
    .command('status')
    .description('which stores can be used; exit code 75 if rows cannot be taken')
    .action(async (_, own: Command) => status(own.optsWithGlobals<Own>(), io));
  program
    .command('audit-log')
    .description('who changed what, and who was refused')
    .option('--dataset <name>')
    .option('--actor <id>')
    .option('--action <name>')
    .addOption(new Option('--outcome <outcome>').choices(['done', 'refused']))
    .option('--from <time>', 'RFC 3339')
    .option('--to <time>', 'RFC 3339')
    .option('-n, --limit <n>', 'most of them', number(1, 10_000), 50)
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
    .description('how far a batch is')
    .argument('<batchId>')
    .action(async (id: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await showOne(await timestore.receipt(id), own.optsWithGlobals(), io);
    });
  program
    .command('storage')
    .description('volumes, disks and what is on them')
    .action(async (_, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      const items = await fetchAll(timestore, '/v1/admin/storage-targets', 'targets', {}, { signal: io.signal });
      await showList(items, ['kind', 'name', 'shard', 'available', 'policy', 'volumes'], own.optsWithGlobals(), io);
    });
  program
    .command('metrics')
    .description('what all instances have done and what waits, as Prometheus reads it')
    .action(async (_, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await print(io.stdout, await (await timestore.open('GET', '/metrics', { signal: io.signal })).text());
    });
}

export function quarantineCommands(program: Command, io: Io): void {
  const quarantine = program.command('quarantine').description('rows that were set aside: list, replay, discard');
  quarantine
    .command('list', { isDefault: true })
    .description('rows at fault, with why')
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
    .description('sends them again after a fix; each is accepted once')
    .argument('<dataset>')
    .option('--table <name>')
    .option('--ids <ids>', 'these alone, with commas between')
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
    .description('takes them off the list for good')
    .argument('<dataset>')
    .argument('<id...>')
    .option('-y, --yes', 'without asking')
    .action(async (dataset: string, ids: string[], _, own: Command) => {
      const options = own.optsWithGlobals<Own & { yes?: boolean }>();
      const { timestore } = await connect(options, io);
      await confirm(`${ids.length} rows of ${dataset} are left in quarantine for good.`, options, io);
      const rest = { body: { dataset, ids }, isRepeatable: true, signal: io.signal };
      await showOne(await timestore.call<Item>('POST', '/v1/admin/quarantine/discard', rest), options, io);
    });
}

export function savedCommands(program: Command, io: Io): void {
  const saved = program
    .command('saved')
    .description('saved queries: list, show, save, delete (run: timestore sql --saved)');
  saved
    .command('list', { isDefault: true })
    .description('all, or those of a dataset')
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
    .description('its statement')
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
    .description('keeps a statement under a name')
    .argument('<dataset/name>')
    .argument('<statement>', 'or - for standard input')
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
    .description('forgets it')
    .argument('<dataset/name>')
    .action(async (name: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await timestore.call('DELETE', savedPath(name), { signal: io.signal });
      io.stderr.write(`${name} is deleted.\n`);
    });
}

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

const callExamples = `
Examples
  timestore call GET /v1/sql/schema
  timestore call POST /v1/datasets/demo/ingest --data @orders.json
  timestore call DELETE '/v1/admin/datasets/demo/tables/old?graceSeconds=3600'`;

/** Whatever has no command of its own. */
export function callCommand(program: Command, io: Io): void {
  program
    .command('call')
    .description('any route of the API, as /openapi.json has it')
    .argument('<method>')
    .argument('<path>')
    .option('-d, --data <json>', 'the body; @file reads it from there, @- from standard input')
    .addHelpText('after', callExamples)
    .action(async (text: string, path: string, _, own: Command) => {
      const options = own.optsWithGlobals<Own & { data?: string }>();
      const method = methods.find((each) => each === text.toUpperCase());
      if (method === undefined) throw usage(`${text} is none of ${methods.join(', ')}.`);
      if (!path.startsWith('/')) throw usage(`A path begins with /, unlike ${path}.`);
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
    throw usage('--data is no JSON.');
  }
}
