import { findReadable } from '../../catalog/find-table.ts';
import { withNewestLife } from '../../catalog/life.ts';
import { ApiError, StoreError } from '../../core/errors.ts';
import { invalidRequest } from '../../core/invalid-request.ts';
import type { Table } from '../../schema/table.ts';
import type { QueryDeps } from '../deps.ts';
import { type Freshness, freshnessOf } from '../freshness/requirement.ts';
import type { Format } from '../request/format.ts';
import { planQuery, type QueryBody, type QueryPlan } from '../request/parse.ts';
import { type JsonEnd, jsonAnswer } from '../response/json.ts';
import { type Answer, notesOf } from './answer.ts';
import { downsampleStatement } from './downsample.ts';
import { type Read, RejectedTailError, type Running, readStatistics, runRead } from './execute-read.ts';
import { hotRows } from './hot-rows.ts';
import { cursorOf } from './next-cursor.ts';
import { rowsStatement } from './raw-rows.ts';
import { type ReadScope, rowFilterCondition } from './read-scope.ts';
import { pinSnapshot, type ReadSnapshot, takeReadSnapshot, unreadSnapshot } from './read-snapshot.ts';
import { expiredCursor, ofUnchangedRows } from './unchanged-rows.ts';

export type Asked = {
  format: Format;
  /** When the caller is gone. */
  signal: AbortSignal;
};

/**
 * Answers a structured query with everything acknowledged before it began, or says why not.
 *
 * @throws TimestoreError for a query that cannot be answered; StoreError when a store that it needs is away
 */
export async function queryTable(
  ctx: QueryDeps,
  reader: ReadScope,
  dataset: string,
  sent: QueryBody,
  asked: Asked,
): Promise<Answer> {
  return await queryForm(ctx, reader, dataset, sent.tableName, asked, () => sent);
}

/** The same of a query whose form depends on the table. */
export async function queryForm(
  ctx: QueryDeps,
  reader: ReadScope,
  dataset: string,
  tableName: string,
  asked: Asked,
  bodyFor: (table: Table) => QueryBody,
): Promise<Answer> {
  return await withNewestLife(ctx, async (found) => {
    const table = await requireTable(ctx, dataset, tableName);
    found.push(table);
    return await queryIn(ctx, reader, table, bodyFor(table), asked);
  });
}

async function queryIn(
  ctx: QueryDeps,
  reader: ReadScope,
  table: Table,
  sent: QueryBody,
  asked: Asked,
): Promise<Answer> {
  const { limits } = ctx.config;
  const body = forReader(sent, reader, table);
  const freshness = freshnessOf(body, limits);
  requireOwnTokens(freshness, [table]);
  // What was asked wrongly is said at once, if it can be.
  const early = planQuery(body, table, limits, asked.format, 'early');
  const cut = await cutOf(ctx, table, freshness, early.cursor);
  const plan = planQuery(body, cut.table, limits, asked.format);
  try {
    return await fromClickHouse(ctx, reader, cut, plan, body, asked);
  } catch (error) {
    if (!(error instanceof StoreError) || error.store !== 'clickhouse' || error instanceof RejectedTailError)
      throw error;
    const answer = hotRows(reader, cut, plan, body, asked.format);
    if (answer === undefined) throw error;
    return answer;
  }
}

/** With what holds for all rows of the reader among what is asked for, so that no way to an answer goes without it. */
function forReader(body: QueryBody, reader: ReadScope, table: Table): QueryBody {
  const condition = rowFilterCondition(reader, table);
  if (condition === undefined) return body;
  return { ...body, filters: { ...body.filters, columns: [condition, ...(body.filters?.columns ?? [])] } };
}

/** The cut of a first page; of a further one, the cut that the first one was of. */
async function cutOf(
  ctx: QueryDeps,
  table: Table,
  freshness: Freshness,
  cursor: QueryPlan['cursor'],
): Promise<ReadSnapshot> {
  if (cursor === undefined) return await takeReadSnapshot(ctx, table, freshness);
  if (cursor.cut === null) {
    return unreadSnapshot(table, 'skipped', ['The first page was of no cut: rows may have come and gone since.']);
  }
  const pin = { dataset: table.dataset, table: table.name, lanes: cursor.cut, member: 'cursor' };
  const cut = await takeReadSnapshot(ctx, table, { ...freshness, required: [...freshness.required, pin] });
  if (cut.changes === undefined || cut.changes !== cursor.changes) throw expiredCursor(table);
  return pinSnapshot(cut, pin);
}

async function fromClickHouse(
  ctx: QueryDeps,
  reader: ReadScope,
  cut: ReadSnapshot,
  plan: QueryPlan,
  body: QueryBody,
  { format, signal }: Asked,
): Promise<Answer> {
  const { limits } = ctx.config;
  const { downsample } = body;
  const isRaw = downsample === undefined;
  const wants = format === 'json' ? 'marked' : format === 'ndjson' || format === 'csv' ? 'text' : 'rows';
  const read: Read = {
    cuts: [cut],
    statement: ([source]) => {
      if (source === undefined) throw new Error('a query reads one table');
      return isRaw
        ? rowsStatement(source, plan, limits, wants)
        : downsampleStatement(source, plan, downsample, limits, wants);
    },
    format,
    rowsMax: plan.limit === undefined ? undefined : plan.limit + 1,
    // Who follows a table asks with another token each time.
    costKey: `${cut.table.dataset}.${cut.table.physical} ${plan.after.length > 0 ? 'after' : plan.hash} ${plan.limit}`,
    signal,
  };
  const pages = isRaw && plan.limit !== undefined;
  // Formats with no room for a cursor carry it in a header, before the rows.
  const next = pages && format !== 'json' ? endKey(ctx, read, plan) : Promise.resolve(undefined);
  next.catch(() => undefined);
  const begun = await runRead(ctx, read);
  const end = await next.catch((error) => giveUp(begun, error));
  const running = cut.pin === undefined ? begun : await ofUnchangedRows(ctx, cut, begun);
  const notes = notesOf([cut], reader, running.exactness);
  const cursor = cursorOf(cut, plan, end, notes.warnings);
  if (format !== 'json') return { format, notes, cursor, body: running.chunks, isComplete: running.isComplete };
  return { format, notes, body: asJson(ctx, cut, plan, body, read, running, notes), isComplete: running.isComplete };
}

/** Rows that nobody will read would hold their place in ClickHouse. */
async function giveUp({ chunks }: Running, error: unknown): Promise<never> {
  await chunks.return(undefined);
  throw error;
}

function asJson(
  ctx: QueryDeps,
  cut: ReadSnapshot,
  plan: QueryPlan,
  { downsample, isWhole }: QueryBody,
  read: Read,
  running: Running,
  notes: Answer['notes'],
): AsyncGenerator<string> {
  const { warnings, streaming, watermark } = notes;
  return jsonAnswer(running.chunks, {
    isHiding: true,
    begin: (columns) => ({
      columns: columns.map(({ name }) => name),
      types: columns.map(({ type }) => type),
      mode: downsample === undefined ? 'raw' : 'downsampled',
    }),
    end: (end) => {
      const { published, hotBuffer, next } = originsOf(end.hidden);
      const cursor = cursorOf(cut, plan, end.hasMore ? next : undefined, warnings) ?? null;
      if (isWhole && end.hasMore) warnings.push(`The answer has ${plan.limit} rows, and there are more.`);
      return {
        warnings,
        ...(downsample === undefined && { cursor }),
        streaming,
        sources: { published, hotBuffer },
        statistics: readStatistics(ctx, read, running, end, notes),
        latest_ingest_watermark: watermark ?? null,
      };
    },
  });
}

/** What the hidden members say: the partition of a row, or `stored buffered partitions…` of an interval. */
function originsOf(hidden: JsonEnd['hidden']) {
  const partitions = new Set<string>();
  const published = { rows: 0, partitions: 0 };
  const hotBuffer = { rows: 0 };
  let next: (string | null)[] | undefined;
  for (const said of hidden) {
    const [, stored, buffered, list] = /^([0-9]+) ([0-9]+) (.*)$/.exec(said) ?? [];
    if (list !== undefined) {
      published.rows += Number(stored);
      hotBuffer.rows += Number(buffered);
      for (const partition of list.split(' ')) if (partition !== '') partitions.add(partition);
      continue;
    }
    const at = said.indexOf(' [');
    const partition = at < 0 ? said : said.slice(0, at);
    if (at >= 0) next = JSON.parse(said.slice(at + 1));
    if (partition === '') {
      hotBuffer.rows += 1;
    } else {
      published.rows += 1;
      partitions.add(partition);
    }
  }
  published.partitions = partitions.size;
  return { published, hotBuffer, next };
}

/** The sort key of a page's last row; undefined when no page follows. */
async function endKey(ctx: QueryDeps, read: Read, plan: QueryPlan): Promise<(string | null)[] | undefined> {
  const { chunks } = await runRead(ctx, {
    ...read,
    format: 'ndjson',
    costKey: `${read.costKey} end`,
    statement: ([source]) => {
      if (source === undefined) throw new Error('a query reads one table');
      return rowsStatement(source, plan, ctx.config.limits, 'end');
    },
  });
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  const text = Buffer.concat(parts).toString().trim();
  return text === '' ? undefined : JSON.parse((JSON.parse(text) as { _k: string })._k);
}

export async function requireTable(ctx: QueryDeps, dataset: string, name: string): Promise<Table> {
  const table = await findReadable(ctx, dataset, name);
  if (table === undefined) throw new ApiError('not-found', `There is no table ${name} in dataset ${dataset}.`);
  return table;
}

/** A token of a table that is not read says nothing of the answer: its sender means something else. */
export function requireOwnTokens({ required }: Freshness, tables: Table[]): void {
  for (const { dataset, table, member } of required) {
    if (tables.some((each) => each.dataset === dataset && each.name === table)) continue;
    throw invalidRequest(
      `${member}: a token is of table ${table} in dataset ${dataset}, which this query does not read`,
    );
  }
}
