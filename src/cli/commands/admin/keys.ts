import type { Command } from 'commander';
import { type CommonOptions, connect } from '../../config.ts';
import { usage } from '../../failure.ts';
import type { Io } from '../../io.ts';
import { duration, number, splitPair } from '../../options.ts';
import { confirm, fetchAll, type Item, showList, showOne } from '../../show.ts';
import { names } from '../query.ts';

const scopes = ['ingest', 'query', 'sql', 'admin'] as const;

type Creating = CommonOptions &
  Partial<Record<(typeof scopes)[number], string>> & { expires?: string; rowFilter?: string };

const path = '/v1/admin/keys';
const keyPath = (id: string): string => `${path}/${encodeURIComponent(id)}`;

const examples = `
Examples
  timestore keys create "site 7" --ingest demo --query demo,plant
  timestore keys create dashboards --query '*' --sql '*' --expires 2027-01-01T00:00:00Z
  timestore keys rotate 4f0c… --overlap 1d`;

export function keyCommands(program: Command, io: Io): void {
  const keys = program
    .command('keys')
    .description('manage API keys: list, show, create, rotate, revoke')
    .addHelpText('after', examples);
  keys
    .command('list', { isDefault: true })
    .description('list keys without their secrets')
    .option('-n, --limit <n>', 'maximum number of results', number(1, 10_000))
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { limit?: number }>();
      const { timestore } = await connect(options, io);
      const items = await fetchAll(timestore, path, 'keys', {}, { limit: options.limit, signal: io.signal });
      await showList(items, ['id', 'name', 'state', 'scopes', 'rowFilter', 'createdAt', 'expiresAt'], options, io);
    });
  keys
    .command('show')
    .description('show a key without its secret')
    .argument('<id>')
    .action(async (id: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await showOne(await timestore.call<Item>('GET', keyPath(id), { signal: io.signal }), own.optsWithGlobals(), io);
    });
  const create = keys.command('create').description('create a key; its secret is shown only once').argument('<name>');
  for (const scope of scopes)
    create.option(`--${scope} <datasets>`, `datasets of the scope ${scope}, comma-separated; * for all`);
  create
    .option('--row-filter <column=value>', 'restrict reads to rows with this value')
    .option('--expires <time>', 'expiry, RFC 3339')
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Creating>();
      const granted = scopes.flatMap((scope) => {
        const list = options[scope];
        return list === undefined ? [] : [[scope, list === '*' ? '*' : names(list)]];
      });
      if (granted.length === 0) throw usage('No scope: use --ingest, --query, --sql or --admin with datasets.');
      const { timestore } = await connect(options, io);
      const body = {
        name,
        scopes: Object.fromEntries(granted),
        expiresAt: options.expires,
        ...(options.rowFilter !== undefined && { rowFilter: parseRowFilter(options.rowFilter) }),
      };
      await showOne(await timestore.call<Item>('POST', path, { body, signal: io.signal }), options, io);
    });
  keys
    .command('rotate')
    .description('replace a key; the old one expires after the overlap')
    .argument('<id>')
    .option('--overlap <time>', 'how long both keys are valid', duration)
    .action(async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { overlap?: number }>();
      const { timestore } = await connect(options, io);
      const { overlap } = options;
      const body = overlap === undefined ? {} : { overlapSeconds: Math.ceil(overlap / 1000) };
      await showOne(
        await timestore.call<Item>('POST', `${keyPath(id)}/rotate`, { body, signal: io.signal }),
        options,
        io,
      );
    });
  keys
    .command('revoke')
    .description('revoke a key within 10 seconds')
    .argument('<id>')
    .option('-y, --yes', 'skip the confirmation prompt')
    .action(async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { yes?: boolean }>();
      const { timestore } = await connect(options, io);
      await confirm(`This revokes key ${id} permanently.`, options, io);
      await showOne(await timestore.call<Item>('DELETE', keyPath(id), { signal: io.signal }), options, io);
    });
}

function parseRowFilter(text: string): Item {
  const [column, value] = splitPair('--row-filter', text, 'COLUMN=VALUE');
  return { column, value };
}
