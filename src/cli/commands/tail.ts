import { setTimeout as delay } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { type Query, type QueryAnswer, type Table, TimestoreError } from '../../client/index.ts';
import { rowText } from '../../client/write.ts';
import { type CommonOptions, connect, tableName } from '../config.ts';
import { CliFailure, exitCodes } from '../failure.ts';
import { type Io, print } from '../io.ts';
import { collect, duration, number } from '../options.ts';
import { printWarnings } from '../output.ts';
import { cellText } from '../table-text.ts';
import { parseFilter } from '../where.ts';
import { names } from './query.ts';

type TailOptions = CommonOptions & {
  where?: string[];
  columns?: string;
  lines: number;
  every: number;
  follow: boolean;
};

type Read = Record<string, unknown>;

const examples = `
Examples
  timestore tail demo.readings
  timestore tail demo.log --where 'level=error' -n 0 --json | jq .message

Each new row is shown once, in the order of acceptance.`;

export function tailCommand(program: Command, io: Io): void {
  program
    .command('tail')
    .description('follow the new rows of a table')
    .argument('<dataset.table>')
    .option('-w, --where <condition>', 'as in query; repeatable', collect)
    .option('-c, --columns <names>', 'comma-separated; default: all')
    .option('-n, --lines <n>', 'number of rows to start with', number(0, 10_000), 10)
    .addOption(new Option('--every <time>', 'polling interval').argParser(duration).default(1_000, '1s'))
    .option('--no-follow', 'show these rows and exit')
    .addHelpText('after', examples)
    .action(async (table: string, _, own: Command) => tail(table, own.optsWithGlobals<TailOptions>(), io));
}

const pageRows = 5_000;

type Show = (rows: Read[]) => Promise<void>;

async function tail(name: string, options: TailOptions, io: Io): Promise<void> {
  const { dataset, table: tableOnly } = tableName(name);
  const { timestore } = await connect(options, io);
  const table = timestore.table(dataset, tableOnly);
  const query: Query = {
    ...(options.where !== undefined && { filters: { columns: options.where.map(parseFilter) } }),
    ...(options.columns !== undefined && { columns: names(options.columns) }),
  };
  const show: Show = async (rows) => {
    const lines = rows.map((row) => `${options.json ? rowText(row) : lineText(row)}\n`);
    if (lines.length > 0) await print(io.stdout, lines.join(''));
  };
  let position: Position = { token: await begin(table, query, options.lines, io, show) };
  while (options.follow && !io.signal.aborted) {
    await delay(options.every, undefined, { signal: io.signal }).catch(() => undefined);
    if (io.signal.aborted) return;
    try {
      await showNew(table, query, position, io, show);
    } catch (error) {
      if (io.signal.aborted) return;
      if (!(error instanceof TimestoreError) || !(error.retryable || error.code === 'cursor-expired')) throw error;
      io.stderr.write(`${error.message}\n`);
      if (error.code === 'cursor-expired') position.cursor = undefined;
      if (error.problem.lost !== true) continue;
      io.stderr.write('The server has lost the position, and perhaps rows; continuing with new rows.\n');
      position = { token: await begin(table, query, 0, io, show) };
    }
  }
}

/** Shows the newest rows and returns the token of their snapshot, so that no row is missed. */
async function begin(table: Table, query: Query, lines: number, io: Io, show: Show): Promise<string> {
  const first = await page(table, { limit: 1 }, io);
  if (lines === 0) return readToken(first);
  // The timestamp column is the only DateTime64 column that is not Nullable.
  const time = first.columns[first.types.findIndex((type) => type.startsWith('DateTime64'))] ?? 'timestamp';
  const newest = await page(table, { ...query, orderBy: [{ column: time, direction: 'desc' }], limit: lines }, io);
  await show([...newest.rows].reverse());
  return readToken(newest);
}

/** The token of the last complete read, and the cursor within the next one. */
type Position = { token: string; cursor?: string | undefined };

/** Shows the rows after the token, by pages of one snapshot. After a failure, `position` still has the position. */
async function showNew(table: Table, query: Query, position: Position, io: Io, show: Show): Promise<void> {
  do {
    const { token: afterWatermark, cursor } = position;
    const answer = await page(table, { ...query, afterWatermark, limit: pageRows, cursor }, io);
    await show(answer.rows);
    position.cursor = answer.cursor ?? undefined;
    if (position.cursor === undefined) position.token = readToken(answer);
  } while (position.cursor !== undefined);
}

async function page(table: Table, query: Query, io: Io): Promise<QueryAnswer<Read>> {
  const answer = await table.query({ ...query, seesOwn: false, signal: io.signal });
  printWarnings(answer.warnings, io);
  return answer;
}

function readToken({ latest_ingest_watermark: token }: QueryAnswer<Read>): string {
  if (token !== null) return token;
  throw new CliFailure('The hot buffer is unavailable, so that new rows cannot be recognised.', exitCodes.later);
}

function lineText(row: Read): string {
  const [time, ...rest] = Object.entries(row).filter(([, value]) => value !== null);
  const parts = rest.map(([name, value]) => `${cellText(name)}=${quoted(cellText(value))}`);
  return [cellText(time?.[1]), ...parts].join('  ');
}

const quoted = (text: string): string => (/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text));
