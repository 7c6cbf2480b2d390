import { hash } from 'node:crypto';
import * as z from 'zod';
import { findReadable } from '../../catalog/find-table.ts';
import { withNewestLife } from '../../catalog/life.ts';
import { quarantineTable } from '../../catalog/quarantine-table.ts';
import { assertDefined } from '../../core/assert.ts';
import { quoteName, slug, slugPattern } from '../../core/identifiers.ts';
import { inEachInstance } from '../../core/instance-memory.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import { LruMap } from '../../core/lru-map.ts';
import { notFound } from '../../core/not-found.ts';
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
  const tables = await resolveTables(ctx, reader, body, compiled);
  if (known === undefined) await check(ctx, key, compiled, params);
  const distinct = [...new Set(tables.filter((table) => table !== undefined))];
  found.push(...distinct);
  requireOwnTokens(freshness, distinct);
  const snapshots = await Promise.all(distinct.map((table) => takeReadSnapshot(ctx, table, freshness)));
  const read: Read = {
    snapshots,
    buildStatement: (sources) => {
      const ownParams: Settings = { ...params };
      const tableSql = sources.map((source) => {
        const condition = rowFilterCondition(reader, source.table);
        const columns = source.table.schema.fields.map(({ name }) => quoteName(name));
        if (condition === undefined) return mergedTableSql(source, ownParams, { columns });
        const where = filterSql([condition], source.table, limits, ownParams, `_k${source.number}_`);
        return mergedTableSql(source, ownParams, { columns, where, end: optimizationBarrier });
      });
      const replaceTable = ({ parts }: CompiledSql['uses'][number], n: number) => {
        const table = tables[n];
        // An operand of IN that is not a table is a name of the SQL.
        if (table === undefined) return parts.map(quoteName).join('.');
        return assertDefined(tableSql[distinct.indexOf(table)], `the query has table ${table.name}`);
      };
      const sql = sqlWith(compiled, replaceTable, 'as-sent', replaceTimes(compiled, body.params));
      return { sql, params: ownParams };
    },
    format: options.format,
    clickhouseFormat: typedFormats[options.format],
    rows_max: options.format === 'json' ? limits.query_rows_max : undefined,
    // A hash, because the SQL may be long.
    costKey: hash('sha256', `${body.dataset} ${body.sql}`, 'base64url'),
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

/** The table of each use, one object a table. Undefined for an operand of IN that is not a table. */
async function resolveTables(
  ctx: QueryDeps,
  reader: ReadScope,
  { dataset: defaultDataset }: SqlBody,
  { uses }: CompiledSql,
): Promise<(Table | undefined)[]> {
  const found = new Map<string, Promise<Table | undefined>>();
  const named = uses.map(({ parts }) => {
    const [name = '', dataset] = [...parts].reverse();
    return { name, dataset: dataset ?? defaultDataset, parts };
  });
  const distinct = new Set(named.map(({ name, dataset }) => `${dataset}.${name}`));
  if (distinct.size > ctx.config.limits.sql_tables_max) {
    throw limitExceeded(
      `sql: the statement uses more than ${ctx.config.limits.sql_tables_max} tables (limit sql_tables_max)`,
    );
  }
  return await Promise.all(
    named.map(async ({ name, dataset, parts }, n) => {
      const isOptional = uses[n]?.place === 'in' && parts.length === 1 && !name.includes('.');
      if (dataset === undefined) {
        if (isOptional) return undefined;
        throw invalidRequest(
          `sql: the dataset of table ${name} is missing; set the member dataset, or write dataset.${name}`,
        );
      }
      const key = `${dataset}.${name}`;
      const mayExist = parts.length <= 2 && slugPattern.test(dataset) && isTableName(name) && reader.reads(dataset);
      if (!found.has(key)) found.set(key, mayExist ? findReadable(ctx, dataset, name) : Promise.resolve(undefined));
      const table = await found.get(key);
      // A table that the key may not read gives the same error as a missing one.
      if (table === undefined && !isOptional) {
        throw notFound(parts.length > 1 ? { kind: 'Table', id: parts.join('.') } : { dataset, table: name });
      }
      return table;
    }),
  );
}

function isTableName(name: string): boolean {
  return slugPattern.test(name) || name === quarantineTable;
}

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
