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

Each row that is accepted from now on is shown once, in whatever order of time it comes.`;

export function tailCommand(program: Command, io: Io): void {
  program
    .command('tail')
    .description('follow the rows of a table as they come')
    .argument('<dataset.table>')
    .option('-w, --where <condition>', 'as in query; may be repeated', collect)
    .option('-c, --columns <names>', 'with commas between; all by default')
    .option('-n, --lines <n>', 'rows to begin with', number(0, 10_000), 10)
    .addOption(new Option('--every <time>', 'how often to look').argParser(duration).default(1_000, '1s'))
    .option('--no-follow', 'show those, and end')
    .addHelpText('after', examples)
    .action(async (table: string, _, own: Command) => tail(table, own.optsWithGlobals<TailOptions>(), io));
}

const pageRows = 5_000;

type Show = (rows: Read[]) => Promise<void>;

async function tail(name: string, options: TailOptions, io: Io): Promise<void> {
  const { dataset, table: tableOnly } = tableName(name);
  const { timestore } = await connect(options, io);
  const table = timestore.table(dataset, tableOnly);
  const asked: Query = {
    ...(options.where !== undefined && { filters: { columns: options.where.map(parseFilter) } }),
    ...(options.columns !== undefined && { columns: names(options.columns) }),
  };
  const show: Show = async (rows) => {
    const lines = rows.map((row) => `${options.json ? rowText(row) : lineText(row)}\n`);
    if (lines.length > 0) await print(io.stdout, lines.join(''));
  };
  let place: Place = { token: await begin(table, asked, options.lines, io, show) };
  while (options.follow && !io.signal.aborted) {
    await delay(options.every, undefined, { signal: io.signal }).catch(() => undefined);
    if (io.signal.aborted) return;
    try {
      await showNew(table, asked, place, io, show);
    } catch (error) {
      if (io.signal.aborted) return;
      if (!(error instanceof TimestoreError) || !(error.retryable || error.code === 'cursor-expired')) throw error;
      io.stderr.write(`${error.message}\n`);
      if (error.code === 'cursor-expired') place.cursor = undefined;
      if (error.problem.lost !== true) continue;
      io.stderr.write('The server has lost its place, and perhaps rows; going on from now.\n');
      place = { token: await begin(table, asked, 0, io, show) };
    }
  }
}

/** The newest rows, and where to go on: of one cut, so that nothing is between them. */
async function begin(table: Table, asked: Query, lines: number, io: Io, show: Show): Promise<string> {
  const first = await page(table, { limit: 1 }, io);
  if (lines === 0) return readToken(first);
  // Of all columns this one alone has a time and never null.
  const time = first.columns[first.types.findIndex((type) => type.startsWith('DateTime64'))] ?? 'timestamp';
  const newest = await page(table, { ...asked, orderBy: [{ column: time, direction: 'desc' }], limit: lines }, io);
  await show([...newest.rows].reverse());
  return readToken(newest);
}

/** Where it is followed from, and how far of what is new then was shown. */
type Place = { token: string; cursor?: string | undefined };

/** What is not in the answer that the token is of, by pages of one cut. A failure in the middle leaves its place. */
async function showNew(table: Table, asked: Query, place: Place, io: Io, show: Show): Promise<void> {
  do {
    const { token: afterWatermark, cursor } = place;
    const answer = await page(table, { ...asked, afterWatermark, limit: pageRows, cursor }, io);
    await show(answer.rows);
    place.cursor = answer.cursor ?? undefined;
    if (place.cursor === undefined) place.token = readToken(answer);
  } while (place.cursor !== undefined);
}

async function page(table: Table, query: Query, io: Io): Promise<QueryAnswer<Read>> {
  const answer = await table.query({ ...query, seesOwn: false, signal: io.signal });
  printWarnings(answer.warnings, io);
  return answer;
}

function readToken({ latest_ingest_watermark: token }: QueryAnswer<Read>): string {
  if (token !== null) return token;
  throw new CliFailure('The hot buffer cannot be read, so that new rows cannot be told from others.', exitCodes.later);
}

function lineText(row: Read): string {
  const [time, ...rest] = Object.entries(row).filter(([, value]) => value !== null);
  const parts = rest.map(([name, value]) => `${cellText(name)}=${quoted(cellText(value))}`);
  return [cellText(time?.[1]), ...parts].join('  ');
}

const quoted = (text: string): string => (/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text));
