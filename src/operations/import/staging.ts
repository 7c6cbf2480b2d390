import { createHash, randomInt, randomUUID } from 'node:crypto';
import * as z from 'zod';
import { declaredColumns, fieldColumns } from '../../catalog/table-ddl.ts';
import { ApiError, StoreError } from '../../core/errors.ts';
import { quoteName, quoteString } from '../../core/identifiers.ts';
import { type TimeRange, timeValue } from '../../query/request/time-range.ts';
import type { Table } from '../../schema/table.ts';
import type { Time } from '../../schema/timestamp.ts';
import { type Field, precisionOf } from '../../schema/types.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import { engineSql } from '../../stores/clickhouse/engine.ts';
import { atShard, placeOf } from '../../stores/clickhouse/servers.ts';
import type { OperationDeps, OperationNode } from '../deps.ts';
import type { Source } from './chunks.ts';
import { inferredType, type Reading, readTyped, type SourceColumn } from './columns.ts';
import { isUnread } from './parquet-footer.ts';
import { insertObject, unreadable } from './read-object.ts';
import { shownChars_max, shownText } from './shown-value.ts';

export const stagingPrefix = 'import ';

/** A name for where the rows of an import are before any of them is in its table; one that nobody has dropped before. */
export function newStaging({ shard }: OperationNode, job: string): string {
  return `${stagingPrefix}${job} ${randomUUID().slice(0, 8)}${shard === 1 ? '' : `@${shard}`}`;
}

/** At the shard that has a staging table, or is to have that of a job: what is moved from it goes into lanes of the same. */
export function atStaging(ctx: OperationDeps, job: string, staging: string | undefined): OperationNode {
  if (staging !== undefined) return atShard(ctx, Number(staging.split('@')[1] ?? 1));
  const shards = ctx.cluster?.shards.length ?? 1;
  return atShard(ctx, 1 + (createHash('sha256').update(job).digest().readUInt32BE(0) % shards));
}

/** The job that a staging table is of. */
export function stagedJob(staging: string): string {
  return staging.slice(stagingPrefix.length).split(' ')[0] ?? '';
}

/** A staging table as it stands in SQL. */
export function stagingName(staging: string): string {
  return `timestore.${quoteName(staging)}`;
}

/** The table as it is to be: nothing of it is made before every row has proved good. */
export type Planned = Pick<Table, 'name' | 'schema'>;

/**
 * An object whose rows are all there, under a number that no other try to read it has: what a try that was given up still
 * brings is under its own.
 */
export type Staged = {
  attempt: number;
  rows: number;
  wrong: number;
  /** Of text, refused rows are not stored. */
  stored?: number | undefined;
};

/** Makes the staging table, with the fields that are known by now. Safe to repeat. */
export async function ensureStaging(node: OperationNode, table: Planned, staging: string): Promise<void> {
  const name = stagingName(staging);
  const fields = declaredColumns(table);
  const time = quoteName(table.schema.timestampColumn);
  await node.clickhouse.command(
    `CREATE TABLE IF NOT EXISTS ${name} (_attempt UInt64, _object UInt32, _place UInt64, _wrong LowCardinality(String),
       _text Nullable(String), ${fields.join(', ')}) ENGINE = ${engineSql(placeOf(node), `timestore.${staging}`, 'MergeTree')} ORDER BY (${time}, _object, _place)
       SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`,
  );
  await addStagingFields(node, table, name);
}

/**
 * Gives a staging table the fields that others have added to the table since. One that is gone is not made again.
 *
 * @param name the staging table as it stands in SQL
 */
export async function addStagingFields(node: OperationNode, table: Planned, name: string): Promise<void> {
  const added = declaredColumns(table).map((field) => `ADD COLUMN IF NOT EXISTS ${field}`);
  await node.clickhouse.command(`ALTER TABLE ${name} ${added.join(', ')}`);
}

const requireWholeRow = z.object({ rows: z.string() });

/**
 * Throws StoreError where rows that were read are not there any more.
 *
 * @param name the staging table as it stands in SQL
 */
export async function requireWhole(node: OperationNode, name: string, staged: Staged[]): Promise<void> {
  const [found] = checkRows(
    requireWholeRow,
    await node.clickhouse.rows(`SELECT count() AS rows FROM ${name} WHERE ${stagedSql(staged)}`),
  );
  const rows = staged.reduce((sum, each) => sum + (each.stored ?? each.rows), 0);
  if (Number(found?.rows) === rows) return;
  throw new StoreError('clickhouse', `has ${found?.rows} of ${rows} rows that were read of the objects`, undefined);
}

const isStagingThereRow = z.object({ there: z.number() });

export async function isStagingThere(node: OperationNode, staging: string): Promise<boolean> {
  const [found] = checkRows(isStagingThereRow, await node.clickhouse.rows(`EXISTS TABLE ${stagingName(staging)}`));
  return Object.values(found ?? {})[0] === 1;
}

export async function dropStaging(node: OperationNode, staging: string): Promise<void> {
  await node.clickhouse.command(`DROP TABLE IF EXISTS ${stagingName(staging)} SYNC`);
}

/** The fields that a table lacks for the columns of a Parquet object. */
export function addedFields(columns: SourceColumn[], { schema }: Planned): Field[] {
  const known = new Set(schema.fields.map(({ name }) => name));
  return columns
    .filter(({ name }) => !known.has(name))
    .map((column) => ({ name: column.name, type: inferredType(column) }));
}

const stageObjectRow = z.object({ rows: z.string(), distinct: z.string(), last: z.string(), wrong: z.string() });

/**
 * Reads a Parquet object into the staging table, each value as the table's field has it. Rows that cannot be are there too, with
 * the field at fault.
 *
 * @throws TimestoreError `invalid-request` for an object that is not there, cannot be read, or is of another schema;
 *   `conflict` where it is another by now; StoreError, ClickHouseError
 */
export async function stageObject(
  node: OperationNode,
  table: Planned,
  staging: string,
  object: { number: number; key: string; etag: string; columns: SourceColumn[] },
): Promise<Staged> {
  const readings = readingsOf(table, object);
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
  const values = readings.map(({ reading, isRequired, type }) => {
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
      `of object ${object.key} there are ${rows} rows, ${found?.distinct} places, the last ${found?.last}`,
    );
  }
  return { attempt, rows, wrong: Number(found?.wrong) };
}

type FieldReading = { field: Field; column: SourceColumn; reading: Reading; isRequired: boolean; type: string };

function readingsOf(table: Planned, { key, columns }: { key: string; columns: SourceColumn[] }): FieldReading[] {
  const { name, schema } = table;
  const required = [schema.timestampColumn, ...schema.keyFields];
  const missing = required.find((each) => !columns.some((column) => column.name === each));
  if (missing !== undefined) throw unreadable(key, `has no column ${missing}, which every row of table ${name} needs`);
  const types = new Map(schema.fields.map((field, i) => [field.name, fieldColumns(table)[i] ?? '']));
  return columns.map((column) => {
    const field = schema.fields.find((each) => each.name === column.name);
    if (field === undefined) throw unreadable(key, `has a column ${column.name} that table ${name} lacks`);
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
    return { field, column, reading, isRequired: required.includes(field.name), type };
  });
}

/** The rows of these and of no other try. */
export function stagedSql(staged: Staged[]): string {
  return `_attempt IN (${staged.map(({ attempt }) => attempt).join(', ') || 'NULL'})`;
}

/** Rows between two times, in SQL. */
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

/** Throws where rows are past the retention of their table: ClickHouse would not keep them. */
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
