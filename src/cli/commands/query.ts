import { type Command, Option } from 'commander';
import type { Aggregation, Downsample, Freshness, Query, QueryAnswer } from '../../client/index.ts';
import { type CommonOptions, connect, tableName } from '../config.ts';
import { usage } from '../failure.ts';
import { rowCount } from '../ingest/show-progress.ts';
import type { Io } from '../io.ts';
import { collect, duration, number } from '../options.ts';
import { deliver, formatFor, type OutputOptions, outputFormats, printWarnings, warningsIn } from '../output.ts';
import { showTable } from '../show.ts';
import { parseFilter } from '../where.ts';

export type FreshnessOptions = { consistency?: Freshness['consistency']; maxStaleness?: number; maxWait?: number };

type QueryOptions = CommonOptions &
  OutputOptions &
  FreshnessOptions & {
    from?: string;
    to?: string;
    last?: number;
    columns?: string;
    where?: string[];
    order?: string[];
    limit?: number;
    every?: string;
    agg?: string[];
    by?: string;
    fill?: Downsample['fill'];
    zone?: string;
  };

const examples = `
Examples
  timestore query demo.readings --last 1h
  timestore query demo.readings --where 'celsius>=20' --where 'sensor startsWith a' --order -celsius
  timestore query demo.readings --last 7d --every 6h --agg avg:celsius --agg p95:celsius --agg count --by sensor
  timestore query demo.readings --from 2026-05-01T00:00:00Z --to 2026-06-01T00:00:00Z --out may.parquet

A table shows 100 rows unless --limit is set; files and other formats have all rows.`;

const tableRows_default = 100;

/** Options of commands that read rows. */
export function readingOptions(command: Command): Command {
  return command
    .addOption(new Option('-f, --format <format>', 'format of the answer').choices([...outputFormats]))
    .option('-o, --out <file>', 'write to a file, in the format of its extension')
    .addOption(
      new Option('--consistency <how>', 'strict: every acknowledged row, or an error').choices([
        'strict',
        'bounded',
        'eventual',
      ]),
    )
    .option('--max-staleness <time>', 'with bounded: maximum age of missing rows', duration)
    .option('--max-wait <time>', 'how long the server may wait for the required freshness', duration);
}

export const buildFreshness = ({ consistency, maxStaleness, maxWait }: FreshnessOptions): Freshness => ({
  consistency,
  maxStalenessMs: maxStaleness,
  maxWaitMs: maxWait,
});

/** Options that select rows. */
export function selectionOptions(command: Command): Command {
  return command
    .option('--from <time>', 'start of the time range: RFC 3339, or YYYY-MM-DD hh:mm:ss in UTC')
    .option('--to <time>', 'end of the time range, excluded')
    .option('--last <time>', 'the last 30s, 5m, 12h, 7d …', duration)
    .option('-w, --where <condition>', 'COLUMN=VALUE, COLUMN>=VALUE, COLUMN OPERATOR VALUE; repeatable', collect);
}

export type RowSelection = Pick<QueryOptions, 'from' | 'to' | 'last' | 'where'>;

export function selectRows({ from, to, last, where }: RowSelection): Pick<Query, 'timeRange' | 'filters'> {
  if (last !== undefined && from !== undefined) throw usage('--last and --from exclude each other.');
  const start = last === undefined ? parseTime(from) : new Date(Date.now() - last).toISOString();
  const end = parseTime(to);
  return {
    ...((start ?? end) !== undefined && { timeRange: { start, end } }),
    ...(where !== undefined && { filters: { columns: where.map(parseFilter) } }),
  };
}

/** A date means midnight in UTC. */
const parseTime = (text: string | undefined): string | undefined =>
  text !== undefined && /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text} 00:00:00` : text;

export function queryCommand(program: Command, io: Io): void {
  const command = program
    .command('query')
    .description('query rows of a table, or aggregates')
    .argument('<dataset.table>');
  readingOptions(selectionOptions(command))
    .option('-c, --columns <names>', 'comma-separated; default: all')
    .option('--order <column>', 'sort column, -column for descending order; repeatable', collect)
    .option('-n, --limit <n>', 'maximum number of rows', number(1, 1_000_000_000))
    .option('--every <interval>', 'aggregates over 10s, 5m, 6h, 1d, 1w, 1mo')
    .option(
      '--agg <function[:column]>',
      'avg min max sum median count count_distinct first last p95 …; repeatable',
      collect,
    )
    .option('--by <columns>', 'group columns, comma-separated')
    .addOption(
      new Option('--fill <how>', 'values of intervals without rows').choices(['none', 'null', 'zero', 'previous']),
    )
    .option('--zone <name>', 'time zone of the intervals: Europe/Zurich')
    .addHelpText('after', examples)
    .action(async (table: string, _, own: Command) => query(table, own.optsWithGlobals<QueryOptions>(), io));
}

async function query(name: string, options: QueryOptions, io: Io): Promise<void> {
  const { dataset, table } = tableName(name);
  const format = formatFor(options, io);
  const { limit } = options;
  const body: Query = {
    ...selectRows(options),
    ...buildFreshness(options),
    ...(options.columns !== undefined && { columns: names(options.columns) }),
    ...(options.order !== undefined && { orderBy: options.order.map(parseOrder) }),
    ...buildDownsample(options),
  };
  const { timestore } = await connect(options, io);
  if (format === 'table') {
    const answer = await timestore
      .table(dataset, table)
      .query({ ...body, limit: limit ?? tableRows_default, signal: io.signal });
    await showAnswer(answer, limit, io);
    return;
  }
  const all = format === 'json' ? limit : (limit ?? null);
  const response = await timestore.open('POST', `/v1/datasets/${encodeURIComponent(dataset)}/query`, {
    body: { ...body, tableName: table, format, limit: all },
    isRepeatable: true,
    signal: io.signal,
  });
  printWarnings(warningsIn(response), io);
  await deliver(response, options.out, io);
}

async function showAnswer(
  answer: QueryAnswer<Record<string, unknown>>,
  limit: number | undefined,
  io: Io,
): Promise<void> {
  const { columns, types, rows, warnings, cursor } = answer;
  const tableColumns = columns.map((name, i) => ({ name, isNumber: isNumber(types[i] ?? '') }));
  await showTable(tableColumns, rows, io);
  const more = cursor !== null && cursor !== undefined && limit === undefined;
  io.stderr.write(`${rowCount(rows.length)}${more ? '; more rows match: --limit N, or --out FILE for all' : ''}\n`);
  printWarnings(warnings, io);
}

export const isNumber = (type: string): boolean => /^(Nullable\()?(U?Int|Float|Decimal)/.test(type);

export const names = (text: string): string[] => text.split(',').map((name) => name.trim());

const parseOrder = (text: string) =>
  text.startsWith('-') ? { column: text.slice(1), direction: 'desc' as const } : { column: text };

const units: Record<string, Downsample['intervalUnit']> = {
  s: 'second',
  m: 'minute',
  h: 'hour',
  d: 'day',
  w: 'week',
  mo: 'month',
};

function buildDownsample({ every, agg, by, fill, zone, columns }: QueryOptions): { downsample?: Downsample } {
  if (every === undefined) {
    if (agg ?? by ?? fill ?? zone) throw usage('--agg, --by, --fill and --zone require --every.');
    return {};
  }
  const [, size, unit = ''] = /^(\d+)(s|m|h|d|w|mo)$/.exec(every) ?? [];
  const intervalUnit = units[unit];
  if (intervalUnit === undefined) throw usage(`--every ${every} is not an interval: 10s, 5m, 6h, 1d, 1w, 1mo.`);
  if (columns !== undefined) throw usage('--columns does not apply to aggregates: use --agg and --by.');
  return {
    downsample: {
      intervalUnit,
      intervalSize: Number(size),
      aggregations: (agg ?? ['count']).map(parseAggregation),
      ...(by !== undefined && { groupBy: names(by) }),
      fill,
      timeZone: zone,
    },
  };
}

function parseAggregation(text: string): Aggregation {
  const at = text.indexOf(':');
  const [name, column] = at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
  const [, percentile] = /^p(\d+(?:\.\d+)?)$/.exec(name) ?? [];
  if (percentile === undefined) return { function: name as Aggregation['function'], column };
  return {
    function: 'percentile',
    percentile: Number(percentile),
    column,
    as: `${name}_${column}`.replaceAll('.', '_'),
  };
}
