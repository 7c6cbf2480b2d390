import * as z from 'zod';
import { lanePositionsSchema } from '../../buffer/lane-positions.ts';
import { readTable } from '../../catalog/find-table.ts';
import { ApiError } from '../../core/errors.ts';
import { notFound } from '../../core/not-found.ts';
import { flushSnapshot, readFlushPositions } from '../../flush/flush-snapshot.ts';
import { defineJob, type JobOf, type OutcomeOf } from '../../jobs/definition.ts';
import { createJob, type Job } from '../../jobs/job.ts';
import { keyedJobId } from '../../jobs/job-id.ts';
import { readTimeRange } from '../../query/request/parse.ts';
import { renameOf } from '../../schema/rename.ts';
import type { Table } from '../../schema/table.ts';
import type { Field } from '../../schema/types.ts';
import type { OperationDeps, OperationNode, OperationStep } from '../deps.ts';
import { compareDays, differingRows } from './column-mapping.ts';
import { objectsRequest, orRestart, readNext, requireReadable } from './read-objects.ts';
import { readingSchema, wrongRow } from './reading.ts';
import {
  atStaging,
  dropStaging,
  ensureStaging,
  newStaging,
  rangeSql,
  requireWhole,
  type Staged,
  stagedSql,
  stagingName,
} from './staging.ts';
import { continueVerification, secondSchema } from './verification/read.ts';

/** The request of a verification: objects that should have the same rows as a table. */
const requestSchema = objectsRequest.omit({
  fields: true,
  timestampColumn: true,
  timestampPrecision: true,
  keyFields: true,
});

export type CompareRequest = z.output<typeof requestSchema>;

const progressSchema = readingSchema.extend({
  life: z.number(),
  /** The cut that is compared. */
  until: lanePositionsSchema,
  isFlushed: z.boolean().default(false),
  /** Reading with independent readers that imports do not use. The report uses this reading. */
  second: secondSchema.prefault({}),
  /** Whether ClickHouse cannot read all values of Parquet objects exactly. */
  isUnclear: z.boolean().default(false),
});

type Progress = z.output<typeof progressSchema>;

export const compareJob = defineJob({
  kinds: ['compare'],
  request: requestSchema,
  progress: progressSchema,
  /** The report, with the differences by day and column. */
  result: z.looseObject({ equal: z.boolean(), wrongRows: z.number(), errors: z.array(wrongRow) }),
});

/**
 * Creates a verification job for all rows acknowledged by now. The same key gives the same job during the life of the table.
 *
 * @throws TimestoreError `not-found`, `invalid-request`, `limit-exceeded`, `key-reused`; StoreError
 */
export async function scheduleImportVerification(
  ctx: OperationDeps,
  dataset: string,
  name: string,
  request: CompareRequest,
  key: string | undefined,
): Promise<Job> {
  const table = await readTable(ctx, dataset, name);
  if (table === undefined || table.state === 'deleting') {
    throw notFound({ dataset, table: name });
  }
  requireReadable(ctx, table, request);
  const progress = { life: table.life, until: (await readFlushPositions(ctx, table)).until };
  const id = keyedJobId('compare', table, key);
  return await createJob(ctx, { id, kind: 'compare', dataset, table: name, request, progress });
}

/**
 * Reads objects with other readers than the import, and compares them with the table by days and columns: without regard to
 * the order of rows, and with the number of equal rows. Each step may be repeated.
 */
export const verifyImportStep: OperationStep<typeof compareJob> = async (ctx, job, deadline_ms) => {
  const { progress } = job;
  const { life, until, isFlushed } = progress;
  const node = atStaging(ctx, job.id, progress.staging);
  return await orRestart(node, progress, { life, until, isFlushed }, () => nextStep(node, job, progress, deadline_ms));
};

async function nextStep(
  node: OperationNode,
  job: JobOf<typeof compareJob>,
  progress: Progress,
  deadline_ms: number,
): Promise<OutcomeOf<typeof compareJob>> {
  const { request } = job;
  const table = await readTable(node, job.dataset, job.table);
  if (table?.life !== progress.life || table.state === 'deleting') {
    throw new ApiError('not-found', `Table ${job.table} of dataset ${job.dataset} was deleted before it was compared.`);
  }
  if (!progress.isFlushed) {
    return { progress: { ...progress, isFlushed: await flushSnapshot(node, table, progress.until, deadline_ms) } };
  }
  const staging = progress.staging ?? newStaging(node, job.id);
  // Recorded before it is created: the reconciliation drops staging tables that are not recorded.
  if (progress.staging === undefined) return { progress: { ...progress, staging } };
  const { second } = progress;
  const number = second.read.length;
  const key = request.objects[number];
  if (key !== undefined) {
    // Not after all objects are read: a new table would hide that the staged rows were dropped.
    await ensureStaging(node, table, staging);
    const { format, columns } = request;
    const rename = renameOf(request.rename);
    const source = { number, key, format, columns, rename, table, staging, deadline_ms };
    return { progress: { ...progress, second: await continueVerification(node, second, source) } };
  }
  if (request.format === 'parquet' && !progress.isUnclear) {
    const first = await readWithClickHouse(node, job, request, table, progress, deadline_ms);
    if (first !== undefined) return { progress: { ...progress, ...first } };
  }
  const done = await buildReport(node, table, request, progress, staging);
  await dropStaging(node, staging);
  return { done };
}

/**
 * Reads the next Parquet object with ClickHouse, as an import does. If ClickHouse cannot read its values exactly, the
 * verification relies on hyparquet alone.
 */
async function readWithClickHouse(
  node: OperationNode,
  job: JobOf<typeof compareJob>,
  request: CompareRequest,
  table: Table,
  progress: Progress,
  deadline_ms: number,
): Promise<Partial<Progress> | undefined> {
  const known = new Set(table.schema.fields.map(({ name }) => name));
  try {
    const read = await readNext(node, job, request, table, progress, { deadline_ms, known });
    return read?.staged.some(({ wrong }) => wrong > 0) ? { isUnclear: true } : read;
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'invalid-request') throw error;
    return { isUnclear: true };
  }
}

async function buildReport(
  node: OperationNode,
  table: Table,
  request: CompareRequest,
  progress: Progress,
  staging: string,
) {
  const { second, until } = progress;
  const known = new Set(table.schema.fields.map(({ name }) => name));
  const range = rangeSql(table, readTimeRange(request));
  const inEach = (name: string) => second.read.every((names) => names.includes(name));
  const fields = table.schema.fields.filter(({ name }) => inEach(name));
  const name = stagingName(staging);
  const compareFields = async (staged: Staged[], chosen: Field[]) => {
    await requireWhole(node, name, staged);
    const source = { staging: name, where: `${stagedSql(staged)} AND _wrong = '' ${range}` };
    const compared = { fields: chosen, until, range };
    return { source, compared, found: await compareDays(node, table, source, compared) };
  };
  let differing = await compareFields(second.staged, fields);
  const isReadTwice = request.format === 'parquet' && !progress.isUnclear;
  if (isReadTwice && differing.found.days.different === 0) {
    // The other reader may find other differences. In ClickHouse nested lists and structures are never null.
    const plain = fields.filter(({ type }) => type !== 'json');
    const other = await compareFields(progress.staged, plain);
    if (other.found.days.different > 0) differing = other;
  }
  const { found, source, compared } = differing;
  const days = found.differing.map(({ day }) => day);
  const wrongRows = second.staged.reduce((sum, { wrong }) => sum + wrong, 0);
  const onlyInSource = [...new Set(second.read.flat().filter((column) => !known.has(column)))];
  return {
    equal: found.days.different === 0 && wrongRows === 0 && onlyInSource.length === 0,
    ...found,
    differingRows: await differingRows(node, table, source, compared, days),
    columns: {
      compared: fields.map((field) => field.name),
      onlyInSource,
      onlyInTable: table.schema.fields.flatMap((field) =>
        inEach(field.name) || isExcluded(request, field.name) ? [] : [field.name],
      ),
    },
    wrongRows,
    errors: second.errors,
  };
}

const isExcluded = ({ columns }: CompareRequest, name: string) => columns !== undefined && !columns.includes(name);
