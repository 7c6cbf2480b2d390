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
    .description('who is told of exports: list, create, test, deliveries, delete');
  webhooks
    .command('list', { isDefault: true })
    .description('all of them, without their secrets')
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions>();
      const { timestore } = await connect(options, io);
      const items = await fetchAll(timestore, path, 'webhooks', {}, { signal: io.signal });
      await showList(items, ['id', 'url', 'events', 'datasets', 'createdAt'], options, io);
    });
  webhooks
    .command('create')
    .description('a new one; what its deliveries are signed with is shown this once')
    .argument('<url>')
    .option('--datasets <names>', 'events of these alone, with commas between')
    .action(async (url: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { datasets?: string }>();
      const { timestore } = await connect(options, io);
      const body = { url, ...(options.datasets !== undefined && { datasets: names(options.datasets) }) };
      await showOne(await timestore.call<Item>('POST', path, { body, signal: io.signal }), options, io);
    });
  waiting(webhooks.command('test').description('sends it an event of type test').argument('<id>')).action(
    async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { wait?: boolean }>();
      const { timestore } = await connect(options, io);
      const job = await timestore.call<Job>('POST', `${webhookPath(id)}/test`, { signal: io.signal });
      await showJob(timestore, job, options, io);
    },
  );
  webhooks
    .command('deliveries')
    .description('what it was sent, with every attempt')
    .argument('<id>')
    .option('-n, --limit <n>', 'most of them', number(1, 10_000), 50)
    .action(async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { limit: number }>();
      const { timestore } = await connect(options, io);
      const rest = { limit: options.limit, signal: io.signal };
      const items = await fetchAll(timestore, `${webhookPath(id)}/deliveries`, 'deliveries', {}, rest);
      await showList(items, ['id', 'state', 'event.type', 'attempts', 'createdAt', 'finishedAt'], options, io);
    });
  webhooks
    .command('delete')
    .description('what is not delivered yet is not delivered any more')
    .argument('<id>')
    .option('-y, --yes', 'without asking')
    .action(async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions & { yes?: boolean }>();
      const { timestore } = await connect(options, io);
      await confirm(`Webhook ${id} is deleted.`, options, io);
      await timestore.call('DELETE', webhookPath(id), { signal: io.signal });
      io.stderr.write(`${id} is deleted.\n`);
    });
}
