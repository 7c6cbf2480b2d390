import * as z from 'zod';
import { ApiError, errorCatalogue } from '../../core/errors.ts';
import { invalidValues } from '../../core/request-text.ts';
import type { Outcome } from '../../jobs/definition.ts';
import { queryBody, readTimeRange } from '../../query/request/parse.ts';
import { mergeSchema } from '../../schema/declared.ts';
import { type Rename, renameForm, renameOf } from '../../schema/rename.ts';
import type { Table } from '../../schema/table.ts';
import { type Field, fieldType, timestampPrecision } from '../../schema/types.ts';
import { ClickHouseError, clickhouseCodes } from '../../stores/clickhouse/client.ts';
import type { OperationDeps, OperationNode } from '../deps.ts';
import { exportFormat } from '../export/day.ts';
import { withNulls } from './null-places.ts';
import { readColumns, unreadable } from './read-object.ts';
import { beginText, continueText, type TextSource } from './read-text.ts';
import type { Reading } from './reading.ts';
import {
  addedFields,
  dropStaging,
  ensureStaging,
  isStagingThere,
  newStaging,
  type Planned,
  stageObject,
  stagingName,
} from './staging.ts';

/** Objects to read, and options for reading them. */
export const objectsRequest = z.object({
  format: exportFormat,
  objects: z.array(z.string()),
  timeRange: queryBody.shape.timeRange,
  columns: z.array(z.string()).optional(),
  rename: renameForm.optional(),
  fields: z.array(z.object({ name: z.string(), type: fieldType })).optional(),
  timestampColumn: z.string().optional(),
  timestampPrecision: timestampPrecision.optional(),
  keyFields: z.array(z.string()).optional(),
});

export type ObjectsRequest = z.output<typeof objectsRequest>;

const objects_max = 1_000;

const part = String.raw`\.*[A-Za-z0-9_=@:,+-][A-Za-z0-9_.=@:,+-]*`;

/**
 * The name of an object to read. It must have no characters that ClickHouse expands to several objects. No part of it may be
 * empty or consist of dots: a proxy could normalize the path to another object.
 */
export const objectKey = z
  .string()
  .min(1)
  .max(1_024)
  .regex(
    // ClickHouse reads two colons as the separator between an archive and a file in it.
    new RegExp(`^(?!.*::)${part}(?:/${part})*$`),
    'only letters, digits and _ . = @ : , + / - are allowed, without two colons in a row, and every part between slashes needs a character other than a dot',
  );

/** Throws TimestoreError `invalid-request`, `limit-exceeded`, `schema-refused` for a request that cannot be executed. */
export function requireReadable(ctx: OperationDeps, table: Table | undefined, request: ObjectsRequest): void {
  readTimeRange(request);
  const { objects } = request;
  if (objects.length > objects_max) {
    throw new ApiError('limit-exceeded', `Too many objects: ${objects.length}. The maximum is ${objects_max}.`);
  }
  const { error } = z.array(objectKey).safeParse(objects);
  if (error !== undefined) {
    throw invalidValues(error.issues.map(({ path, message }) => ({ path: ['objects', ...path].join('.'), message })));
  }
  mergeSchema(table?.schema, buildDeclared(request), ctx.config.limits);
}

/** The schema that a request declares, with the fields that its objects add. */
export function buildDeclared(request: ObjectsRequest, more: Field[] = []) {
  const { fields = [], timestampColumn, timestampPrecision, keyFields } = request;
  return { fields: [...fields, ...more], timestampColumn, timestampPrecision, keyFields, defaults: [] };
}

/** The table with the schema that is planned so far. */
export function plannedTable(
  ctx: OperationDeps,
  { table: name }: { table: string },
  request: ObjectsRequest,
  table: Table | undefined,
  fields: Field[],
): Planned {
  const { schema } = mergeSchema(table?.schema, buildDeclared(request, fields), ctx.config.limits);
  return { name, schema };
}

/** Limits for reading objects. */
export type ReadUntil = {
  deadline_ms: number;
  /** The only columns to read, if others must not become fields. */
  known?: ReadonlySet<string>;
};

/**
 * Reads the next object into the staging table, or a part of it.
 *
 * @returns the progress afterwards; undefined when all objects are read
 * @throws TimestoreError `invalid-request`, `conflict`, `limit-exceeded`, `schema-refused`; StoreError, ClickHouseError
 */
export async function readNext(
  node: OperationNode,
  job: { id: string; table: string },
  request: ObjectsRequest,
  table: Table | undefined,
  reading: Reading,
  until: ReadUntil,
): Promise<Reading | undefined> {
  const { objects, format, columns: chosen } = request;
  // Recorded before it is created: the reconciliation drops staging tables that are not recorded.
  if (reading.staging === undefined) return { ...reading, staging: newStaging(node, job.id) };
  const number = reading.read.length;
  const key = objects[number];
  if (key === undefined) return undefined;
  const rename = renameOf(request.rename);
  const planned = (fields: Field[]) => plannedTable(node, job, request, table, fields);
  const text: TextSource | undefined =
    format === 'parquet'
      ? undefined
      : { number, key, format, columns: chosen, planned, known: undefined, rename, ...until };
  if (text !== undefined && reading.text !== undefined) return await continueText(node, reading, reading.text, text);
  const found = await node.objects.find(key);
  if (found === undefined) throw unreadable(key, 'is not in the bucket');
  if (text !== undefined) return await beginText(node, reading, text, found.etag);
  return await readParquet(node, reading, { number, key, ...found, chosen, planned, rename, known: until.known });
}

async function readParquet(
  node: OperationNode,
  reading: Reading,
  object: {
    number: number;
    key: string;
    etag: string;
    bytes: number;
    chosen: string[] | undefined;
    known: ReadonlySet<string> | undefined;
    rename: Rename | undefined;
    planned(fields: Field[]): Planned;
  },
): Promise<Reading> {
  const { number, key, etag, chosen, known, planned } = object;
  const all = await readColumns(node, object);
  const absent = chosen?.find((name) => !all.some((column) => column.name === name));
  if (absent !== undefined) throw unreadable(key, `has no column ${absent}`);
  const found = all.filter(({ name }) => chosen === undefined || chosen.includes(name));
  const columns = known === undefined ? found : found.filter(({ name }) => known.has(name));
  const added = addedFields(columns, planned(reading.fields));
  const fields = [...reading.fields, ...added.map((field) => ({ ...field, hasFraction: false, isEmpty: false }))];
  const table = planned(fields);
  const { staging = '' } = reading;
  await ensureStaging(node, table, staging);
  const isJson = new Set(table.schema.fields.filter(({ type }) => type === 'json').map(({ name }) => name));
  const sure = await withNulls(node, object, stagingName(staging), columns, (name) => isJson.has(name));
  const staged = await stageObject(node, table, staging, { number, key, etag, columns: sure });
  const read = [...reading.read, found.map(({ name }) => name)];
  return { ...reading, fields, read, staged: [...reading.staged, staged] };
}

/**
 * Runs a step. After a permanent error it drops the staging table, and a retry reads all objects again: the recorded progress
 * would describe rows that do not exist any more. Also restarts when an earlier step has dropped the staging table and was
 * killed before recording it.
 *
 * @param initial the progress for a restart
 */
export async function orRestart<Stored, Result>(
  node: OperationNode,
  { staging }: Pick<Reading, 'staging'>,
  initial: Stored,
  step: () => Promise<Outcome<Stored, Result>>,
): Promise<Outcome<Stored, Result>> {
  try {
    return await step();
  } catch (error) {
    const mayBeGone = error instanceof ClickHouseError && error.code === clickhouseCodes.unknownTable;
    if (mayBeGone && staging !== undefined && !(await isStagingThere(node, staging))) return { progress: initial };
    if (!(error instanceof ApiError) || errorCatalogue[error.code].retryable) throw error;
    if (staging !== undefined) await dropStaging(node, staging);
    return { failed: error.message, progress: initial };
  }
}
