import { type Command, Option } from 'commander';
import { type CommonOptions, connect } from '../../config.ts';
import type { Io } from '../../io.ts';
import { number } from '../../options.ts';
import { datasetPath, tablePath } from '../../paths.ts';
import { fetchAll, type Item, showList, showOne } from '../../show.ts';
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

const most = 1e15;

type Change = CommonOptions &
  Retention & {
    title?: string;
    state?: string;
    rowsPerDay?: number | 'none';
    bytesPerDay?: number | 'none';
    storageBytes?: number | 'none';
    reads?: string;
    mirror?: boolean;
  };

/** A quota is said as a whole: parts that are not named stay as they are. */
function buildQuota({ rowsPerDay, bytesPerDay, storageBytes }: Change, before: Item | null): Item {
  const asked = Object.entries({ rowsPerDay, bytesPerDay, storageBytes }).filter(([, value]) => value !== undefined);
  if (asked.length === 0) return {};
  const merged = Object.entries({ ...before, ...Object.fromEntries(asked) });
  const quota = Object.fromEntries(merged.filter(([, value]) => value !== 'none' && value !== null));
  return { quota: Object.keys(quota).length === 0 ? null : quota };
}

/** Said as a whole as well; null is this deployment alone. */
function buildTakeover({ reads: read, mirror: mirrored }: Change, before: Item | null): Item {
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

export function datasetCommands(program: Command, io: Io): void {
  const datasets = program
    .command('datasets')
    .description('datasets: list, show, create, change, spread, delete, comparisons');
  const columns = ['name', 'title', 'state', 'tables', 'retention', 'quota', 'createdAt'];
  listing(datasets.command('list', { isDefault: true }).description('all datasets')).action(async (_, own: Command) => {
    const options = own.optsWithGlobals<Listing>();
    const { timestore } = await connect(options, io);
    const { search, state, limit } = options;
    const items = await fetchAll(
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
      const body = { name, title: options.title, ...buildRetention(options), ...buildQuota(options, null) };
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
      const parts = { ...buildRetention(options), ...buildQuota(options, quota), ...buildTakeover(options, migration) };
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
      for (const table of await fetchAll(timestore, `${datasetPath(name)}/tables`, 'tables', {}, { signal })) {
        if (table.state === 'deleting') continue;
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
  const items = await fetchAll(timestore, `${datasetPath(name)}/comparisons`, 'comparisons', {}, rest);
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
