import { ensureTable } from '../../catalog/ensure-table.ts';
import { isRecentlySeen } from '../../catalog/find-table.ts';
import { atAllRows } from '../../catalog/lane-location.ts';
import { StoreError } from '../../core/errors.ts';
import { inEachInstance } from '../../core/instance-memory.ts';
import { LruMap } from '../../core/lru-map.ts';
import { BrokenOff, readChunks } from '../../stores/clickhouse/byte-stream.ts';
import { type ClickHouse, ClickHouseError, clickhouseCodes, type Settings } from '../../stores/clickhouse/client.ts';
import { isDataError } from '../../stores/clickhouse/data-errors.ts';
import type { QueryDeps } from '../deps.ts';
import { waitForFlush } from '../freshness/wait-for-flush.ts';
import { UnreadableBatch } from '../hot/row-binary.ts';
import { type Format, formats } from '../request/format.ts';
import { compactLines } from '../response/compact-lines.ts';
import { csvSql } from '../response/csv-sql.ts';
import type { Column, JsonEnd } from '../response/json.ts';
import { namedLines } from '../response/not-numbers.ts';
import type { AnswerNotes } from './answer.ts';
import { statementId } from './cancel.ts';
import { queryError } from './clickhouse-errors.ts';
import { areUnchanged, type Exactness, type Fence, planFences } from './consistent-read.ts';
import type { Source } from './merged-table-sql.ts';
import { multipartRequest, type SentTail } from './multipart-request.ts';
import { isFenceCheap, recordCost, recordLongAnswer } from './read-costs.ts';
import type { ReadSnapshot } from './read-snapshot.ts';
import { encodeTail, tailStructure } from './tail.ts';

/** SQL without its FORMAT clause, and its parameters. */
export type Statement = { sql: string; params: Settings };

export type Read = {
  snapshots: ReadSnapshot[];
  /** Builds the statement for these fences. A read that fails its validation is built a second time. */
  buildStatement(sources: Source[]): Statement;
  format: Format;
  /** The ClickHouse format, where it differs from that of `format`. */
  clickhouseFormat?: string | undefined;
  /** Undefined for exports, which have no limit. */
  rows_max: number | undefined;
  /** Equal for queries that read about the same number of rows. */
  costKey: string;
  /** Tables that are sent with the statement besides the tails. */
  sentTables?: SentTail[] | undefined;
  /** Aborted when the caller has disconnected. */
  signal: AbortSignal;
};

export type ReadResult = {
  exactness: Exactness;
  chunks: AsyncGenerator<Uint8Array>;
  /** Whether the whole answer is in memory, so that it cannot fail any more. */
  isComplete: boolean;
  /** Start of the read, by the clock of the instance. */
  startedAt_ms: number;
};

/**
 * The default database of statements. The reader user has no rights in it, so that an unqualified name that is neither a
 * table of the catalogue nor defined by the statement resolves to nothing.
 */
export const neutralDatabase = 'default';

/** A prefix that no name in SQL of users can have. */
const tailPrefix = '__ts_tail';

const settings = {
  database: neutralDatabase,
  date_time_output_format: 'iso',
  session_timezone: 'UTC',
  output_format_json_quote_64bit_integers: 0,
  // JSON parsers that read numbers as doubles would round them.
  output_format_json_quote_decimals: 1,
  // JSON has no NaN and no infinities; `namedRows` renames the strings.
  output_format_json_quote_denormals: 1,
  output_format_json_escape_forward_slashes: 0,
  http_write_exception_in_output_format: 0,
  // An empty cell is null and "" is the empty string, as in ingested CSV.
  format_csv_null_representation: '',
  input_format_skip_unknown_fields: 0,
  precise_float_parsing: 1,
  // A query ends with the connection of its caller.
  cancel_http_readonly_queries_on_client_close: 1,
  max_query_size: 8 * 1024 * 1024,
} as const;

/**
 * Executes a read over the snapshots of its tables. Their tails are sent as external tables.
 *
 * @throws ApiError for an invalid query; StoreError when ClickHouse is unavailable or rejects a tail
 */
export async function executeRead(ctx: QueryDeps, read: Read): Promise<ReadResult> {
  const startedAt_ms = ctx.now();
  const plan = planFences(read.snapshots, read.rows_max === undefined || isFenceCheap(ctx, read.costKey));
  const first = await executeStatement(ctx, read, plan.fences);
  if (plan.exactness !== 'validated') return { ...first, exactness: plan.exactness, startedAt_ms };

  // An answer that does not fit into memory has to be streamed before it could be validated.
  if (!first.isComplete) {
    recordLongAnswer(ctx, read.costKey);
    await first.chunks.return(undefined);
  }
  if (first.isComplete && (await areUnchanged(ctx, read.snapshots, plan.openLanes))) {
    return { ...first, exactness: 'validated', startedAt_ms };
  }
  ctx.log({ event: 'query-fenced', tables: read.snapshots.map(({ table }) => `${table.dataset}.${table.name}`) });
  return { ...(await executeStatement(ctx, read, plan.fallback)), exactness: 'fenced', startedAt_ms };
}

/** Statistics of a finished answer. They are also recorded for the choice of the next read of its kind. */
export function readStatistics(ctx: QueryDeps, read: Read, result: ReadResult, end: JsonEnd, notes: AnswerNotes) {
  const { isComplete, startedAt_ms } = result;
  recordCost(ctx, read.costKey, { rows: end.rowsRead, isLong: !isComplete });
  return {
    rows: end.rows,
    // ClickHouse reports its time before it sends the last rows.
    elapsedMs: Math.max(end.elapsed_ms, isComplete ? 0 : ctx.now() - startedAt_ms),
    // Null for a key with a row filter: the number would count rows that the key may not read.
    rowsRead: notes.streaming.rows === null ? null : end.rowsRead,
    tailRows: notes.streaming.rows,
  };
}

/** The schema version that a query has brought the ClickHouse table to, by `<dataset>.<physical>`. */
export const columnsEnsured = inEachInstance(
  ({ limits }) => new LruMap<{ version: number; at_ms: number }>(limits.kept_names_max),
);

type Head = Pick<ReadResult, 'chunks' | 'isComplete'>;

/** Adds missing columns and repeats the statement where ClickHouse does not know a column or a table yet. */
async function executeStatement(ctx: QueryDeps, read: Read, fences: Fence[]): Promise<Head> {
  try {
    return await sendWithErrors(ctx, read, fences);
  } catch (error) {
    await rejectTail(ctx, read.snapshots, error);
    if (!(error instanceof ClickHouseError)) throw error;
    const outdated = isUnknownName(error) ? outdatedTables(ctx, read.snapshots) : [];
    if (outdated.length === 0) throw queryError(ctx, error, read.rows_max === undefined);
    for (const { table } of outdated) {
      await ensureTable(ctx, table);
      columnsEnsured(ctx).set(tableKey(table), { version: table.schema.version, at_ms: ctx.now() });
    }
  }
  try {
    return await sendWithErrors(ctx, read, fences);
  } catch (error) {
    throw error instanceof ClickHouseError ? queryError(ctx, error, read.rows_max === undefined) : error;
  }
}

/** Repeats a statement that broke off in its head, so that ClickHouse reports the error instead of closing the connection. */
async function sendWithErrors(ctx: QueryDeps, read: Read, fences: Fence[]): Promise<Head> {
  try {
    return await send(ctx, read, fences, {});
  } catch (error) {
    if (!(error instanceof BrokenOff) || read.signal.aborted) throw error;
    return await send(ctx, read, fences, { wait_end_of_query: 1 });
  }
}

async function send(ctx: QueryDeps, read: Read, fences: Fence[], extraSettings: Settings): Promise<Head> {
  const { limits } = ctx.config;
  const tables = read.snapshots.map(({ table }) => table);
  // Without a snapshot of the buffer, the cached definition may miss lanes on other shards.
  const lanesKnown = read.snapshots.every(({ lanes, table }) => lanes !== undefined || isRecentlySeen(ctx, table));
  const { node, nameOf } = atAllRows(ctx, tables, lanesKnown);
  const sources = read.snapshots.map(({ table, tail }, number) => {
    return {
      table,
      name: nameOf(table),
      number,
      fence: fences[number] ?? { lanes: [] },
      tail: tail.rows > 0 ? `${tailPrefix}${number}` : undefined,
    };
  });
  const { sql, params } = read.buildStatement(sources);
  const timeout_ms = read.rows_max === undefined ? limits.export_timeout_ms : limits.query_timeout_ms;
  const tails = read.snapshots.flatMap(({ table, tail }, number) => {
    const name = sources[number]?.tail;
    const format = 'RowBinary' as const;
    return name === undefined ? [] : [{ name, structure: tailStructure(table), format, rows: encodeTail(tail, table) }];
  });
  const sent: SentTail[] = [...tails, ...(read.sentTables ?? [])];
  const text = read.format === 'csv' ? csvSql(sql, await describeColumns(node.reader, sql, params, sent)) : sql;
  const statement = `${text}\nFORMAT ${read.clickhouseFormat ?? formats[read.format].clickhouse}`;
  const request = multipartRequest(statement, params, sent);
  const opened = await node.reader.open({
    settings: {
      ...settings,
      ...extraSettings,
      ...request.settings,
      query_id: statementId(),
      max_execution_time: Math.ceil(timeout_ms / 1000),
      max_memory_usage: limits.query_memory_bytes_max,
      max_result_rows: read.rows_max ?? 0,
      result_overflow_mode: 'throw',
    },
    body: request.body,
    timeout_ms: timeout_ms + 1_000,
    signal: read.signal,
  });
  const chunks = readChunks(opened);
  const convert = () => {
    if (read.format === 'compact') return compactLines(chunks);
    if (read.format !== 'ndjson' || read.clickhouseFormat !== undefined) return chunks;
    return namedLines(chunks, () => describeColumns(node.reader, sql, params, sent));
  };
  return await readHead(convert(), limits.query_held_bytes_max);
}

/** The columns of the answer to SQL, without running it. */
async function describeColumns(
  reader: ClickHouse,
  sql: string,
  params: Settings,
  tails: SentTail[],
): Promise<Column[]> {
  const empty = tails.map((tail) => ({ ...tail, rows: [] }));
  const request = multipartRequest(`DESCRIBE TABLE (${sql}\n)\nFORMAT JSONEachRow`, params, empty);
  const text = await reader.send({
    settings: { ...settings, ...request.settings },
    body: request.body,
    timeout_ms: describe_timeout_ms,
  });
  const lines = text.trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Column);
}

const describe_timeout_ms = 10_000;

/** Reads until the answer is complete or exceeds `bytes_max`. Until then, an error can still become an error response. */
async function readHead(chunks: AsyncGenerator<Uint8Array>, bytes_max: number): Promise<Head> {
  const head: Uint8Array[] = [];
  let bytes = 0;
  while (bytes <= bytes_max) {
    const { done, value } = await chunks.next();
    if (done) return { chunks: replay(head), isComplete: true };
    head.push(Uint8Array.from(value));
    bytes += value.length;
  }
  return { chunks: replay(head, chunks), isComplete: false };
}

async function* replay(head: Uint8Array[], rest?: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    while (head.length > 0) yield head.shift() as Uint8Array;
    if (rest !== undefined) yield* rest;
  } finally {
    await rest?.return(undefined);
  }
}

/** ClickHouse is available and rejected rows of a tail, so that an answer from the hot buffer alone would hide the problem. */
export class RejectedTailError extends StoreError {
  constructor(cause: unknown) {
    super('clickhouse', 'rejected rows that wait to be flushed; a flush that quarantines them has begun', cause);
    this.name = 'RejectedTailError';
  }
}

/** Starts a flush, which quarantines rows that ClickHouse cannot read. Until then there is no exact answer. */
async function rejectTail(ctx: QueryDeps, snapshots: ReadSnapshot[], error: unknown): Promise<void> {
  const tables = snapshots.filter(({ tail }) => tail.rows > 0).map(({ table }) => table);
  if (tables.length === 0 || !(error instanceof UnreadableBatch || (isDataError(error) && isTailError(error)))) return;
  await Promise.all(tables.map((table) => waitForFlush(ctx, table, ctx.config.limits.query_wait_ms)));
  throw new RejectedTailError(error);
}

/** Tells unreadable values of a tail from unreadable values in the SQL, which have the same error codes. */
function isTailError(error: unknown): boolean {
  return error instanceof ClickHouseError && /RowBinary|__ts_tail[0-9]|while read/i.test(error.message);
}

function isUnknownName({ code }: ClickHouseError): boolean {
  const { unknownTable, unknownDatabase, unknownIdentifier, noSuchColumnInTable } = clickhouseCodes;
  return [unknownTable, unknownDatabase, unknownIdentifier, noSuchColumnInTable].some((each) => each === code);
}

/** A node of a cluster that was down in the meantime may have missed columns. */
const recheck_ms = 10_000;

/** Tables whose newest version no query has ensured yet, so that wrong names in queries do not repeat the DDL. */
function outdatedTables(ctx: QueryDeps, snapshots: ReadSnapshot[]): ReadSnapshot[] {
  return snapshots.filter(({ table }) => {
    const ensured = columnsEnsured(ctx).get(tableKey(table));
    const isOld = ctx.cluster !== undefined && ensured !== undefined && ctx.now() - ensured.at_ms > recheck_ms;
    return ensured?.version !== table.schema.version || isOld;
  });
}

function tableKey({ dataset, physical }: ReadSnapshot['table']): string {
  return `${dataset}.${physical}`;
}
