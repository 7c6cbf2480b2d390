import type { Command } from 'commander';
import { connect } from '../../config.ts';
import type { Io } from '../../io.ts';
import { showOne } from '../../show.ts';
import { type Difference, differenceText } from './differences.ts';
import type { MonitorOptions } from './index.ts';

type SetUp = { dataset: string; created: string[]; changed: string[]; left: Difference[] };

export function setUpCommand(monitor: Command, io: Io): void {
  monitor
    .command('setup')
    .description('make the tables of a monitored dataset; a repetition changes only what differs')
    .action(async (_, own: Command) => setUp(own.optsWithGlobals<MonitorOptions>(), io));
}

async function setUp(options: MonitorOptions, io: Io): Promise<void> {
  const { timestore } = await connect(options, io);
  const query = { dataset: options.dataset };
  const result = await timestore.call<SetUp>('POST', '/v1/monitor/setup', { query, signal: io.signal });
  if (options.json) {
    await showOne(result, options, io);
    return;
  }
  for (const name of result.created) io.stdout.write(`+ ${name}\n`);
  for (const change of result.changed) io.stdout.write(`~ ${change}\n`);
  if (result.created.length + result.changed.length === 0) io.stdout.write('Nothing to change.\n');
  for (const each of result.left) io.stderr.write(`Warning: ${differenceText(each)}. It stays as it is.\n`);
}
