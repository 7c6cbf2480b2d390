import { randomInt } from 'node:crypto';
import * as z from 'zod';
import { type LanePositions, lanePositionsSql } from '../../buffer/lane-positions.ts';
import { allRowsName } from '../../catalog/lane-location.ts';
import { askLong } from '../../catalog/object-table.ts';
import { quoteName, quoteString } from '../../core/identifiers.ts';
import type { Table } from '../../schema/table.ts';
import { timeTextSql } from '../../schema/time-text-sql.ts';
import { type Field, isNeverNull, precisionOf } from '../../schema/types.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationNode } from '../deps.ts';
import type { Source } from './chunks.ts';
import type { Staged } from './staging.ts';

/** Memory limits of a comparison; ClickHouse spills larger data to disk. */
const spilling = {
  max_bytes_before_external_sort: 500_000_000,
  max_bytes_before_external_group_by: 500_000_000,
  join_algorithm: 'grace_hash',
  max_bytes_in_join: 500_000_000,
  session_timezone: 'UTC',
};

/** All values of a row as a list of texts that distinguishes null from every text. */
function valuesSql(fields: Field[]): string {
  return `[${fields.map(textSql).join(', ')}]`;
}

/** The beginning of a text, for reports. */
const shortSql = (text: string) => `substringUTF8(${text}, 1, 200)`;

/** A value as text. Different values have different texts. */
function textSql({ name, type }: Field): string {
  const column = quoteName(name);
  // Entries of a map have no order.
  const value = type === 'map' ? `mapSort(${column})` : type === 'json' ? normalizeJson(column) : column;
  return `ifNull(concat('=', toString(${value})), '')`;
}

/** Tokens of JSON: a string, a bracket or separator, or a run of other characters without white space. */
const jsonPart = quoteString(String.raw`"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^"{}\[\],:\s]+`);
const escapePattern = quoteString(String.raw`\\(/)|(\\.)`);
const escapeReplacement = quoteString(String.raw`\1\2`);

/**
 * JSON text without differences between writers: without white space, with doubles as ClickHouse writes them, and without
 * unnecessary escapes. Numbers with more digits than a double stay unchanged.
 */
function normalizeJson(column: string): string {
  const isShort = `match(part, '^-?[0-9.eE+-]{1,24}$') AND match(part, '[.eE]')`;
  const number = `if(${isShort}, toString(toFloat64OrZero(part)), part)`;
  const plain = `if(startsWith(part, '"'), replaceRegexpAll(part, ${escapePattern}, ${escapeReplacement}), ${number})`;
  const text = `arrayStringConcat(arrayMap(part -> ${plain}, extractAll(assumeNotNull(${column}), ${jsonPart})))`;
  return `if(isNull(${column}), NULL, ${text})`;
}

const keepMissingRow = z.object({ rows: z.string() });

/**
 * Copies the rows of a staging table that are missing from its table under a new attempt. Of equal rows, copies as many as
 * the table has fewer.
 *
 * @param fields fields that are compared: those that all objects have
 * @returns the new attempt with its row count
 */
export async function keepMissing(
  node: OperationNode,
  table: Table,
  { staging, where }: Source,
  fields: Field[],
  until: LanePositions,
): Promise<Staged> {
  const attempt = randomInt(2 ** 47);
  const names = table.schema.fields.map(({ name }) => quoteName(name)).join(', ');
  const time = quoteName(table.schema.timestampColumn);
  const hash = `sipHash128(${valuesSql(fields)})`;
  const own = `SELECT *, ${hash} AS _h, row_number() OVER (PARTITION BY _h ORDER BY _object, _place) AS _n FROM ${staging} WHERE ${where}`;
  const theirs = `SELECT ${hash} AS _h, row_number() OVER (PARTITION BY _h ORDER BY _lane, _seq, _row) AS _n FROM ${await allRowsName(node, table)}
    WHERE ${lanePositionsSql(until)} AND ${time} BETWEEN (SELECT min(${time}) FROM ${staging} WHERE ${where}) AND (SELECT max(${time}) FROM ${staging} WHERE ${where})`;
  await askLong(
    node,
    `INSERT INTO ${staging} (_attempt, _object, _place, ${names})
     SELECT {_attempt:UInt64}, _object, _place, ${names} FROM (${own}) AS own LEFT ANTI JOIN (${theirs}) AS theirs USING (_h, _n)`,
    { ...spilling, param__attempt: attempt, async_insert: 0, insert_deduplicate: 0 },
  );
  const [found] = checkRows(
    keepMissingRow,
    await node.clickhouse.rows(`SELECT count() AS rows FROM ${staging} WHERE _attempt = {attempt:UInt64}`, { attempt }),
  );
  return { attempt, rows: Number(found?.rows), wrong: 0 };
}

/** Values of a column in one day on one side. Numbers have a sum; for doubles it depends on the order of rows. */
export type ColumnContent = {
  values: number;
  min: string | null;
  max: string | null;
  sum: string | null;
  hash: string;
};

export type DayDifference = {
  day: string;
  rows: { source: number; table: number };
  /** Columns that differ; empty if only the combination of values into rows differs. */
  columns: { name: string; source: ColumnContent; table: ColumnContent }[];
};

export type Differences = {
  rows: { source: number; table: number };
  days: { compared: number; different: number };
  /** The first days with differences. */
  differing: DayDifference[];
};

const reportedDays_max = 100;
const reportedColumns_max = 100;

type DayLine = { _day: string; _isSource: number; _rows: number; _hash: string; _columns: (string | null)[][] };

/** Compares days and columns without regard to the order of rows. */
export async function compareDays(
  node: OperationNode,
  table: Table,
  source: Source,
  compared: { fields: Field[]; until: LanePositions; range: string },
): Promise<Differences> {
  const { fields } = compared;
  const contents = fields.map(({ name, type }) => {
    const column = quoteName(name);
    const isList = isNeverNull(type);
    const hasValue = isList ? `notEmpty(${column})` : `isNotNull(${column})`;
    const isNumber = type === 'double' || type === 'integer' || type === 'unsigned';
    const ordered = isList ? `toString(${column})` : column;
    return `[toString(countIf(${hasValue})), ${shortSql(`toString(min(${ordered}))`)}, ${shortSql(`toString(max(${ordered}))`)}, ${isNumber ? `toString(sum(${column}))` : 'NULL'},
      lower(hex(sum(sipHash64(${textSql({ name, type })}))))]::Array(Nullable(String))`;
  });
  const text = await askLong(
    node,
    `SELECT toString(_date) AS _day, _isSource, count() AS _rows, lower(hex(sum(sipHash64(${valuesSql(fields)})))) AS _hash, [${contents.join(', ')}] AS _columns
       FROM (${await bothSql(node, table, source, compared)}) GROUP BY _date, _isSource ORDER BY _date, _isSource FORMAT JSONEachRow`,
    { ...spilling, output_format_json_quote_64bit_integers: 0, date_time_output_format: 'iso' },
  );
  const lines = text.split('\n').filter((line) => line !== '');
  const byDay = Map.groupBy(
    lines.map((line) => JSON.parse(line) as DayLine),
    ({ _day }) => _day,
  );
  const differences: Differences = {
    rows: { source: 0, table: 0 },
    days: { compared: byDay.size, different: 0 },
    differing: [],
  };
  for (const [day, sides] of byDay) {
    const own = sides.find(({ _isSource }) => _isSource === 1);
    const theirs = sides.find(({ _isSource }) => _isSource === 0);
    differences.rows.source += own?._rows ?? 0;
    differences.rows.table += theirs?._rows ?? 0;
    if (own?._hash === theirs?._hash && own?._rows === theirs?._rows) continue;
    differences.days.different += 1;
    if (differences.differing.length === reportedDays_max) continue;
    const columns = fields
      .map(({ name }, i) => ({
        name,
        source: parseContent(own?._columns[i]),
        table: parseContent(theirs?._columns[i]),
      }))
      .filter((column) => column.source.hash !== column.table.hash)
      .slice(0, reportedColumns_max);
    differences.differing.push({ day, rows: { source: own?._rows ?? 0, table: theirs?._rows ?? 0 }, columns });
  }
  return differences;
}

function parseContent([values = '0', min = null, max = null, sum = null, hash = '0']: (
  | string
  | null
)[] = []): ColumnContent {
  return { values: Number(values), min, max, sum, hash: hash ?? '0' };
}

/** A row that one side has more often than the other, with both counts. */
export type DifferingRow = { source: number; table: number; row: Record<string, unknown> };

const reportedRows_max = 100;
const searchedDays_max = 10;

/** The first differing rows of the first differing days; long values are shortened. */
export async function differingRows(
  node: OperationNode,
  table: Table,
  source: Source,
  compared: { fields: Field[]; until: LanePositions; range: string },
  days: string[],
): Promise<DifferingRow[]> {
  if (days.length === 0) return [];
  const names = compared.fields.map(({ name }) => quoteName(name)).join(', ');
  const chosen = days.slice(0, searchedDays_max).map((day) => `toDate('${day.replace(/[^0-9-]/g, '')}')`);
  const values = compared.fields.map(({ name, type }) => {
    const column = quoteName(name);
    if (type === 'string' || type === 'json') return `${shortSql(column)} AS ${column}`;
    if (type === 'timestamp') return `${timeTextSql(column, precisionOf(table.schema))} AS ${column}`;
    return type === 'string[]' || type.startsWith('vector') ? `arraySlice(${column}, 1, 20) AS ${column}` : column;
  });
  const text = await askLong(
    node,
    `SELECT _s, _t, ${values.join(', ')} FROM (
       SELECT countIf(_isSource = 1) AS _s, countIf(_isSource = 0) AS _t, ${names} FROM (${await bothSql(node, table, source, compared)})
        WHERE _date IN (${chosen.join(', ')}) GROUP BY ${names} HAVING _s != _t
        ORDER BY ${quoteName(table.schema.timestampColumn)} LIMIT ${reportedRows_max}) FORMAT JSONEachRow`,
    { ...spilling, output_format_json_quote_64bit_integers: 1, date_time_output_format: 'iso' },
  );
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const { _s, _t, ...row } = JSON.parse(line) as { _s: string; _t: string };
    return { source: Number(_s), table: Number(_t), row };
  });
}

async function bothSql(
  node: OperationNode,
  table: Table,
  { staging, where }: Source,
  { fields, until, range }: { fields: Field[]; until: LanePositions; range: string },
): Promise<string> {
  const names = fields.map(({ name }) => quoteName(name)).join(', ');
  const day = `toDate(${quoteName(table.schema.timestampColumn)}, 'UTC') AS _date`;
  return `SELECT 1 AS _isSource, ${day}, ${names} FROM ${staging} WHERE ${where}
    UNION ALL SELECT 0 AS _isSource, ${day}, ${names} FROM ${await allRowsName(node, table)} WHERE ${lanePositionsSql(until)} ${range}`;
}
