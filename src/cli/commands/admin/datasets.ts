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

const quota_max = 1e15;

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

/** The API replaces a quota as a whole, so that missing parts are taken from the present one. */
function buildQuota({ rowsPerDay, bytesPerDay, storageBytes }: Change, before: Item | null): Item {
  const changes = Object.entries({ rowsPerDay, bytesPerDay, storageBytes }).filter(([, value]) => value !== undefined);
  if (changes.length === 0) return {};
  const merged = Object.entries({ ...before, ...Object.fromEntries(changes) });
  const quota = Object.fromEntries(merged.filter(([, value]) => value !== 'none' && value !== null));
  return { quota: Object.keys(quota).length === 0 ? null : quota };
}

/** The API replaces a takeover as a whole; null ends it. */
function buildTakeover({ reads: read, mirror: mirrorOption }: Change, before: Item | null): Item {
  if (read === undefined && mirrorOption === undefined) return {};
  const { reads, mirror } = { reads: read ?? before?.reads ?? 'on', mirror: mirrorOption ?? before?.mirror ?? false };
  return { migration: reads === 'on' && !mirror ? null : { reads, mirror } };
}

function limits(command: Command): Command {
  return command
    .option('--title <text>', 'a display name')
    .option('--retention-days <n>', 'delete rows after this number of days; none keeps them forever', retentionDays)
    .option('--hot-days <n>', 'move rows to the cold volume after this number of days', days)
    .option('--rows-per-day <n>', 'quota; none removes it', unless('none', number(1, quota_max)))
    .option('--bytes-per-day <n>', 'quota; none removes it', unless('none', number(1, quota_max)))
    .option('--storage-bytes <n>', 'quota; none removes it', unless('none', number(1, quota_max)));
}

export function datasetCommands(program: Command, io: Io): void {
  const datasets = program
    .command('datasets')
    .description('manage datasets: list, show, create, change, spread, delete, comparisons');
  const columns = ['name', 'title', 'state', 'tables', 'retention', 'quota', 'createdAt'];
  listing(datasets.command('list', { isDefault: true }).description('list datasets')).action(
    async (_, own: Command) => {
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
    },
  );
  datasets
    .command('show')
    .description('show a dataset and the use of its quota')
    .argument('<dataset>')
    .action(async (name: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await showOne(
        await timestore.call<Item>('GET', datasetPath(name), { signal: io.signal }),
        own.optsWithGlobals(),
        io,
      );
    });
  limits(datasets.command('create').description('create a dataset').argument('<dataset>')).action(
    async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Change>();
      const { timestore } = await connect(options, io);
      const body = { name, title: options.title, ...buildRetention(options), ...buildQuota(options, null) };
      await showOne(await timestore.call<Item>('POST', '/v1/admin/datasets', { body, signal: io.signal }), options, io);
    },
  );
  limits(
    datasets.command('change').description('change title, state, retention, quota or takeover').argument('<dataset>'),
  )
    .addOption(new Option('--state <state>', 'frozen rejects writes; archived is hidden in lists').choices(states))
    .addOption(
      new Option(
        '--reads <mode>',
        'off: the source system answers; compare: it answers and Timestore is compared with it; on: Timestore answers',
      ).choices(['off', 'compare', 'on']),
    )
    .option('--mirror', 'mirror accepted rows to the source system')
    .option('--no-mirror', 'stop the mirror')
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Change>();
      const { timestore } = await connect(options, io);
      const before = await timestore.open('GET', datasetPath(name), { signal: io.signal });
      const { quota, migration } = (await before.json()) as { quota: Item | null; migration: Item | null };
      const { title, state } = options;
      const parts = { ...buildRetention(options), ...buildQuota(options, quota), ...buildTakeover(options, migration) };
      const body = { title, state, ...parts };
      // Prevents overwriting a concurrent change.
      const headers = { 'if-match': before.headers.get('etag') ?? '*' };
      const rest = { body, headers, signal: io.signal };
      await showOne(await timestore.call<Item>('PATCH', datasetPath(name), rest), options, io);
    });
  datasets
    .command('spread')
    .description('add lanes on every shard of the cluster to each table, for new rows')
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
    .description('list differences between answers of the source system and Timestore')
    .argument('<dataset>')
    .option('-n, --limit <n>', 'maximum number of results', number(1, 10_000))
    .action(async (name: string, _, own: Command) => showComparisons(name, own.optsWithGlobals<Listing>(), io));
  deleting(datasets.command('delete').description('delete a dataset and all its tables').argument('<dataset>')).action(
    async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Deleting>();
      await remove(datasetPath(name), `This deletes dataset ${name} and all its tables.`, options, io);
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
