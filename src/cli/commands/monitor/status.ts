import type { Command } from 'commander';
import { connect } from '../../config.ts';
import type { Io } from '../../io.ts';
import { type Item, showList, showOne } from '../../show.ts';
import type { MonitorOptions } from './index.ts';

type Storage = { dataset: string; tables: Item[]; slowQueries: Item[] | null };

export function statusCommand(monitor: Command, io: Io): void {
  monitor
    .command('status')
    .description(
      'sizes and rows of the tables of a dataset, how far ClickHouse is behind, and the slowest recent queries',
    )
    .action(async (_, own: Command) => status(own.optsWithGlobals<MonitorOptions>(), io));
}

async function status(options: MonitorOptions, io: Io): Promise<void> {
  const { timestore } = await connect(options, io);
  const query = { dataset: options.dataset };
  const storage = await timestore.call<Storage>('GET', '/v1/monitor/storage', { query, signal: io.signal });
  if (options.json) {
    await showOne(storage, options, io);
    return;
  }
  const columns = ['name', 'rows', 'bytes', 'parts', 'partitions', 'retentionDays', 'pendingRows', 'behind_ms'];
  await showList(storage.tables, columns, options, io);
  if (storage.slowQueries === null) {
    io.stderr.write('The slowest queries are unknown: Timestore may not read system.query_log.\n');
    return;
  }
  if (storage.slowQueries.length === 0) return;
  io.stdout.write('\n');
  await showList(storage.slowQueries, ['longest_ms', 'mean_ms', 'runs', 'readRows', 'query'], options, io);
}
