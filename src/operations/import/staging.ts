import { createHash, randomInt, randomUUID } from 'node:crypto';
import * as z from 'zod';
import { declaredColumns, defaultSql, fieldColumns } from '../../catalog/table-ddl.ts';
import { ApiError, StoreError } from '../../core/errors.ts';
import { quoteName, quoteString } from '../../core/identifiers.ts';
import { type TimeRange, timeValue } from '../../query/request/time-range.ts';
import type { Table } from '../../schema/table.ts';
import type { Time } from '../../schema/timestamp.ts';
import { type Field, precisionOf, requiredFields } from '../../schema/types.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import { engineSql } from '../../stores/clickhouse/engine.ts';
import { atShard, enginePlace } from '../../stores/clickhouse/servers.ts';
import type { OperationDeps, OperationNode } from '../deps.ts';
import type { Source } from './chunks.ts';
import { inferredType, type Reading, readTyped, type SourceColumn } from './columns.ts';
import { isUnread } from './parquet-footer.ts';
import { insertObject, unreadable } from './read-object.ts';
import { shownChars_max, shownText } from './shown-value.ts';

export const stagingPrefix = 'import ';

/** A new name for the staging table of a job. Names are never reused. */
export function newStaging({ shard }: OperationNode, job: string): string {
  return `${stagingPrefix}${job} ${randomUUID().slice(0, 8)}${shard === 1 ? '' : `@${shard}`}`;
}

/** The node of a staging table, or the node to create it on. Its rows move into lanes of the same shard. */
export function atStaging(ctx: OperationDeps, job: string, staging: string | undefined): OperationNode {
  if (staging !== undefined) return atShard(ctx, Number(staging.split('@')[1] ?? 1));
  const shards = ctx.cluster?.shards.length ?? 1;
  return atShard(ctx, 1 + (createHash('sha256').update(job).digest().readUInt32BE(0) % shards));
}

/** The job of a staging table. */
export function stagedJob(staging: string): string {
  return staging.slice(stagingPrefix.length).split(' ')[0] ?? '';
}

/** The SQL name of a staging table. */
export function stagingName(staging: string): string {
  return `timestore.${quoteName(staging)}`;
}

/** The planned table. It is not created or changed before every row is checked. */
export type Planned = Pick<Table, 'name' | 'schema'>;

/**
 * An object whose rows are all staged, under an attempt of its own: rows that an abandoned attempt still inserts have another
 * number.
 */
export type Staged = {
  attempt: number;
  rows: number;
  wrong: number;
  /** Stored rows: invalid rows of text objects are not stored. */
  stored?: number | undefined;
};

/** Creates the staging table with the planned fields. Safe to repeat. */
export async function ensureStaging(node: OperationNode, table: Planned, staging: string): Promise<void> {
  const name = stagingName(staging);
  const fields = declaredColumns(table);
  const time = quoteName(table.schema.timestampColumn);
  await node.clickhouse.command(
    `CREATE TABLE IF NOT EXISTS ${name} (_attempt UInt64, _object UInt32, _place UInt64, _wrong LowCardinality(String),
       _text Nullable(String), ${fields.join(', ')}) ENGINE = ${engineSql(enginePlace(node), `timestore.${staging}`, 'MergeTree')} ORDER BY (${time}, _object, _place)
       SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`,
  );
  await addStagingFields(node, table, name);
}

/**
 * Adds fields to a staging table that the table has received since. Does not create a dropped staging table again.
 *
 * @param name SQL name of the staging table
 */
export async function addStagingFields(node: OperationNode, table: Planned, name: string): Promise<void> {
  const added = declaredColumns(table).map((field) => `ADD COLUMN IF NOT EXISTS ${field}`);
  await node.clickhouse.command(`ALTER TABLE ${name} ${added.join(', ')}`);
}

const requireWholeRow = z.object({ rows: z.string() });

/**
 * Throws StoreError if staged rows are missing.
 *
 * @param name SQL name of the staging table
 */
export async function requireWhole(node: OperationNode, name: string, staged: Staged[]): Promise<void> {
  const [found] = checkRows(
    requireWholeRow,
    await node.clickhouse.rows(`SELECT count() AS rows FROM ${name} WHERE ${stagedSql(staged)}`),
  );
  const rows = staged.reduce((sum, each) => sum + (each.stored ?? each.rows), 0);
  if (Number(found?.rows) === rows) return;
  throw new StoreError('clickhouse', `has ${found?.rows} of ${rows} staged rows of the objects`, undefined);
}

/** The column of `EXISTS TABLE`: 1 or 0. */
const existsRow = z.object({ result: z.number() });

export async function isStagingThere(node: OperationNode, staging: string): Promise<boolean> {
  const [found] = checkRows(existsRow, await node.clickhouse.rows(`EXISTS TABLE ${stagingName(staging)}`));
  return found?.result === 1;
}

export async function dropStaging(node: OperationNode, staging: string): Promise<void> {
  await node.clickhouse.command(`DROP TABLE IF EXISTS ${stagingName(staging)} SYNC`);
}

/** New fields for the columns of a Parquet object. */
export function addedFields(columns: SourceColumn[], { schema }: Planned): Field[] {
  const known = new Set(schema.fields.map(({ name }) => name));
  return columns
    .filter(({ name }) => !known.has(name))
    .map((column) => ({ name: column.name, type: inferredType(column) }));
}

const stageObjectRow = z.object({ rows: z.string(), distinct: z.string(), last: z.string(), wrong: z.string() });

/**
 * Reads a Parquet object into the staging table, with values converted to the types of the table's fields. Invalid rows are
 * staged too, with the name of the invalid field.
 *
 * @throws TimestoreError `invalid-request` for an object that is missing, unreadable or has another schema; `conflict` for
 *   an object that has changed; StoreError, ClickHouseError
 */
export async function stageObject(
  node: OperationNode,
  table: Planned,
  staging: string,
  object: { number: number; key: string; etag: string; columns: SourceColumn[] },
): Promise<Staged> {
  const readings = planReadings(table, object);
  const attempt = randomInt(2 ** 47);
  const name = stagingName(staging);
  const names = readings.map(({ field }) => quoteName(field.name));
  const wrong = readings.map(({ field, reading, isRequired }) => {
    const isMissing = isRequired ? `isNull(${quoteName(field.name)}) OR ` : '';
    return `${isMissing}(${reading.isWrong}), ${quoteString(field.name)}`;
  });
  const text = readings.map(
    ({ field, column, reading }) => `${quoteString(field.name)}, ${shownText(column, reading)}`,
  );
  const values = readings.map(({ field, reading, isRequired, type }) => {
    const absent = field.required ? field.default : undefined;
    if (absent !== undefined) return `ifNull(${reading.value}, ${defaultSql(absent, type)})`;
    return isRequired ? `ifNull(${reading.value}, defaultValueOfTypeName(${quoteString(type)}))` : reading.value;
  });
  const params: Settings = { param__attempt: attempt, param__object: object.number };
  await insertObject(
    node,
    object,
    `INSERT INTO ${name} (_attempt, _object, _place, _wrong, _text, ${names.join(', ')})`,
    `{_attempt:UInt64}, {_object:UInt32}, _place, multiIf(${wrong.join(', ')}, '') AS _at,
       if(_at = '', '', substringUTF8(toValidUTF8(caseWithExpression(_at, ${text.join(', ')}, '')), 1, ${shownChars_max})), ${values.join(', ')}`,
    params,
  );
  const [found] = checkRows(
    stageObjectRow,
    await node.clickhouse.rows(
      `SELECT count() AS rows, uniqExact(_place) AS distinct, max(_place) + 1 AS last, countIf(_wrong != '') AS wrong
       FROM ${name} WHERE _attempt = {attempt:UInt64}`,
      { attempt },
    ),
  );
  const rows = Number(found?.rows);
  if (Number(found?.distinct) !== rows || (rows > 0 && Number(found?.last) !== rows)) {
    throw new Error(
      `object ${object.key}: ${rows} rows are stored, with ${found?.distinct} places, the last ${found?.last}`,
    );
  }
  return { attempt, rows, wrong: Number(found?.wrong) };
}

type FieldReading = { field: Field; column: SourceColumn; reading: Reading; isRequired: boolean; type: string };

function planReadings(table: Planned, { key, columns }: { key: string; columns: SourceColumn[] }): FieldReading[] {
  const { name, schema } = table;
  const required = requiredFields(schema);
  const missing = required.find((each) => !columns.some((column) => column.name === each));
  if (missing !== undefined) throw unreadable(key, `has no column ${missing}, which every row of table ${name} needs`);
  const types = new Map(schema.fields.map((field, i) => [field.name, fieldColumns(table)[i] ?? '']));
  return columns.map((column) => {
    const field = schema.fields.find((each) => each.name === column.name);
    if (field === undefined) throw unreadable(key, `has a column ${column.name} that table ${name} does not have`);
    const reading = readTyped(column, field.type, precisionOf(schema));
    if (reading === undefined) {
      const meaning = column.node?.meaning;
      const values = `has values of type ${meaning?.toUpperCase() ?? column.type} in ${column.name}`;
      if (isUnread(meaning) && meaning !== 'interval') {
        throw unreadable(key, `${values}, which imports do not read; send it with \`timestore ingest\``);
      }
      throw unreadable(key, `${values}, which is ${field.type} in table ${name}`);
    }
    const type = (types.get(field.name) ?? '').slice(quoteName(field.name).length + 1);
    return { field, column, reading: withValues(reading, field), isRequired: required.includes(field.name), type };
  });
}

/** A value that is not one of the field's values is wrong. */
function withValues(reading: Reading, { values }: Field): Reading {
  if (values === undefined) return reading;
  const texts = values.map((text) => quoteString(text.startsWith('"') ? (JSON.parse(text) as string) : text));
  const isOther = `ifNull(toString(${reading.value}) NOT IN (${texts.join(', ')}), 0)`;
  return { ...reading, isWrong: `(${reading.isWrong}) OR ${isOther}` };
}

/** The SQL condition for the rows of these attempts. */
export function stagedSql(staged: Staged[]): string {
  return `_attempt IN (${staged.map(({ attempt }) => attempt).join(', ') || 'NULL'})`;
}

/** The SQL condition for a time range. */
export function rangeSql({ schema }: Planned, { start, end }: TimeRange): string {
  const column = quoteName(schema.timestampColumn);
  const literal = (time: Time) => {
    const { text, type } = timeValue(time, schema);
    return `CAST(${quoteString(text)}, ${quoteString(type)})`;
  };
  return [
    ...(start === undefined ? [] : [`AND ${column} >= ${literal(start)}`]),
    ...(end === undefined ? [] : [`AND ${column} < ${literal(end)}`]),
  ].join(' ');
}

const requireRetainedRow = z.object({ rows: z.string(), from: z.string() });

/** Throws TimestoreError for rows past the retention of their table: ClickHouse would delete them. */
export async function requireRetained(node: OperationNode, table: Table, { staging, where }: Source): Promise<void> {
  if (table.retention === undefined) return;
  const [found] = checkRows(
    requireRetainedRow,
    await node.clickhouse.rows(
      `WITH now64(3, 'UTC') - toIntervalDay({days:UInt32}) AS retained
     SELECT countIf(${quoteName(table.schema.timestampColumn)} < retained) AS rows, formatDateTime(retained, '%FT%TZ', 'UTC') AS from
       FROM ${staging} WHERE ${where}`,
      { days: table.retention.totalDays },
    ),
  );
  if (found === undefined || found.rows === '0') return;
  throw new ApiError(
    'invalid-request',
    `${found.rows} rows are past the retention of table ${table.name}, which keeps ${table.retention.totalDays} days (since ` +
      `${found.from}). Import a timeRange that starts later, or change the retention first.`,
  );
}
