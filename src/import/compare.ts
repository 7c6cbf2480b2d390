import * as z from 'zod';
import { readTable } from '../catalog/find-table.ts';
import type { At } from '../clickhouse/cluster.ts';
import { untilSchema } from '../clickhouse/until.ts';
import type { Context } from '../context.ts';
import { TimestoreError } from '../errors.ts';
import { cutOf, flushCut } from '../flush/flush-cut.ts';
import { createJob, type JobOf } from '../jobs/job.ts';
import { keyedJobId } from '../jobs/job-id.ts';
import type { Outcome, Step } from '../jobs/work.ts';
import { rangeOf } from '../query/request.ts';
import { differencesOf, differingRows } from './against-table.ts';
import { objectsRequest, orBeginAnew, readNext, requireReadable } from './read-objects.ts';
import { readingSchema } from './reading.ts';
import {
  addStagingFields,
  atStaging,
  dropStaging,
  rangeSql,
  requireWhole,
  stagedSql,
  stagingName,
  wrongRows,
} from './staging.ts';

/** What is asked for: objects that should hold what a table does. */
const requestSchema = objectsRequest.omit({
  ...{ fields: true, timestampColumn: true, timestampPrecision: true, keyFields: true },
});

export type CompareRequest = z.output<typeof requestSchema>;

const progressSchema = readingSchema.extend({
  life: z.number(),
  /** Rows acknowledged before the comparison. */
  until: untilSchema,
  isFlushed: z.boolean().default(false),
});

type Progress = z.output<typeof progressSchema>;

/**
 * Puts a comparison on record: of every row acknowledged by now. The same key is the same comparison while the table is there.
 *
 * @throws TimestoreError `not-found`, `invalid-request`, `limit-exceeded`, `key-reused`; StoreError
 */
export async function beginCompare(
  ctx: Context,
  dataset: string,
  name: string,
  request: CompareRequest,
  key: string | undefined,
): Promise<JobOf<'compare'>> {
  const table = await readTable(ctx, dataset, name);
  if (table === undefined || table.state === 'deleting') {
    throw new TimestoreError('not-found', `There is no table ${name} in dataset ${dataset}.`);
  }
  requireReadable(ctx, table, request);
  const progress = { life: table.life, until: (await cutOf(ctx, table)).until };
  const id = keyedJobId('compare', table, key);
  return await createJob(ctx, { id, kind: 'compare', dataset, table: name, request: { ...request }, progress });
}

/**
 * Reads objects as an import does, and compares them with what the table has, by days and columns: rows in any order, and
 * rows that are equal by how many there are. Each step may be repeated.
 */
export const compareStep: Step<'compare'> = async (ctx, job, deadline_ms) => {
  const progress = progressSchema.parse(job.progress);
  const { life, until, isFlushed } = progress;
  const at = atStaging(ctx, job.id, progress.staging);
  return await orBeginAnew(at, progress, { life, until, isFlushed }, () => nextStep(at, job, progress, deadline_ms));
};

async function nextStep(at: At, job: JobOf<'compare'>, progress: Progress, deadline_ms: number): Promise<Outcome> {
  const request = requestSchema.parse(job.request);
  const table = await readTable(at, job.dataset, job.table);
  if (table?.life !== progress.life || table.state === 'deleting') {
    throw new TimestoreError(
      'not-found',
      `Table ${job.table} of dataset ${job.dataset} was deleted before it was compared.`,
    );
  }
  if (!progress.isFlushed) {
    return { progress: { ...progress, isFlushed: await flushCut(at, table, progress.until, deadline_ms) } };
  }
  const known = new Set(table.schema.fields.map(({ name }) => name));
  const read = await readNext(at, job, request, table, progress, { deadline_ms, known });
  if (read !== undefined) return { progress: { ...progress, ...read } };

  const columns = progress.read;
  const staging = progress.staging ?? '';
  const range = rangeSql(table, rangeOf(request));
  const source = { staging: stagingName(staging), where: `${stagedSql(progress.staged)} AND _wrong = '' ${range}` };
  await requireWhole(at, source.staging, progress.staged);
  await addStagingFields(at, table, source.staging);
  const inEach = (name: string) => columns.every((names) => names.includes(name));
  const fields = table.schema.fields.filter(({ name }) => inEach(name));
  const compared = { fields, until: progress.until, range };
  const found = await differencesOf(at, table, source, compared);
  const days = found.differing.map(({ day }) => day);
  const rows = await differingRows(at, table, source, compared, days);
  const isText = request.format !== 'parquet';
  const wrong = isText ? progress.errors : await wrongRows(at, table, staging, progress.staged, request.objects);
  const onlyInSource = [...new Set(columns.flat().filter((name) => !known.has(name)))];
  await dropStaging(at, staging);
  const wrongTotal = progress.staged.reduce((sum, each) => sum + each.wrong, 0);
  return {
    done: {
      equal: found.days.different === 0 && wrongTotal === 0 && onlyInSource.length === 0,
      ...found,
      differingRows: rows,
      columns: {
        compared: fields.map(({ name }) => name),
        onlyInSource,
        onlyInTable: table.schema.fields.flatMap(({ name }) =>
          inEach(name) || isChosenAway(request, name) ? [] : [name],
        ),
      },
      wrongRows: wrongTotal,
      errors: wrong,
    },
  };
}

const isChosenAway = ({ columns }: CompareRequest, name: string) => columns !== undefined && !columns.includes(name);
