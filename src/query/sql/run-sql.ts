import { hash } from 'node:crypto';
import * as z from 'zod';
import { findReadable } from '../../catalog/find-table.ts';
import { withNewestLife } from '../../catalog/life.ts';
import { quarantineTable } from '../../catalog/quarantine-table.ts';
import { assertDefined } from '../../core/assert.ts';
import { ApiError } from '../../core/errors.ts';
import { quoteName, slug, slugPattern } from '../../core/identifiers.ts';
import { inEachInstance } from '../../core/instance-memory.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import { LruMap } from '../../core/lru-map.ts';
import type { Table } from '../../schema/table.ts';
import { ClickHouseError, type Settings } from '../../stores/clickhouse/client.ts';
import { atAny } from '../../stores/clickhouse/servers.ts';
import type { QueryDeps } from '../deps.ts';
import { type Answer, describeAnswer } from '../execution/answer.ts';
import { queryError } from '../execution/clickhouse-errors.ts';
import { executeRead, neutralDatabase, type Read, readStatistics } from '../execution/execute-read.ts';
import { mergedTableSql } from '../execution/merged-table-sql.ts';
import { multipartRequest } from '../execution/multipart-request.ts';
import { type AnswerOptions, requireOwnTokens } from '../execution/query-table.ts';
import { type ReadScope, rowFilterCondition } from '../execution/read-scope.ts';
import { type ReadSnapshot, takeReadSnapshot } from '../execution/read-snapshot.ts';
import { freshnessFields, readFreshness } from '../freshness/requirement.ts';
import { filterSql } from '../request/filters.ts';
import { type Format, formatNames } from '../request/format.ts';
import { csvAnswer } from '../response/csv.ts';
import { jsonAnswer, jsonLines } from '../response/json.ts';
import { boundParams, type CompiledSql, compileSql, replaceTimes, sqlWith, textsToCheck } from './compile.ts';
import { syntaxError } from './syntax-error.ts';
import { checkTree } from './tree.ts';
import { withTimes } from './with-times.ts';

export const sqlBody = z.strictObject({
  sql: z
    .string()
    .min(1)
    .meta({
      description: 'one SELECT; tables are `table` in `dataset`, or `dataset.table`; values come as `{name:Type}`',
      examples: ['SELECT sensor, avg(celsius) FROM readings GROUP BY sensor ORDER BY sensor'],
    }),
  dataset: slug.optional().meta({ description: 'where tables are that the SQL names without a dataset' }),
  params: z.record(z.string(), z.unknown()).default({}).meta({ description: 'values of the parameters' }),
  format: z.enum(formatNames).optional().meta({ description: 'before what `Accept` says' }),
  ...freshnessFields,
});

/** SQL that was found to read nothing but its tables; its text alone decides that. */
const checkedSql = inEachInstance(
  ({ limits }) => new LruMap<CompiledSql>(limits.checked_sql_chars_max, (_, sql) => sql.length),
);

export type SqlBody = z.output<typeof sqlBody>;

/**
 * Answers a SELECT over any tables of the datasets that somebody may read, each with its tail merged in.
 *
 * Nothing runs before it is known what would be read: the SQL is cut into tokens, ClickHouse says what it understands of
 * it, without running it, and every table it names has to be one of the catalogue. This is the wall between datasets, for
 * all queries share one user of ClickHouse. What that user may do is the second one, around all of them.
 *
 * @throws TimestoreError for SQL that is refused, and for a query that cannot be answered; StoreError
 */
export async function querySql(
  ctx: QueryDeps,
  reader: ReadScope,
  body: SqlBody,
  asked: AnswerOptions,
): Promise<Answer> {
  return await withNewestLife(ctx, (found) => queryTables(ctx, reader, body, asked, found));
}

/**
 * Stands between the rows that a key may read and the caller's SQL. ClickHouse moves conditions towards the table: into
 * PREWHERE, where the cheapest comes first, and to the index, whose values it evaluates functions on. An expression that
 * fails for some values would tell of rows that the key may not read. None is moved past a LIMIT, since that would change
 * the answer.
 */
const wall = 'LIMIT 9223372036854775807';

async function queryTables(
  ctx: QueryDeps,
  reader: ReadScope,
  body: SqlBody,
  asked: AnswerOptions,
  found: Table[],
): Promise<Answer> {
  const { limits } = ctx.config;
  const freshness = readFreshness(body, limits);
  const key = `${body.dataset ?? ''} ${body.sql}`;
  const known = checkedSql(ctx).get(key);
  const compiled = known ?? compileSql(body.sql, body.dataset, limits);
  const params = boundParams(compiled, body.params, limits);
  const tables = await resolveTables(ctx, reader, body, compiled);
  if (known === undefined) await check(ctx, key, compiled, params);
  const distinct = [...new Set(tables.filter((table) => table !== undefined))];
  found.push(...distinct);
  requireOwnTokens(freshness, distinct);
  const cuts = await Promise.all(distinct.map((table) => takeReadSnapshot(ctx, table, freshness)));
  const read: Read = {
    snapshots: cuts,
    buildStatement: (sources) => {
      const own: Settings = { ...params };
      const relations = sources.map((source) => {
        const condition = rowFilterCondition(reader, source.table);
        const columns = source.table.schema.fields.map(({ name }) => quoteName(name));
        if (condition === undefined) return mergedTableSql(source, own, { columns });
        const where = filterSql([condition], source.table, limits, own, `_k${source.number}_`);
        return mergedTableSql(source, own, { columns, where, end: wall });
      });
      const put = ({ parts }: CompiledSql['uses'][number], n: number) => {
        const table = tables[n];
        // A name that IN looks into, and that is no table, is one of the SQL's own.
        if (table === undefined) return parts.map(quoteName).join('.');
        return assertDefined(relations[distinct.indexOf(table)], `the query has table ${table.name}`);
      };
      const sql = sqlWith(compiled, put, 'as-sent', replaceTimes(compiled, body.params));
      return { sql, params: own };
    },
    format: asked.format,
    clickhouseFormat: typed[asked.format],
    rows_max: asked.format === 'json' ? limits.query_rows_max : undefined,
    // Not the SQL itself, which may be long.
    costKey: hash('sha256', `${body.dataset} ${body.sql}`, 'base64url'),
    signal: asked.signal,
  };
  const running = await withTimes(compiled, body.params, () => executeRead(ctx, read));
  return buildAnswer(ctx, reader, cuts, read, asked.format, running);
}

function buildAnswer(
  ctx: QueryDeps,
  reader: ReadScope,
  cuts: ReadSnapshot[],
  read: Read,
  format: Format,
  running: Awaited<ReturnType<typeof executeRead>>,
): Answer {
  const notes = describeAnswer(cuts, reader, running.exactness);
  const { chunks, isComplete } = running;
  if (format === 'ndjson') return { format, notes, body: jsonLines(chunks), isComplete };
  if (format === 'csv') return { format, notes, body: csvAnswer(chunks), isComplete };
  if (format !== 'json') return { format, notes, body: running.chunks, isComplete: running.isComplete };
  const body = jsonAnswer(running.chunks, {
    isHiding: false,
    begin: (columns) => ({ columns }),
    end: (end) => {
      return {
        statistics: readStatistics(ctx, read, running, end, notes),
        warnings: notes.warnings,
        streaming: notes.streaming,
        latest_ingest_watermark: notes.watermark ?? null,
      };
    },
  });
  return { format, notes, body, isComplete: running.isComplete };
}

/** Formats of text in forms that say the types of columns before the rows. */
const typed: Partial<Record<Format, string>> = { ndjson: 'JSON', csv: 'CSVWithNamesAndTypes' };

/** The table of each use, one object for each table. Undefined for what IN looks into and is no table. */
async function resolveTables(
  ctx: QueryDeps,
  reader: ReadScope,
  { dataset: own }: SqlBody,
  { uses }: CompiledSql,
): Promise<(Table | undefined)[]> {
  const found = new Map<string, Promise<Table | undefined>>();
  const named = uses.map(({ parts }) => {
    const [name = '', dataset] = [...parts].reverse();
    return { name, dataset: dataset ?? own, parts };
  });
  const distinct = new Set(named.map(({ name, dataset }) => `${dataset}.${name}`));
  if (distinct.size > ctx.config.limits.sql_tables_max) {
    throw limitExceeded(`sql: it uses more than ${ctx.config.limits.sql_tables_max} tables (limit sql_tables_max)`);
  }
  return await Promise.all(
    named.map(async ({ name, dataset, parts }, n) => {
      const isOptional = uses[n]?.place === 'in' && parts.length === 1 && !name.includes('.');
      if (dataset === undefined) {
        if (isOptional) return undefined;
        throw invalidRequest(
          `sql: ${name} is a table of which dataset? Say dataset beside the SQL, or write dataset.${name}`,
        );
      }
      const key = `${dataset}.${name}`;
      const mayBe = parts.length <= 2 && slugPattern.test(dataset) && isTableName(name) && reader.reads(dataset);
      if (!found.has(key)) found.set(key, mayBe ? findReadable(ctx, dataset, name) : Promise.resolve(undefined));
      const table = await found.get(key);
      // One that the key does not list is as if it were not there.
      if (table === undefined && !isOptional) {
        throw new ApiError(
          'not-found',
          `There is no table ${parts.length > 1 ? parts.join('.') : `${name} in dataset ${dataset}`}.`,
        );
      }
      return table;
    }),
  );
}

function isTableName(name: string): boolean {
  return slugPattern.test(name) || name === quarantineTable;
}

/** Asks ClickHouse what it would read. What was found harmless once stays so: it depends on the text and the dataset alone. */
async function check(ctx: QueryDeps, key: string, compiled: CompiledSql, params: Settings): Promise<void> {
  const { before, after } = textsToCheck(compiled);
  const [first, second] = await Promise.allSettled([
    explain(ctx, compiled, before, params),
    explain(ctx, compiled, after, params),
  ]);
  // Places in the text are those of the first.
  if (first.status === 'rejected') throw first.reason;
  if (second.status === 'rejected') throw second.reason;
  checkTree(first.value, second.value, compiled.uses, compiled.columns);
  checkedSql(ctx).set(key, compiled);
}

const explainPrefix = 'EXPLAIN QUERY TREE run_passes = 0\n';

async function explain(ctx: QueryDeps, compiled: CompiledSql, text: string, params: Settings): Promise<string[]> {
  const { body, settings } = multipartRequest(`${explainPrefix}${text}\nFORMAT JSONEachRow`, params);
  let answer: string;
  try {
    answer = await atAny(ctx).reader.send({
      settings: { ...settings, database: neutralDatabase, wait_end_of_query: 1, max_query_size: 1024 * 1024 },
      body,
      timeout_ms: 10_000,
    });
  } catch (error) {
    if (!(error instanceof ClickHouseError)) throw error;
    throw syntaxError(compiled, error, explainPrefix.length) ?? queryError(ctx, error);
  }
  try {
    const lines = answer.trimEnd().split('\n');
    return lines.map((line) => (JSON.parse(line) as { explain: string }).explain);
  } catch {
    // It took the format for a part of the SQL.
    throw invalidRequest('sql: it ends too early (SYNTAX_ERROR)');
  }
}
