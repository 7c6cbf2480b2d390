import type { Table } from '../catalog/table.ts';
import { ClickHouseError, clickhouseCodes } from '../clickhouse/client.ts';
import { ensureTable } from '../clickhouse/table.ts';
import type { Context } from '../context.ts';
import { StoreError, TimestoreError } from '../errors.ts';
import { isDataError } from '../flush/refusal.ts';
import type { QueryPlan } from './request.ts';
import { type Fence, rowsStatement, sourceColumn, tailName } from './sql.ts';
import { type Tail, tailStructure } from './tail.ts';

/** Rows as JSON text, in order, and where they came from. */
export type RowsAnswer = {
  rows: string[];
  published: { rows: number; partitions: number };
  hotBuffer: { rows: number };
};

/** ClickHouse cannot read the rows of the tail. */
export class TailRefused extends Error {}

const settings = {
  // The whole answer or an error: nothing is passed on that a later failure would belie.
  wait_end_of_query: 1,
  date_time_output_format: 'iso',
  output_format_json_quote_64bit_integers: 0,
  output_format_json_escape_forward_slashes: 0,
  input_format_skip_unknown_fields: 0,
  precise_float_parsing: 1,
} as const;

/**
 * Asks ClickHouse for the rows of a plan, the tail sent along.
 *
 * @throws TimestoreError `limit-exceeded` for a query that is too much; StoreError when ClickHouse is away; TailRefused
 */
export async function runRows(
  ctx: Context,
  table: Table,
  plan: QueryPlan,
  fence: Fence,
  tail: Tail,
): Promise<RowsAnswer> {
  try {
    return readAnswer(await send(ctx, table, plan, fence, tail));
  } catch (error) {
    if (tail.rows > 0 && isDataError(error)) throw new TailRefused('the tail was refused', { cause: error });
    if (!(error instanceof ClickHouseError)) throw error;
    // The table's columns come with the flush where they could not be added at once.
    if (!isBehind(error)) throw queryError(ctx, error);
  }
  await ensureTable(ctx, table);
  try {
    return readAnswer(await send(ctx, table, plan, fence, tail));
  } catch (error) {
    throw error instanceof ClickHouseError ? queryError(ctx, error) : error;
  }
}

async function send(ctx: Context, table: Table, plan: QueryPlan, fence: Fence, tail: Tail): Promise<string> {
  const { limits } = ctx.config;
  const { sql, params } = rowsStatement(table, plan, fence, tail.rows > 0);
  const limited = {
    ...settings,
    ...params,
    max_execution_time: Math.ceil(limits.query_timeout_ms / 1000),
    max_memory_usage: limits.query_memory_bytes_max,
    max_result_bytes: limits.query_result_bytes_max,
  };
  const timeout_ms = limits.query_timeout_ms + 1_000;
  if (tail.rows === 0) return await ctx.reader.send({ settings: limited, body: sql, timeout_ms });
  const body = new FormData();
  body.append('query', sql);
  // Before the rows it describes: the server reads the parts in their order.
  body.append(`${tailName}_format`, 'JSONEachRow');
  body.append(`${tailName}_structure`, tailStructure(table));
  body.append(tailName, new Blob([tail.ndjson]), tailName);
  return await ctx.reader.send({ settings: limited, body, timeout_ms });
}

const firstMember = new RegExp(`^\\{"${sourceColumn}":"([^"]*)",`);

function readAnswer(text: string): RowsAnswer {
  const partitions = new Set<string>();
  const hotBuffer = { rows: 0 };
  const rows: string[] = [];
  // The rows stay the text that ClickHouse wrote: parsing them would round integers beyond 2^53.
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [member = '', partition = ''] = firstMember.exec(line) ?? [];
    rows.push(`{${line.slice(member.length)}`);
    if (partition === '') hotBuffer.rows += 1;
    else partitions.add(partition);
  }
  return { rows, published: { rows: rows.length - hotBuffer.rows, partitions: partitions.size }, hotBuffer };
}

function isBehind({ code }: ClickHouseError): boolean {
  const { unknownTable, unknownDatabase, unknownIdentifier, noSuchColumnInTable } = clickhouseCodes;
  return [unknownTable, unknownDatabase, unknownIdentifier, noSuchColumnInTable].some((each) => each === code);
}

function queryError(ctx: Context, error: ClickHouseError): TimestoreError {
  const { limits } = ctx.config;
  switch (error.code) {
    case clickhouseCodes.timeoutExceeded:
    case clickhouseCodes.tooSlow:
      return new TimestoreError(
        'limit-exceeded',
        `The query took longer than ${limits.query_timeout_ms} ms (limit query_timeout_ms). Ask for less at once.`,
        { cause: error },
      );
    case clickhouseCodes.memoryLimit:
      return new TimestoreError(
        'limit-exceeded',
        `The query needs more than ${limits.query_memory_bytes_max} bytes of memory (limit query_memory_bytes_max). Ask for less at once.`,
        { cause: error },
      );
    case clickhouseCodes.tooManyRowsOrBytes:
      return new TimestoreError(
        'limit-exceeded',
        `The answer is larger than ${limits.query_result_bytes_max} bytes (limit query_result_bytes_max). Ask for fewer rows or columns at once.`,
        { cause: error },
      );
    default:
      return new StoreError('clickhouse', 'refused the query', error);
  }
}
