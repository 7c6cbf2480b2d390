import type { Command } from 'commander';
import { type CommonOptions, connect } from '../../config.ts';
import { usage } from '../../failure.ts';
import type { Io } from '../../io.ts';
import { duration, number, verificationSides } from '../../options.ts';
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
    .description('keys: list, show, create, rotate, revoke')
    .addHelpText('after', examples);
  keys
    .command('list', { isDefault: true })
    .description('all keys, without their secrets')
    .option('-n, --limit <n>', 'most of them', number(1, 10_000))
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { limit?: number }>();
      const { timestore } = await connect(options, io);
      const items = await fetchAll(timestore, path, 'keys', {}, { limit: options.limit, signal: io.signal });
      await showList(items, ['id', 'name', 'state', 'scopes', 'rowFilter', 'createdAt', 'expiresAt'], options, io);
    });
  keys
    .command('show')
    .description('one, without its secret')
    .argument('<id>')
    .action(async (id: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      await showOne(await timestore.call<Item>('GET', keyPath(id), { signal: io.signal }), own.optsWithGlobals(), io);
    });
  const create = keys.command('create').description('a new one; its secret is shown this once').argument('<name>');
  for (const scope of scopes)
    create.option(
      `--${scope} <datasets>`,
      `may ${scope === 'admin' ? 'administer' : scope === 'sql' ? 'use SQL over' : scope} these, with commas between; * is all`,
    );
  create
    .option('--row-filter <column=value>', 'reads rows with that value and no others')
    .option('--expires <time>', 'RFC 3339')
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Creating>();
      const granted = scopes.flatMap((scope) => {
        const list = options[scope];
        return list === undefined ? [] : [[scope, list === '*' ? '*' : names(list)]];
      });
      if (granted.length === 0)
        throw usage('Say what the key may do: --ingest, --query, --sql or --admin with datasets.');
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
    .description('a new key that may do the same; the old one ends after the overlap')
    .argument('<id>')
    .option('--overlap <time>', 'how long both are good', duration)
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
    .description('refused everywhere within 10 seconds')
    .argument('<id>')
    .option('-y, --yes', 'without asking')
    .action(async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { yes?: boolean }>();
      const { timestore } = await connect(options, io);
      await confirm(`Key ${id} is revoked for good.`, options, io);
      await showOne(await timestore.call<Item>('DELETE', keyPath(id), { signal: io.signal }), options, io);
    });
}

function parseRowFilter(text: string): Item {
  const [column, value] = verificationSides('--row-filter', text, 'COLUMN=VALUE');
  return { column, value };
}
