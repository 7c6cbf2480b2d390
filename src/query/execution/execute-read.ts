import { ensureTable } from '../../catalog/ensure-table.ts';
import { isRecentlySeen } from '../../catalog/find-table.ts';
import { atAllRows } from '../../catalog/lane-location.ts';
import { StoreError } from '../../core/errors.ts';
import { inEachInstance } from '../../core/instance-memory.ts';
import { LruMap } from '../../core/lru-map.ts';
import { BrokenOff, chunksOf } from '../../stores/clickhouse/byte-stream.ts';
import { type ClickHouse, ClickHouseError, clickhouseCodes, type Settings } from '../../stores/clickhouse/client.ts';
import { isDataError } from '../../stores/clickhouse/data-errors.ts';
import type { QueryDeps } from '../deps.ts';
import { flushWithin } from '../freshness/wait-for-flush.ts';
import { UnreadableBatch } from '../hot/row-binary.ts';
import { type Format, formats } from '../request/format.ts';
import { compactLines } from '../response/compact-lines.ts';
import { csvSql } from '../response/csv-sql.ts';
import type { Column, JsonEnd } from '../response/json.ts';
import { namedLines } from '../response/not-numbers.ts';
import type { Notes } from './answer.ts';
import { statementId } from './cancel.ts';
import { queryError } from './clickhouse-errors.ts';
import { type Exactness, type Fence, runConsistently } from './consistent-read.ts';
import type { Source } from './merged-table-sql.ts';
import { multipartRequest, type SentTail } from './multipart-request.ts';
import type { ReadSnapshot } from './read-snapshot.ts';
import { encodeTail, tailStructure } from './tail.ts';

/** SQL without its format, and its parameters. */
export type Statement = { sql: string; params: Settings };

export type Read = {
  cuts: ReadSnapshot[];
  statement(sources: Source[]): Statement;
  format: Format;
  /** ClickHouse's form, where it is not that of the format. */
  form?: string | undefined;
  /** Most rows of the answer; undefined for exports. */
  rowsMax: number | undefined;
  /** Names queries that read about as much as each other. */
  costKey: string;
  /** When the caller is gone. */
  signal: AbortSignal;
};

export type Running = {
  exactness: Exactness;
  chunks: AsyncGenerator<Uint8Array>;
  /** Whether ClickHouse has said all of it: then it fits into memory, and nothing can fail any more. */
  isComplete: boolean;
  /** When the read began, by the instance's clock. */
  from_ms: number;
};

/**
 * Where a name without a database is looked for that is neither a table of the catalogue nor of the statement itself: where
 * the reader has no rights, whatever its user's own default is.
 */
export const neutralDatabase = 'default';

/** Begins as nothing does that SQL may name. */
const tailPrefix = '__ts_tail';

const settings = {
  database: neutralDatabase,
  date_time_output_format: 'iso',
  session_timezone: 'UTC',
  output_format_json_quote_64bit_integers: 0,
  // A reader that makes doubles of numbers would round them.
  output_format_json_quote_decimals: 1,
  // They are numbers by the type of their column, and get other names.
  output_format_json_quote_denormals: 1,
  output_format_json_escape_forward_slashes: 0,
  http_write_exception_in_output_format: 0,
  // An empty cell is null and "" is the empty string, as in CSV that is sent.
  format_csv_null_representation: '',
  input_format_skip_unknown_fields: 0,
  precise_float_parsing: 1,
  // A caller that is gone takes its query along.
  cancel_http_readonly_queries_on_client_close: 1,
  max_query_size: 8 * 1024 * 1024,
} as const;

/**
 * Asks ClickHouse over the cuts of one or more tables, their tails sent along.
 *
 * @throws TimestoreError for a query that cannot be answered; StoreError when ClickHouse is away, or refuses a tail
 */
export async function runRead(ctx: QueryDeps, read: Read): Promise<Running> {
  const from_ms = ctx.now();
  const known = readCosts(ctx).get(read.costKey);
  const isExport = read.rowsMax === undefined;
  const isCheap = isExport || (known !== undefined && (known.isLong || known.rows <= ctx.config.limits.fence_rows_max));
  const { answer, exactness } = await runConsistently(ctx, read.cuts, isCheap, async (fences, isLast) => {
    const begun = await begin(ctx, read, fences);
    if (begun.isComplete || isLast) return begun;
    // Too long to be held until it is validated.
    noteCost(ctx, read, known?.rows ?? 0, true);
    await begun.chunks.return(undefined);
    return undefined;
  });
  return { ...answer, exactness, from_ms };
}

/** Statistics of an answer whose end was seen, which are also what the next read of its kind is chosen by. */
export function readStatistics(ctx: QueryDeps, read: Read, running: Running, end: JsonEnd, notes: Notes) {
  const { isComplete, from_ms } = running;
  noteCost(ctx, read, end.rowsRead, !isComplete);
  return {
    rows: end.rows,
    // ClickHouse says its own time before the last rows are out.
    elapsedMs: Math.max(end.elapsed_ms, isComplete ? 0 : ctx.now() - from_ms),
    // Null as well for a reader of some rows: it would count the others.
    rowsRead: notes.streaming.rows === null ? null : end.rowsRead,
    tailRows: notes.streaming.rows,
  };
}

/** What reads of a kind were seen to cost, so that the next one is run in the cheaper way. */
function noteCost(ctx: QueryDeps, read: Pick<Read, 'costKey'>, rows: number, isLong: boolean): void {
  readCosts(ctx).set(read.costKey, { rows, isLong });
}

/** What reads were seen to cost: rows read, and whether their answers are too long to be held. */
const readCosts = inEachInstance(({ limits }) => new LruMap<{ rows: number; isLong: boolean }>(limits.read_costs_max));

/** The schema version that a query has brought ClickHouse's table to, under `<dataset>.<physical>`. */
export const columnsLooked = inEachInstance(
  ({ limits }) => new LruMap<{ version: number; at_ms: number }>(limits.kept_names_max),
);

type Begun = Pick<Running, 'chunks' | 'isComplete'>;

async function begin(ctx: QueryDeps, read: Read, fences: Fence[]): Promise<Begun> {
  try {
    return await attempt(ctx, read, fences);
  } catch (error) {
    await refuseTail(ctx, read.cuts, error);
    if (!(error instanceof ClickHouseError)) throw error;
    const behind = isBehind(error) ? tablesToBring(ctx, read.cuts) : [];
    if (behind.length === 0) throw queryError(ctx, error, read.rowsMax === undefined);
    // A table's columns come with its flush where they could not be added at once.
    for (const { table } of behind) {
      await ensureTable(ctx, table);
      columnsLooked(ctx).set(keyOf(table), { version: table.schema.version, at_ms: ctx.now() });
    }
  }
  try {
    return await attempt(ctx, read, fences);
  } catch (error) {
    throw error instanceof ClickHouseError ? queryError(ctx, error, read.rowsMax === undefined) : error;
  }
}

/** An answer that broke off before anything of it was given out is asked for once more, so that its error can be told. */
async function attempt(ctx: QueryDeps, read: Read, fences: Fence[]): Promise<Begun> {
  try {
    return await ask(ctx, read, fences, {});
  } catch (error) {
    if (!(error instanceof BrokenOff) || read.signal.aborted) throw error;
    return await ask(ctx, read, fences, { wait_end_of_query: 1 });
  }
}

async function ask(ctx: QueryDeps, read: Read, fences: Fence[], more: Settings): Promise<Begun> {
  const { limits } = ctx.config;
  const tables = read.cuts.map(({ table }) => table);
  // Where the buffer was not read, nothing says how many lanes there are.
  const isSure = read.cuts.every(({ lanes, table }) => lanes !== undefined || isRecentlySeen(ctx, table));
  const { node, nameOf } = atAllRows(ctx, tables, isSure);
  const sources = read.cuts.map(({ table, tail }, number) => {
    return {
      table,
      name: nameOf(table),
      number,
      fence: fences[number] ?? { lanes: [] },
      tail: tail.rows > 0 ? `${tailPrefix}${number}` : undefined,
    };
  });
  const { sql, params } = read.statement(sources);
  const timeout_ms = read.rowsMax === undefined ? limits.export_timeout_ms : limits.query_timeout_ms;
  const tails = read.cuts.flatMap(({ table, tail }, number) => {
    const name = sources[number]?.tail;
    return name === undefined ? [] : [{ name, structure: tailStructure(table), rows: encodeTail(tail, table) }];
  });
  const text = read.format === 'csv' ? csvSql(sql, await columnsOf(node.reader, sql, params, tails)) : sql;
  const written = `${text}\nFORMAT ${read.form ?? formats[read.format].clickhouse}`;
  const form = multipartRequest(written, params, tails);
  const opened = await node.reader.open({
    settings: {
      ...settings,
      ...more,
      ...form.settings,
      query_id: statementId(),
      max_execution_time: Math.ceil(timeout_ms / 1000),
      max_memory_usage: limits.query_memory_bytes_max,
      max_result_rows: read.rowsMax ?? 0,
      result_overflow_mode: 'throw',
    },
    body: form.body,
    timeout_ms: timeout_ms + 1_000,
    signal: read.signal,
  });
  const chunks = chunksOf(opened);
  const answered = () => {
    if (read.format === 'compact') return compactLines(chunks);
    if (read.format !== 'ndjson' || read.form !== undefined) return chunks;
    return namedLines(chunks, () => columnsOf(node.reader, sql, params, tails));
  };
  return await headOf(answered(), limits.query_held_bytes_max);
}

/** What columns SQL answers, without running it. */
async function columnsOf(reader: ClickHouse, sql: string, params: Settings, tails: SentTail[]): Promise<Column[]> {
  const empty = tails.map((tail) => ({ ...tail, rows: [] }));
  const form = multipartRequest(`DESCRIBE TABLE (${sql}\n)\nFORMAT JSONEachRow`, params, empty);
  const text = await reader.send({
    settings: { ...settings, ...form.settings },
    body: form.body,
    timeout_ms: describe_timeout_ms,
  });
  const lines = text.trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Column);
}

const describe_timeout_ms = 10_000;

/** Reads until the answer is complete or longer than may be held. An error until then is one that can be told. */
async function headOf(chunks: AsyncGenerator<Uint8Array>, bytesMax: number): Promise<Begun> {
  const head: Uint8Array[] = [];
  let bytes = 0;
  while (bytes <= bytesMax) {
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

/** ClickHouse is there, and the rows that it lacks are not as they should be: the buffer alone cannot answer with them either. */
export class RejectedTailError extends StoreError {
  constructor(cause: unknown) {
    super('clickhouse', 'refused rows that wait to be flushed; a flush has begun to set them aside', cause);
    this.name = 'RefusedTail';
  }
}

/** Rows that ClickHouse cannot read are set aside by the flush; until then there is no exact answer. */
async function refuseTail(ctx: QueryDeps, cuts: ReadSnapshot[], error: unknown): Promise<void> {
  const tables = cuts.filter(({ tail }) => tail.rows > 0).map(({ table }) => table);
  if (tables.length === 0 || !(error instanceof UnreadableBatch || (isDataError(error) && isOfTail(error)))) return;
  await Promise.all(tables.map((table) => flushWithin(ctx, table, ctx.config.limits.query_wait_ms)));
  throw new RejectedTailError(error);
}

/** SQL has values of its own that cannot be read; those of a tail are read from its rows. */
function isOfTail(error: unknown): boolean {
  return error instanceof ClickHouseError && /RowBinary|__ts_tail[0-9]|while read/i.test(error.message);
}

function isBehind({ code }: ClickHouseError): boolean {
  const { unknownTable, unknownDatabase, unknownIdentifier, noSuchColumnInTable } = clickhouseCodes;
  return [unknownTable, unknownDatabase, unknownIdentifier, noSuchColumnInTable].some((each) => each === code);
}

/** A node of a cluster may have come back since. */
const looked_ms = 10_000;

/** Those that nobody has looked at since their newest version: a name that is wrong is not looked for again and again. */
function tablesToBring(ctx: QueryDeps, cuts: ReadSnapshot[]): ReadSnapshot[] {
  return cuts.filter(({ table }) => {
    const looked = columnsLooked(ctx).get(keyOf(table));
    const isOld = ctx.cluster !== undefined && looked !== undefined && ctx.now() - looked.at_ms > looked_ms;
    return looked?.version !== table.schema.version || isOld;
  });
}

function keyOf({ dataset, physical }: ReadSnapshot['table']): string {
  return `${dataset}.${physical}`;
}
