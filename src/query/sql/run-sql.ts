import { hash } from 'node:crypto';
import * as z from 'zod';
import { withNewestLife } from '../../catalog/life.ts';
import { assertDefined } from '../../core/assert.ts';
import { quoteName, slug } from '../../core/identifiers.ts';
import { inEachInstance } from '../../core/instance-memory.ts';
import { invalidRequest } from '../../core/invalid-request.ts';
import { LruMap } from '../../core/lru-map.ts';
import type { Table } from '../../schema/table.ts';
import { ClickHouseError, type Settings } from '../../stores/clickhouse/client.ts';
import { atAny } from '../../stores/clickhouse/servers.ts';
import type { QueryDeps } from '../deps.ts';
import { type Answer, describeAnswer } from '../execution/answer.ts';
import { queryError } from '../execution/clickhouse-errors.ts';
import { executeRead, neutralDatabase, type Read, type ReadResult, readStatistics } from '../execution/execute-read.ts';
import { mergedTableSql } from '../execution/merged-table-sql.ts';
import { multipartRequest } from '../execution/multipart-request.ts';
import { type AnswerOptions, requireOwnTokens } from '../execution/query-table.ts';
import { type ReadScope, rowFilterCondition } from '../execution/read-scope.ts';
import { takeReadSnapshot } from '../execution/read-snapshot.ts';
import { freshnessFields, readFreshness } from '../freshness/requirement.ts';
import { filterSql } from '../request/filters.ts';
import { type Format, formatNames } from '../request/format.ts';
import { csvAnswer } from '../response/csv.ts';
import { jsonAnswer, jsonLines } from '../response/json.ts';
import { boundParams, type CompiledSql, compileSql, replaceTimes, sqlWith, textsToCheck } from './compile.ts';
import { resolveTables } from './resolve-tables.ts';
import { rowsName, sentRows } from './sent-rows.ts';
import { syntaxError } from './syntax-error.ts';
import { checkTree } from './tree.ts';
import { withTimes } from './with-times.ts';

export const sqlBody = z.strictObject({
  sql: z
    .string()
    .min(1)
    .meta({
      description:
        'one SELECT statement; tables are `table` of `dataset`, or `dataset.table`; parameters are `{name:Type}`',
      examples: ['SELECT sensor, avg(celsius) FROM readings GROUP BY sensor ORDER BY sensor'],
    }),
  dataset: slug.optional().meta({ description: 'the dataset of unqualified table names' }),
  params: z.record(z.string(), z.unknown()).default({}).meta({ description: 'values of the parameters' }),
  format: z.enum(formatNames).optional().meta({ description: 'overrides `Accept`' }),
  ...freshnessFields,
});

/** SQL that has passed `check`, by dataset and text, which alone decide the result. */
const checkedSql = inEachInstance(
  ({ limits }) => new LruMap<CompiledSql>(limits.checked_sql_chars_max, (_, sql) => sql.length),
);

export type SqlBody = z.output<typeof sqlBody>;

/**
 * Answers a SELECT over tables of the datasets that the key may read, each merged with its tail.
 *
 * The SQL runs only after a check of everything that it would read: it is split into tokens, ClickHouse explains it without
 * running it, and every table must be in the catalogue. This isolates datasets, because all queries share one ClickHouse
 * user. The grants of that user are the second barrier.
 *
 * @throws ApiError for rejected SQL or an invalid query; StoreError
 */
export async function querySql(
  ctx: QueryDeps,
  reader: ReadScope,
  body: SqlBody,
  options: AnswerOptions,
): Promise<Answer> {
  return await withNewestLife(ctx, (found) => queryTables(ctx, reader, body, options, found));
}

/**
 * Separates the row filter of a key from the SQL of the caller. ClickHouse moves conditions towards the table: into PREWHERE,
 * cheapest first, and to the index, on whose values it evaluates functions. An expression that fails for some values would
 * then reveal rows that the key may not read. ClickHouse moves no condition past a LIMIT.
 */
const optimizationBarrier = 'LIMIT 9223372036854775807';

/** The columns that order rows of equal times, by their acknowledgement. */
const positionColumns = ['_received_at', '_lane', '_seq', '_row'];

async function queryTables(
  ctx: QueryDeps,
  reader: ReadScope,
  body: SqlBody,
  options: AnswerOptions,
  found: Table[],
): Promise<Answer> {
  const { limits } = ctx.config;
  const freshness = readFreshness(body, limits);
  const key = `${body.dataset ?? ''} ${body.sql}`;
  const known = checkedSql(ctx).get(key);
  const compiled = known ?? compileSql(body.sql, body.dataset, limits);
  const params = boundParams(compiled, body.params, limits);
  const uses = await resolveTables(ctx, reader, body.dataset, compiled);
  if (known === undefined) await check(ctx, key, compiled, params);
  const distinct = [...new Set(uses.flatMap((each) => (each === undefined || each.kind === 'rows' ? [] : each.table)))];
  const sent = [...new Set(uses.flatMap((each) => (each?.kind === 'rows' ? each : [])))];
  found.push(...distinct);
  requireOwnTokens(freshness, distinct);
  const snapshots = await Promise.all(distinct.map((table) => takeReadSnapshot(ctx, table, freshness)));
  const read: Read = {
    snapshots,
    buildStatement: (sources) => {
      const ownParams: Settings = { ...params };
      const relationOf = (table: Table, more: string[]) => {
        const source = assertDefined(sources[distinct.indexOf(table)], `the query has table ${table.name}`);
        const condition = rowFilterCondition(reader, source.table);
        const columns = [...source.table.schema.fields.map(({ name }) => quoteName(name)), ...more];
        if (condition === undefined) return mergedTableSql(source, ownParams, { columns });
        const where = filterSql([condition], source.table, limits, ownParams, `_k${source.number}_`);
        return mergedTableSql(source, ownParams, { columns, where, end: optimizationBarrier });
      };
      const replaceTable = ({ parts }: CompiledSql['uses'][number], n: number) => {
        const use = uses[n];
        // An operand of IN that is not a table is a name of the SQL.
        if (use === undefined) return parts.map(quoteName).join('.');
        if (use.kind === 'rows') return `(SELECT * FROM ${rowsName(sent.indexOf(use))})`;
        if (use.kind === 'table') return relationOf(use.table, []);
        return `(${use.view.select(relationOf(use.table, positionColumns))})`;
      };
      const sql = sqlWith(compiled, replaceTable, 'as-sent', replaceTimes(compiled, body.params));
      return { sql, params: ownParams };
    },
    format: options.format,
    clickhouseFormat: typedFormats[options.format],
    rows_max: options.format === 'json' ? limits.query_rows_max : undefined,
    // A hash, because the SQL may be long.
    costKey: hash('sha256', `${body.dataset} ${body.sql}`, 'base64url'),
    sentTables: sent.map(sentRows),
    signal: options.signal,
  };
  const result = await withTimes(compiled, body.params, () => executeRead(ctx, read));
  return buildAnswer(ctx, reader, read, result);
}

function buildAnswer(ctx: QueryDeps, reader: ReadScope, read: Read, result: ReadResult): Answer {
  const { format } = read;
  const notes = describeAnswer(read.snapshots, reader, result.exactness);
  const { chunks, isComplete } = result;
  if (format === 'ndjson') return { format, notes, body: jsonLines(chunks), isComplete };
  if (format === 'csv') return { format, notes, body: csvAnswer(chunks), isComplete };
  if (format !== 'json') return { format, notes, body: chunks, isComplete };
  const body = jsonAnswer(chunks, {
    isHiding: false,
    begin: (columns) => ({ columns }),
    end: (end) => {
      return {
        statistics: readStatistics(ctx, read, result, end, notes),
        warnings: notes.warnings,
        streaming: notes.streaming,
        latest_ingest_watermark: notes.watermark ?? null,
      };
    },
  });
  return { format, notes, body, isComplete };
}

/** ClickHouse formats that give the column types before the rows, which the conversion of values needs. */
const typedFormats: Partial<Record<Format, string>> = { ndjson: 'JSON', csv: 'CSVWithNamesAndTypes' };

/** Checks what the SQL reads. The result depends on text and dataset alone, and is cached. */
async function check(ctx: QueryDeps, key: string, compiled: CompiledSql, params: Settings): Promise<void> {
  const { before, after } = textsToCheck(compiled);
  const [first, second] = await Promise.allSettled([
    explain(ctx, compiled, before, params),
    explain(ctx, compiled, after, params),
  ]);
  // Positions in errors of the first text are those of the caller.
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
    // ClickHouse parsed the FORMAT clause as a part of the SQL.
    throw invalidRequest('sql: the statement ends too early (SYNTAX_ERROR)');
  }
}
