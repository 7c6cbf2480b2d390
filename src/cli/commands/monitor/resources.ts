import type { Command } from 'commander';
import { type Collection, collections, type Kind } from '../../../monitoring/resources/kinds.ts';
import { connect } from '../../config.ts';
import type { Io } from '../../io.ts';
import { number } from '../../options.ts';
import { askSecret } from '../../secret.ts';
import { confirm, fetchAll, type Item, showList, showOne } from '../../show.ts';
import { secretsPath } from './apply.ts';
import type { MonitorOptions } from './index.ts';

/** The members that a list shows, from the definition. */
const columns: Record<Kind, string[]> = {
  service: ['label', 'stack', 'serviceType', 'statusConfig.check', 'enabled'],
  relation: ['sourceServiceId', 'relationType', 'targetServiceId', 'enabled'],
  rule: ['ruleName', 'serviceId', 'condition', 'threshold', 'severity', 'enabled'],
  channel: ['kind', 'sendResolved', 'enabled'],
  silence: ['matchers', 'from', 'until', 'comment'],
  maintenance: ['title', 'services', 'from', 'until', 'cron', 'duration', 'timeZone'],
  page: ['title', 'isPublic'],
  slo: ['serviceId', 'target', 'window'],
};

export function resourceCommands(monitor: Command, io: Io): void {
  for (const [kind, collection] of Object.entries(collections) as [Kind, Collection][]) {
    const path = `/v1/monitor/${collection}`;
    const group = monitor.command(collection).description(`${collection}: list, show, remove`);
    group
      .command('list', { isDefault: true })
      .description(`list ${collection}`)
      .option('-n, --limit <n>', 'maximum number of results', number(1, 100_000))
      .action(async (_, own: Command) => {
        const options = own.optsWithGlobals<MonitorOptions & { limit?: number }>();
        const { timestore } = await connect(options, io);
        const { dataset, limit } = options;
        const items = await fetchAll(timestore, path, collection, { dataset }, { limit, signal: io.signal });
        const flat = items.map((item) => ({ ...(item.definition as Item), ...item }));
        await showList(options.json ? items : flat, ['id', ...columns[kind], 'changedAt'], options, io);
      });
    group
      .command('show')
      .description('show a definition with its defaults')
      .argument('<id>')
      .action(async (id: string, _, own: Command) => {
        const options = own.optsWithGlobals<MonitorOptions>();
        const { timestore } = await connect(options, io);
        const rest = { query: { dataset: options.dataset }, signal: io.signal };
        const item = await timestore.call<Item>('GET', `${path}/${encodeURIComponent(id)}`, rest);
        const { definition, ...others } = item;
        await showOne(options.json ? item : { ...others, ...(definition as Item) }, options, io);
      });
    group
      .command('remove')
      .description('delete it')
      .argument('<id>')
      .option('-y, --yes', 'skip the confirmation prompt')
      .action(async (id: string, _, own: Command) => {
        const options = own.optsWithGlobals<MonitorOptions & { yes?: boolean }>();
        const { timestore } = await connect(options, io);
        await confirm(`This deletes ${kind} ${id}.`, options, io);
        const rest = { query: { dataset: options.dataset }, signal: io.signal };
        await timestore.call('DELETE', `${path}/${encodeURIComponent(id)}`, rest);
        io.stderr.write(`Deleted ${id}.\n`);
      });
  }
  secretCommands(monitor, io);
}

function secretCommands(monitor: Command, io: Io): void {
  const secrets = monitor.command('secrets').description('secrets of definitions: list, set, remove');
  secrets
    .command('list', { isDefault: true })
    .description('list names; no command shows a value')
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<MonitorOptions>();
      const { timestore } = await connect(options, io);
      const { dataset } = options;
      const items = await fetchAll(timestore, secretsPath, 'secrets', { dataset }, { signal: io.signal });
      await showList(items, ['name', 'changedAt'], options, io);
    });
  secrets
    .command('set')
    .description('set a secret to the text of standard input')
    .argument('<name>')
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<MonitorOptions>();
      const { timestore } = await connect(options, io);
      const value = await askSecret(`Value of ${name}: `, io);
      const rest = { query: { dataset: options.dataset }, body: { value }, signal: io.signal };
      await timestore.call('PUT', `${secretsPath}/${encodeURIComponent(name)}`, rest);
    });
  secrets
    .command('remove')
    .description('delete a secret that no definition uses')
    .argument('<name>')
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<MonitorOptions>();
      const { timestore } = await connect(options, io);
      const rest = { query: { dataset: options.dataset }, signal: io.signal };
      await timestore.call('DELETE', `${secretsPath}/${encodeURIComponent(name)}`, rest);
    });
}
