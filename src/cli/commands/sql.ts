import { readFile } from 'node:fs/promises';
import { text as textOf } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { SqlAnswer } from '../../client/index.ts';
import { type CommonOptions, connect } from '../config.ts';
import { CliFailure, isSystemError, systemMessage, usage } from '../failure.ts';
import { rowCount, whole } from '../ingest/show-progress.ts';
import type { Io } from '../io.ts';
import { collect, splitPair } from '../options.ts';
import { deliver, formatFor, type OutputOptions, printWarnings, warningsIn } from '../output.ts';
import { savedPath } from '../paths.ts';
import { showTable } from '../show.ts';
import { buildFreshness, type FreshnessOptions, isNumber, readingOptions } from './query.ts';

type SqlOptions = CommonOptions &
  OutputOptions &
  FreshnessOptions & { dataset?: string; param?: string[]; file?: string; saved?: string };

const examples = `
Examples
  timestore sql 'SELECT sensor, avg(celsius) AS mean FROM demo.readings GROUP BY sensor'
  timestore sql 'SELECT count() FROM readings WHERE celsius > {least:Float64}' --dataset demo --param least=20
  timestore sql --file report.sql --out report.csv
  timestore sql --saved demo/by-sensor --param least=20`;

export function sqlCommand(program: Command, io: Io): void {
  const command = program
    .command('sql')
    .description('run a SELECT in ClickHouse SQL over any tables')
    .argument('[statement]', 'the statement; - reads it from standard input');
  readingOptions(command)
    .option('-d, --dataset <name>', 'dataset of unqualified table names')
    .option('--param <name=value>', 'a value of {name:Type}; repeatable', collect)
    .option('--file <file>', 'read the statement from a file')
    .option('--saved <dataset/name>', 'run a saved query')
    .addHelpText('after', examples)
    .action(async (statement: string | undefined, _, own: Command) =>
      sql(statement, own.optsWithGlobals<SqlOptions>(), io),
    );
}

async function sql(statement: string | undefined, options: SqlOptions, io: Io): Promise<void> {
  const format = formatFor(options, io);
  const sources = [statement, options.file, options.saved].filter((each) => each !== undefined);
  if (sources.length !== 1) throw usage('Use exactly one of: a statement, --file, --saved.');
  const params = parseParams(options.param ?? []);
  const body = { ...buildFreshness(options), ...(params !== undefined && { params }) };
  const request =
    options.saved === undefined
      ? {
          path: '/v1/sql',
          body: { ...body, sql: await textFrom(statement, options.file, io), dataset: options.dataset },
        }
      : { path: `${savedPath(options.saved)}/run`, body };
  const { timestore } = await connect(options, io);
  const answerFormat = format === 'table' ? 'json' : format;
  const rest = { isRepeatable: true, signal: io.signal, body: { ...request.body, format: answerFormat } };
  if (format === 'table') {
    await show(await timestore.call<SqlAnswer<Record<string, unknown>>>('POST', request.path, rest), io);
    return;
  }
  const response = await timestore.open('POST', request.path, rest);
  printWarnings(warningsIn(response), io);
  await deliver(response, options.out, io);
}

async function show(
  { columns, rows, statistics, warnings }: SqlAnswer<Record<string, unknown>>,
  io: Io,
): Promise<void> {
  const tableColumns = columns.map(({ name, type }) => ({ name, isNumber: isNumber(type) }));
  await showTable(tableColumns, rows, io);
  const { elapsedMs, rowsRead } = statistics;
  const read = rowsRead === null ? '' : `, ${whole(rowsRead)} read`;
  io.stderr.write(`${rowCount(rows.length)} in ${elapsedMs} ms${read}\n`);
  printWarnings(warnings, io);
}

async function textFrom(statement: string | undefined, file: string | undefined, io: Io): Promise<string> {
  if (statement === '-') return await textOf(io.stdin);
  if (statement !== undefined) return statement;
  try {
    return await readFile(file ?? '', 'utf8');
  } catch (error) {
    throw isSystemError(error) ? new CliFailure(systemMessage(error, file)) : error;
  }
}

function parseParams(texts: string[]): Record<string, unknown> | undefined {
  if (texts.length === 0) return undefined;
  return Object.fromEntries(
    texts.map((text) => {
      const [name, value] = splitPair('--param', text, 'NAME=VALUE');
      return [name, parseParam(value)];
    }),
  );
}

/** Lists and null are JSON; other text is parsed by the type of the parameter. */
function parseParam(text: string): unknown {
  if (text === 'null') return null;
  if (!text.startsWith('[')) return text;
  try {
    return JSON.parse(text);
  } catch {
    throw usage(`--param: ${text} is not a JSON list, such as ["a","b"].`);
  }
}
