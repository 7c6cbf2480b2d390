import { type Command, Option } from 'commander';
import { type CommonOptions, connect, tableName } from '../../config.ts';
import { usage } from '../../failure.ts';
import type { Io } from '../../io.ts';
import { collect, duration, number, sidesOf } from '../../options.ts';
import { datasetPath, tablePath } from '../../paths.ts';
import { allOf, confirm, type Item, showList, showOne } from '../../show.ts';
import { names } from '../query.ts';

const states = ['active', 'frozen', 'archived'];
const most = 1e15;
const days = number(1, 36_500);

type Listing = CommonOptions & { search?: string; state?: string; limit?: number };

type Change = CommonOptions & {
  title?: string;
  state?: string;
  retentionDays?: number | 'none' | 'inherit';
  hotDays?: number;
  rowsPerDay?: number | 'none';
  bytesPerDay?: number | 'none';
  storageBytes?: number | 'none';
  reads?: string;
  mirror?: boolean;
};

type Deleting = CommonOptions & { grace?: number; yes?: boolean };

const unless =
  <Word extends string>(word: Word, parse: (text: string) => number) =>
  (text: string): number | Word =>
    text === word ? word : parse(text);

const lanesOf = unless('spread', number(1, 64));

const retentionDays = (text: string) => (text === 'none' || text === 'inherit' ? text : days(text));

/** `null` is for ever. */
function retentionOf({ retentionDays: total, hotDays }: Change): Item {
  if (total === undefined) {
    if (hotDays !== undefined) throw usage('--hot-days goes with --retention-days.');
    return {};
  }
  if (total === 'inherit') return { retention: 'inherit' };
  return { retention: total === 'none' ? null : { totalDays: total, ...(hotDays !== undefined && { hotDays }) } };
}

/** A quota is said as a whole: parts that are not named stay as they are. */
function quotaOf({ rowsPerDay, bytesPerDay, storageBytes }: Change, before: Item | null): Item {
  const asked = Object.entries({ rowsPerDay, bytesPerDay, storageBytes }).filter(([, value]) => value !== undefined);
  if (asked.length === 0) return {};
  const merged = Object.entries({ ...before, ...Object.fromEntries(asked) });
  const quota = Object.fromEntries(merged.filter(([, value]) => value !== 'none' && value !== null));
  return { quota: Object.keys(quota).length === 0 ? null : quota };
}

/** Said as a whole as well; null is this deployment alone. */
function migrationOf({ reads: read, mirror: mirrored }: Change, before: Item | null): Item {
  if (read === undefined && mirrored === undefined) return {};
  const { reads, mirror } = { reads: read ?? before?.reads ?? 'on', mirror: mirrored ?? before?.mirror ?? false };
  return { migration: reads === 'on' && !mirror ? null : { reads, mirror } };
}

function limits(command: Command): Command {
  return command
    .option('--title <text>', 'for people')
    .option('--retention-days <n>', 'rows older than so many days go; none keeps them for ever', retentionDays)
    .option('--hot-days <n>', 'they move to the cold volume before', days)
    .option('--rows-per-day <n>', 'quota; none takes it away', unless('none', number(1, most)))
    .option('--bytes-per-day <n>', 'quota; none takes it away', unless('none', number(1, most)))
    .option('--storage-bytes <n>', 'quota; none takes it away', unless('none', number(1, most)));
}

const listing = (command: Command): Command =>
  command
    .option('--search <text>', 'names that have it')
    .addOption(new Option('--state <state>').choices([...states, 'deleting']))
    .option('-n, --limit <n>', 'most of them', number(1, 10_000));

const deleting = (command: Command): Command =>
  command
    .option('--grace <time>', 'how long it can be taken back: 0s, 12h, 7d', duration)
    .option('-y, --yes', 'without asking');

export function datasetCommands(program: Command, io: Io): void {
  const datasets = program.command('datasets').description('datasets: list, show, create, change, delete, comparisons');
  const columns = ['name', 'title', 'state', 'tables', 'retention', 'quota', 'createdAt'];
  listing(datasets.command('list', { isDefault: true }).description('all datasets')).action(async (_, own: Command) => {
    const options = own.optsWithGlobals<Listing>();
    const { timestore } = await connect(options, io);
    const { search, state, limit } = options;
    const items = await allOf(
      timestore,
      '/v1/admin/datasets',
      'datasets',
      { search, state },
      { limit, signal: io.signal },
    );
    await showList(items, columns, options, io);
  });
  datasets
    .command('show')
    .description('one, with what of its quota is used')
    .argument('<dataset>')
    .action(async (name: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await showOne(
        await timestore.call<Item>('GET', datasetPath(name), { signal: io.signal }),
        own.optsWithGlobals(),
        io,
      );
    });
  limits(datasets.command('create').description('a new one').argument('<dataset>')).action(
    async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Change>();
      const { timestore } = await connect(options, io);
      const body = { name, title: options.title, ...retentionOf(options), ...quotaOf(options, null) };
      await showOne(await timestore.call<Item>('POST', '/v1/admin/datasets', { body, signal: io.signal }), options, io);
    },
  );
  limits(
    datasets.command('change').description('its title, state, retention, quota or migration').argument('<dataset>'),
  )
    .addOption(new Option('--state <state>', 'frozen takes no rows, archived is left out of lists').choices(states))
    .addOption(
      new Option(
        '--reads <mode>',
        'off: the system it is taken over from answers; compare: and is compared with',
      ).choices(['off', 'compare', 'on']),
    )
    .option('--mirror', 'send accepted rows to that system')
    .option('--no-mirror', 'stop sending them')
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Change>();
      const { timestore } = await connect(options, io);
      const before = await timestore.open('GET', datasetPath(name), { signal: io.signal });
      const { quota, migration } = (await before.json()) as { quota: Item | null; migration: Item | null };
      const { title, state } = options;
      const parts = { ...retentionOf(options), ...quotaOf(options, quota), ...migrationOf(options, migration) };
      const body = { title, state, ...parts };
      // Of what was read: a change that somebody else makes meanwhile is not undone.
      const headers = { 'if-match': before.headers.get('etag') ?? '*' };
      const rest = { body, headers, signal: io.signal };
      await showOne(await timestore.call<Item>('PATCH', datasetPath(name), rest), options, io);
    });
  datasets
    .command('spread')
    .description('gives each of its tables a lane on every shard of the cluster, for rows from now on')
    .argument('<dataset>')
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions>();
      const { timestore } = await connect(options, io);
      const { signal } = io;
      const spread: Item[] = [];
      for (const table of await allOf(timestore, `${datasetPath(name)}/tables`, 'tables', {}, { signal })) {
        const path = tablePath(`${name}.${table.name}`);
        spread.push(await timestore.call<Item>('PATCH', path, { body: { lanes: 'spread' }, signal }));
      }
      await showList(spread, ['name', 'lanes', 'shards'], options, io);
    });
  datasets
    .command('comparisons')
    .description('answers of the system it is taken over from that differ')
    .argument('<dataset>')
    .option('-n, --limit <n>', 'most of them', number(1, 10_000))
    .action(async (name: string, _, own: Command) => showComparisons(name, own.optsWithGlobals<Listing>(), io));
  deleting(datasets.command('delete').description('it and all its tables').argument('<dataset>')).action(
    async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Deleting>();
      await remove(datasetPath(name), `Dataset ${name} with all its tables is deleted.`, options, io);
    },
  );
}

async function showComparisons(name: string, options: Listing, io: Io): Promise<void> {
  const { timestore } = await connect(options, io);
  const rest = { limit: options.limit, signal: io.signal };
  const items = await allOf(timestore, `${datasetPath(name)}/comparisons`, 'comparisons', {}, rest);
  const columns = [
    'at',
    'table',
    'reason',
    'fields',
    'counts.origin',
    'counts.here',
    'counts.originOnly',
    'counts.hereOnly',
  ];
  await showList(items, columns, options, io);
}

async function remove(path: string, what: string, options: Deleting, io: Io): Promise<void> {
  const { timestore } = await connect(options, io);
  await confirm(what, options, io);
  const query = { graceSeconds: options.grace === undefined ? undefined : Math.ceil(options.grace / 1000) };
  await showOne(await timestore.call<Item>('DELETE', path, { query, signal: io.signal }), options, io);
}

type Creating = Change & {
  field?: string[];
  timestampColumn?: string;
  keyFields?: string;
  partition?: string;
  lanes?: number | 'spread';
};

export function tableCommands(program: Command, io: Io): void {
  const tables = program.command('tables').description('tables: list, show, create, change, delete, schema, manifests');
  listing(tables.command('list', { isDefault: true }).description('tables of a dataset').argument('<dataset>')).action(
    async (dataset: string, _, own: Command) => {
      const options = own.optsWithGlobals<Listing>();
      const { timestore } = await connect(options, io);
      const { search, state, limit } = options;
      const rest = { limit, signal: io.signal };
      const items = await allOf(timestore, `${datasetPath(dataset)}/tables`, 'tables', { search, state }, rest);
      const columns = [
        'name',
        'state',
        'lanes',
        'partition',
        'retention',
        'schema.version',
        'schema.keyFields',
        'createdAt',
      ];
      await showList(items, columns, options, io);
    },
  );
  tables
    .command('show')
    .description('its fields and settings')
    .argument('<dataset.table>')
    .action(async (name: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      const found = await timestore.call<Item>('GET', tablePath(name), { signal: io.signal });
      await showOne(found, own.optsWithGlobals(), io);
    });
  tables
    .command('create')
    .description('one with fields, keys and lanes from the start; writes make plain ones')
    .argument('<dataset.table>')
    .option(
      '--field <name:type>',
      'string, double, integer, boolean, json, timestamp, string[], vector(n); may be repeated',
      collect,
    )
    .option('--timestamp-column <name>', 'timestamp by default')
    .option('--key-fields <names>', 'the sort key before the timestamp, with commas between')
    .addOption(new Option('--partition <window>').choices(['hour', 'day', 'month']))
    .option('--lanes <n>', 'logs that are flushed side by side', number(1, 64))
    .option('--retention-days <n>', 'rows older than so many days go', retentionDays)
    .option('--hot-days <n>', 'they move to the cold volume before', days)
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Creating>();
      const { dataset, table } = tableName(name);
      const { timestore } = await connect(options, io);
      const { timestampColumn, keyFields, partition, lanes, field } = options;
      const body = {
        ...{ name: table, timestampColumn, partition, lanes, ...retentionOf(options) },
        ...(keyFields !== undefined && { keyFields: names(keyFields) }),
        ...(field !== undefined && { fields: field.map(fieldOf) }),
      };
      const rest = { body, signal: io.signal };
      await showOne(await timestore.call<Item>('POST', `${datasetPath(dataset)}/tables`, rest), options, io);
    });
  tables
    .command('change')
    .description('its lanes, state or retention')
    .argument('<dataset.table>')
    .option('--lanes <n>', 'logs that are flushed side by side; spread: one on every shard of the cluster', lanesOf)
    .addOption(new Option('--state <state>', 'frozen takes no rows, archived is left out of lists').choices(states))
    .option('--retention-days <n>', 'none keeps rows for ever; inherit goes by the dataset’s', retentionDays)
    .option('--hot-days <n>', 'they move to the cold volume before', days)
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Creating>();
      const { timestore } = await connect(options, io);
      const body = { lanes: options.lanes, state: options.state, ...retentionOf(options) };
      await showOne(await timestore.call<Item>('PATCH', tablePath(name), { body, signal: io.signal }), options, io);
    });
  deleting(tables.command('delete').description('it and its rows').argument('<dataset.table>')).action(
    async (name: string, _, own: Command) => {
      await remove(tablePath(name), `Table ${name} with its rows is deleted.`, own.optsWithGlobals<Deleting>(), io);
    },
  );
  const histories = [
    ['schema', 'versions', 'each version of its schema, with what it added', ['version', 'createdAt', 'added']],
    [
      'manifests',
      'manifests',
      'what each flush put where',
      ['id', 'lane', 'sequences', 'rows', 'bytes', 'trigger', 'flushedAt'],
    ],
  ] as const;
  for (const [name, member, description, columns] of histories) {
    tables
      .command(name)
      .description(description)
      .argument('<dataset.table>')
      .option('-n, --limit <n>', 'most of them', number(1, 10_000), 100)
      .action(async (table: string, _, own: Command) => {
        const options = own.optsWithGlobals<Listing>();
        const { timestore } = await connect(options, io);
        const rest = { limit: options.limit, signal: io.signal };
        const items = await allOf(timestore, `${tablePath(table)}/${name}`, member, {}, rest);
        await showList(items, [...columns], options, io);
      });
  }
}

/** Of `--field NAME:TYPE`. Throws CliFailure. */
export function fieldOf(text: string): { name: string; type: string } {
  const [name, type] = sidesOf('--field', text, 'NAME:TYPE');
  return { name, type };
}
