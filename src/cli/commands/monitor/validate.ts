import type { Command } from 'commander';
import { connect } from '../../config.ts';
import { CliFailure } from '../../failure.ts';
import type { Io } from '../../io.ts';
import { showList, showOne } from '../../show.ts';
import { type Difference, differenceText } from './differences.ts';
import type { MonitorOptions } from './index.ts';

type Column = { name: string; clickhouseType: string; isKey: boolean; isRequired: boolean; values: unknown[] | null };
type Table = {
  name: string;
  kind: string;
  columns: Column[];
  partition: string | null;
  retentionDays: number | null;
  isReadable: boolean | null;
};
type Validation = { dataset: string; isSetUp: boolean; tables: Table[]; differences: Difference[] };

export function validateCommand(monitor: Command, io: Io): void {
  monitor
    .command('validate')
    .description(
      'compare tables, columns, types, partitions, retention and rights with the set-up; exit code 1 if any differ',
    )
    .option('--columns', 'list every column')
    .action(async (_, own: Command) => validate(own.optsWithGlobals<MonitorOptions & { columns?: true }>(), io));
}

async function validate(options: MonitorOptions & { columns?: true }, io: Io): Promise<void> {
  const { timestore } = await connect(options, io);
  const query = { dataset: options.dataset };
  const result = await timestore.call<Validation>('GET', '/v1/monitor/schema', { query, signal: io.signal });
  if (options.json) await showOne(result, options, io);
  else if (options.columns) await showColumns(result, options, io);
  else await showTables(result, options, io);
  if (result.differences.length === 0) return;
  const lines = result.differences.map((each) => differenceText(each));
  throw new CliFailure(`Dataset ${result.dataset} differs from the set-up:\n  ${lines.join('\n  ')}`);
}

async function showTables({ tables }: Validation, options: MonitorOptions, io: Io): Promise<void> {
  const items = tables.map(({ columns, ...table }) => ({ ...table, columns: columns.length }));
  await showList(items, ['name', 'kind', 'columns', 'partition', 'retentionDays', 'isReadable'], options, io);
}

async function showColumns({ tables }: Validation, options: MonitorOptions, io: Io): Promise<void> {
  const items = tables.flatMap(({ name: table, columns }) => columns.map((column) => ({ table, ...column })));
  await showList(items, ['table', 'name', 'clickhouseType', 'isKey', 'isRequired', 'values'], options, io);
}
