import type { Command } from 'commander';
import { type CommonOptions, connect } from '../../config.ts';
import type { Io } from '../../io.ts';
import { number } from '../../options.ts';
import { confirm, fetchAll, type Item, showList, showOne } from '../../show.ts';
import { names } from '../query.ts';
import { type Job, showJob, waiting } from './jobs.ts';

const path = '/v1/admin/webhooks';
const webhookPath = (id: string): string => `${path}/${encodeURIComponent(id)}`;

export function webhookCommands(program: Command, io: Io): void {
  const webhooks = program
    .command('webhooks')
    .description('manage webhooks for exports: list, create, test, deliveries, delete');
  webhooks
    .command('list', { isDefault: true })
    .description('list webhooks without their secrets')
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions>();
      const { timestore } = await connect(options, io);
      const items = await fetchAll(timestore, path, 'webhooks', {}, { signal: io.signal });
      await showList(items, ['id', 'url', 'events', 'datasets', 'createdAt'], options, io);
    });
  webhooks
    .command('create')
    .description('create a webhook; its signing secret is shown only once')
    .argument('<url>')
    .option('--datasets <names>', 'only events of these datasets, comma-separated')
    .action(async (url: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { datasets?: string }>();
      const { timestore } = await connect(options, io);
      const body = { url, ...(options.datasets !== undefined && { datasets: names(options.datasets) }) };
      await showOne(await timestore.call<Item>('POST', path, { body, signal: io.signal }), options, io);
    });
  waiting(webhooks.command('test').description('send a test event').argument('<id>')).action(
    async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { wait?: boolean }>();
      const { timestore } = await connect(options, io);
      const job = await timestore.call<Job>('POST', `${webhookPath(id)}/test`, { signal: io.signal });
      await showJob(timestore, job, options, io);
    },
  );
  webhooks
    .command('deliveries')
    .description('list deliveries and their attempts')
    .argument('<id>')
    .option('-n, --limit <n>', 'maximum number of results', number(1, 10_000), 50)
    .action(async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { limit: number }>();
      const { timestore } = await connect(options, io);
      const rest = { limit: options.limit, signal: io.signal };
      const items = await fetchAll(timestore, `${webhookPath(id)}/deliveries`, 'deliveries', {}, rest);
      await showList(items, ['id', 'state', 'event.type', 'attempts', 'createdAt', 'finishedAt'], options, io);
    });
  webhooks
    .command('delete')
    .description('delete a webhook and its pending deliveries')
    .argument('<id>')
    .option('-y, --yes', 'skip the confirmation prompt')
    .action(async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { yes?: boolean }>();
      const { timestore } = await connect(options, io);
      await confirm(`This deletes webhook ${id}.`, options, io);
      await timestore.call('DELETE', webhookPath(id), { signal: io.signal });
      io.stderr.write(`Deleted ${id}.\n`);
    });
}
