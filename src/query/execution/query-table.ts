import { findReadable } from '../../catalog/find-table.ts';
import { withNewestLife } from '../../catalog/life.ts';
import { assertDefined } from '../../core/assert.ts';
import { StoreError } from '../../core/errors.ts';
import { invalidRequest } from '../../core/invalid-request.ts';
import { notFound } from '../../core/not-found.ts';
import type { Table } from '../../schema/table.ts';
import type { QueryDeps } from '../deps.ts';
import { type Freshness, readFreshness } from '../freshness/requirement.ts';
import type { Format } from '../request/format.ts';
import { planQuery, type QueryBody, type QueryPlan } from '../request/parse.ts';
import { type JsonEnd, jsonAnswer } from '../response/json.ts';
import { type Answer, describeAnswer } from './answer.ts';
import { downsampleStatement } from './downsample.ts';
import { executeRead, type Read, type ReadResult, RejectedTailError, readStatistics } from './execute-read.ts';
import { hotRows, type PlannedQuery } from './hot-rows.ts';
import { nextCursor } from './next-cursor.ts';
import { rowsStatement } from './raw-rows.ts';
import { type ReadScope, rowFilterCondition } from './read-scope.ts';
import { pinSnapshot, type ReadSnapshot, takeReadSnapshot, unreadSnapshot } from './read-snapshot.ts';
import { expiredCursor, requireUnchangedRows } from './unchanged-rows.ts';

export type AnswerOptions = {
  format: Format;
  /** Aborted when the caller has disconnected. */
  signal: AbortSignal;
};

/**
 * Answers a structured query from every row that was acknowledged before it began, as its freshness requires.
 *
 * @throws ApiError for an invalid query; StoreError when a required store is unavailable
 */
export async function queryTable(
  ctx: QueryDeps,
  reader: ReadScope,
  dataset: string,
  body: QueryBody,
  options: AnswerOptions,
): Promise<Answer> {
  return await queryTableAs(ctx, reader, { dataset, name: body.tableName }, () => body, options);
}

/** Answers a query whose body depends on the definition of its table. */
export async function queryTableAs(
  ctx: QueryDeps,
  reader: ReadScope,
  { dataset, name }: { dataset: string; name: string },
  buildBody: (table: Table) => QueryBody,
  options: AnswerOptions,
): Promise<Answer> {
  return await withNewestLife(ctx, async (found) => {
    const table = await requireTable(ctx, dataset, name);
    found.push(table);
    return await answerQuery(ctx, reader, table, buildBody(table), options);
  });
}

/** Plan, snapshot, execute. `executeRead` validates; `hotRows` answers while ClickHouse is unavailable. */
async function answerQuery(
  ctx: QueryDeps,
  reader: ReadScope,
  table: Table,
  sent: QueryBody,
  options: AnswerOptions,
): Promise<Answer> {
  const { limits } = ctx.config;
  const body = addRowFilter(sent, reader, table);
  const freshness = readFreshness(body, limits);
  requireOwnTokens(freshness, [table]);
  // Reports an invalid query before the snapshot, which may wait.
  const early = planQuery(body, table, limits, options.format, 'early');
  const snapshot = await takePageSnapshot(ctx, table, freshness, early.cursor);
  const query = { reader, snapshot, plan: planQuery(body, snapshot.table, limits, options.format), body };
  try {
    return await executeQuery(ctx, query, options);
  } catch (error) {
    const isUnavailable = error instanceof StoreError && error.store === 'clickhouse';
    const answer = isUnavailable && !(error instanceof RejectedTailError) ? hotRows(query, options.format) : undefined;
    if (answer === undefined) throw error;
    return answer;
  }
}

/** Adds the row filter of the key to the filters of the query, so that every execution applies it. */
function addRowFilter(body: QueryBody, reader: ReadScope, table: Table): QueryBody {
  const condition = rowFilterCondition(reader, table);
  if (condition === undefined) return body;
  return { ...body, filters: { ...body.filters, columns: [condition, ...(body.filters?.columns ?? [])] } };
}

/** The snapshot of a page: all pages of a query read the snapshot of the first one. */
async function takePageSnapshot(
  ctx: QueryDeps,
  table: Table,
  freshness: Freshness,
  cursor: QueryPlan['cursor'],
): Promise<ReadSnapshot> {
  if (cursor === undefined) return await takeReadSnapshot(ctx, table, freshness);
  if (cursor.lanes === null) {
    const warning =
      'The first page was read without a snapshot: rows may have been added or removed between the pages.';
    return unreadSnapshot(table, 'skipped', [warning]);
  }
  const pin = { dataset: table.dataset, table: table.name, lanes: cursor.lanes, member: 'cursor' };
  const snapshot = await takeReadSnapshot(ctx, table, { ...freshness, required: [...freshness.required, pin] });
  if (snapshot.changes === undefined || snapshot.changes !== cursor.changes) throw expiredCursor(table);
  return pinSnapshot(snapshot, pin);
}

async function executeQuery(ctx: QueryDeps, query: PlannedQuery, options: AnswerOptions): Promise<Answer> {
  const { reader, snapshot, plan } = query;
  const { format } = options;
  const read = buildRead(ctx, query, options);
  const isPage = query.body.downsample === undefined && plan.limit !== undefined;
  // Formats without a place for the cursor have it in a header, which is sent before the rows.
  const pendingKey = isPage && format !== 'json' ? readEndKey(ctx, read, plan) : Promise.resolve(undefined);
  pendingKey.catch(() => undefined);
  const unverified = await executeRead(ctx, read);
  const endKey = await pendingKey.catch((error) => closeAndThrow(unverified, error));
  const result = snapshot.pin === undefined ? unverified : await requireUnchangedRows(ctx, snapshot, unverified);
  const { isComplete } = result;
  const notes = describeAnswer([snapshot], reader, result.exactness);
  const cursor = nextCursor(snapshot, plan, endKey, notes.warnings);
  if (format !== 'json') return { format, notes, cursor, body: result.chunks, isComplete };
  return { format, notes, body: buildJson(ctx, query, { read, result, notes }), isComplete };
}

function buildRead(
  ctx: QueryDeps,
  { snapshot, plan, body: { downsample } }: PlannedQuery,
  { format, signal }: AnswerOptions,
): Read {
  const { limits } = ctx.config;
  const { table } = snapshot;
  const output = format === 'json' ? 'marked' : format === 'ndjson' || format === 'csv' ? 'text' : 'rows';
  return {
    snapshots: [snapshot],
    buildStatement: (sources) => {
      const source = assertDefined(sources[0], 'a query has one table');
      if (downsample === undefined) return rowsStatement(source, plan, limits, output);
      return downsampleStatement(source, plan, downsample, limits, output);
    },
    format,
    rows_max: plan.limit === undefined ? undefined : plan.limit + 1,
    // A client that follows a table sends another token, and thus another hash, with each query.
    costKey: `${table.dataset}.${table.physical} ${plan.after.length > 0 ? 'after' : plan.hash} ${plan.limit}`,
    signal,
  };
}

/** An answer that is not read to its end would keep its query running in ClickHouse. */
async function closeAndThrow({ chunks }: ReadResult, error: unknown): Promise<never> {
  await chunks.return(undefined);
  throw error;
}

function buildJson(
  ctx: QueryDeps,
  { snapshot, plan, body: { downsample, isWhole } }: PlannedQuery,
  { read, result, notes }: { read: Read; result: ReadResult; notes: Answer['notes'] },
): AsyncGenerator<string> {
  const { warnings, streaming, watermark } = notes;
  return jsonAnswer(result.chunks, {
    isHiding: true,
    begin: (columns) => ({
      columns: columns.map(({ name }) => name),
      types: columns.map(({ type }) => type),
      mode: downsample === undefined ? 'raw' : 'downsampled',
    }),
    end: (end) => {
      const { published, hotBuffer, endKey } = countSources(end.hidden);
      const cursor = nextCursor(snapshot, plan, end.hasMore ? endKey : undefined, warnings) ?? null;
      if (isWhole && end.hasMore) warnings.push(`The answer is limited to ${plan.limit} rows; more rows match.`);
      return {
        warnings,
        ...(downsample === undefined && { cursor }),
        streaming,
        sources: { published, hotBuffer },
        statistics: readStatistics(ctx, read, result, end, notes),
        latest_ingest_watermark: watermark ?? null,
      };
    },
  });
}

/**
 * Counts the rows of each store by the hidden members: `partition` or `partition [sort key]` of a row, empty for a row of
 * the tail; `stored buffered partitions…` of an interval.
 */
function countSources(hidden: JsonEnd['hidden']) {
  const partitions = new Set<string>();
  const published = { rows: 0, partitions: 0 };
  const hotBuffer = { rows: 0 };
  let endKey: (string | null)[] | undefined;
  for (const member of hidden) {
    const [, stored, buffered, list] = /^([0-9]+) ([0-9]+) (.*)$/.exec(member) ?? [];
    if (list !== undefined) {
      published.rows += Number(stored);
      hotBuffer.rows += Number(buffered);
      for (const partition of list.split(' ')) if (partition !== '') partitions.add(partition);
      continue;
    }
    const keyAt = member.indexOf(' [');
    const partition = keyAt < 0 ? member : member.slice(0, keyAt);
    if (keyAt >= 0) endKey = JSON.parse(member.slice(keyAt + 1));
    if (partition === '') {
      hotBuffer.rows += 1;
    } else {
      published.rows += 1;
      partitions.add(partition);
    }
  }
  published.partitions = partitions.size;
  return { published, hotBuffer, endKey };
}

/** The sort key of the last row of a page; undefined when no page follows. */
async function readEndKey(ctx: QueryDeps, read: Read, plan: QueryPlan): Promise<(string | null)[] | undefined> {
  const { chunks } = await executeRead(ctx, {
    ...read,
    format: 'ndjson',
    costKey: `${read.costKey} end`,
    buildStatement: (sources) =>
      rowsStatement(assertDefined(sources[0], 'a query has one table'), plan, ctx.config.limits, 'end'),
  });
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  const text = Buffer.concat(parts).toString().trim();
  return text === '' ? undefined : JSON.parse((JSON.parse(text) as { _k: string })._k);
}

export async function requireTable(ctx: QueryDeps, dataset: string, name: string): Promise<Table> {
  const table = await findReadable(ctx, dataset, name);
  if (table === undefined) throw notFound({ dataset, table: name });
  return table;
}

/** A token of a table that the query does not read is a mistake of the caller. */
export function requireOwnTokens({ required }: Freshness, tables: Table[]): void {
  for (const { dataset, table, member } of required) {
    if (tables.some((each) => each.dataset === dataset && each.name === table)) continue;
    throw invalidRequest(
      `${member}: a token belongs to table ${table} of dataset ${dataset}, which this query does not read`,
    );
  }
}
