import { type Command, Option } from 'commander';
import { type CommonOptions, connect, tableName } from '../../config.ts';
import type { Io } from '../../io.ts';
import { collect, number, splitPair } from '../../options.ts';
import { datasetPath, tablePath } from '../../paths.ts';
import { fetchAll, type Item, showList, showOne } from '../../show.ts';
import { names } from '../query.ts';
import {
  buildRetention,
  type Deleting,
  days,
  deleting,
  type Listing,
  listing,
  type Retention,
  remove,
  retentionDays,
  states,
  unless,
} from './catalogue.ts';

const parseLanes = unless('spread', number(1, 64));

type Change = CommonOptions &
  Retention & {
    state?: string;
    field?: string[];
    timestampColumn?: string;
    timestampPrecision?: string;
    keyFields?: string;
    partition?: string;
    lanes?: number | 'spread';
  };

export function tableCommands(program: Command, io: Io): void {
  const tables = program
    .command('tables')
    .description('manage tables: list, show, create, change, delete, schema, manifests');
  listing(
    tables.command('list', { isDefault: true }).description('list the tables of a dataset').argument('<dataset>'),
  ).action(async (dataset: string, _, own: Command) => {
    const options = own.optsWithGlobals<Listing>();
    const { timestore } = await connect(options, io);
    const { search, state, limit } = options;
    const rest = { limit, signal: io.signal };
    const items = await fetchAll(timestore, `${datasetPath(dataset)}/tables`, 'tables', { search, state }, rest);
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
  });
  tables
    .command('show')
    .description('show the fields and settings of a table')
    .argument('<dataset.table>')
    .action(async (name: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      const found = await timestore.call<Item>('GET', tablePath(name), { signal: io.signal });
      await showOne(found, own.optsWithGlobals(), io);
    });
  tables
    .command('create')
    .description('create a table with fields, keys and lanes; the first write creates a table with defaults')
    .argument('<dataset.table>')
    .option(
      '--field <name:type>',
      'string, double, integer, unsigned, decimal(p,s), boolean, json, timestamp, string[], map, vector(n); repeatable',
      collect,
    )
    .option('--timestamp-column <name>', 'default: timestamp')
    .addOption(new Option('--timestamp-precision <digits>', 'digits of a second; default: 9').choices(['3', '6', '9']))
    .option('--key-fields <names>', 'sort key before the timestamp, comma-separated')
    .addOption(new Option('--partition <window>').choices(['hour', 'day', 'month']))
    .option('--lanes <n>', 'number of lanes, which are flushed in parallel', number(1, 64))
    .option('--retention-days <n>', 'delete rows after this number of days', retentionDays)
    .option('--hot-days <n>', 'move rows to the cold volume after this number of days', days)
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Change>();
      const { dataset, table } = tableName(name);
      const { timestore } = await connect(options, io);
      const { timestampColumn, timestampPrecision: digits, keyFields, partition, lanes, field } = options;
      const body = {
        name: table,
        timestampColumn,
        partition,
        lanes,
        ...buildRetention(options),
        ...(digits !== undefined && { timestampPrecision: Number(digits) }),
        ...(keyFields !== undefined && { keyFields: names(keyFields) }),
        ...(field !== undefined && { fields: field.map(parseField) }),
      };
      const rest = { body, signal: io.signal };
      await showOne(await timestore.call<Item>('POST', `${datasetPath(dataset)}/tables`, rest), options, io);
    });
  tables
    .command('change')
    .description('change lanes, state or retention of a table')
    .argument('<dataset.table>')
    .option('--lanes <n>', 'number of lanes; spread: a lane on every shard of the cluster', parseLanes)
    .addOption(new Option('--state <state>', 'frozen rejects writes; archived is hidden in lists').choices(states))
    .option('--retention-days <n>', 'none keeps rows forever; inherit uses that of the dataset', retentionDays)
    .option('--hot-days <n>', 'move rows to the cold volume after this number of days', days)
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Change>();
      const { timestore } = await connect(options, io);
      const body = { lanes: options.lanes, state: options.state, ...buildRetention(options) };
      await showOne(await timestore.call<Item>('PATCH', tablePath(name), { body, signal: io.signal }), options, io);
    });
  deleting(tables.command('delete').description('delete a table and its rows').argument('<dataset.table>')).action(
    async (name: string, _, own: Command) => {
      await remove(tablePath(name), `This deletes table ${name} and its rows.`, own.optsWithGlobals<Deleting>(), io);
    },
  );
  const histories = [
    ['schema', 'versions', 'list the schema versions of a table', ['version', 'createdAt', 'added']],
    [
      'manifests',
      'manifests',
      'list the manifests of a table, one a flush',
      ['id', 'lane', 'sequences', 'rows', 'bytes', 'trigger', 'flushedAt'],
    ],
  ] as const;
  for (const [name, member, description, columns] of histories) {
    tables
      .command(name)
      .description(description)
      .argument('<dataset.table>')
      .option('-n, --limit <n>', 'maximum number of results', number(1, 10_000), 100)
      .action(async (table: string, _, own: Command) => {
        const options = own.optsWithGlobals<Listing>();
        const { timestore } = await connect(options, io);
        const rest = { limit: options.limit, signal: io.signal };
        const items = await fetchAll(timestore, `${tablePath(table)}/${name}`, member, {}, rest);
        await showList(items, [...columns], options, io);
      });
  }
}

/** Parses `--field NAME:TYPE`. Throws CliFailure. */
export function parseField(text: string): { name: string; type: string } {
  const [name, type] = splitPair('--field', text, 'NAME:TYPE');
  return { name, type };
}
