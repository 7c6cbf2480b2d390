import * as z from 'zod';
import { lanePositionsSchema } from '../../buffer/lane-positions.ts';
import { readTable } from '../../catalog/find-table.ts';
import { readLives } from '../../catalog/life.ts';
import { defineJob, type JobOf, type OutcomeOf } from '../../jobs/definition.ts';
import { createJob, type Job, type JobOfKind } from '../../jobs/job.ts';
import { keyedJobId } from '../../jobs/job-id.ts';
import type { Table } from '../../schema/table.ts';
import { notWritable } from '../../schema/table-state.ts';
import type { OperationDeps } from '../deps.ts';
import { objectsRequest, requireReadable } from './read-objects.ts';
import { readingSchema, wrongRow } from './reading.ts';

/** The request of an import job. */
const requestSchema = objectsRequest.extend({
  /** Omits rows that the table has; of equal rows, as many as it has. */
  missingOnly: z.boolean().optional(),
});

export type ImportRequest = z.output<typeof requestSchema>;

const progressSchema = readingSchema.extend({
  /** Lives of the dataset and the table at the request, even if they did not exist. */
  lives: z.object({ dataset: z.number(), table: z.number() }).optional(),
  /** Life of the table, once every row is checked. */
  life: z.number().optional(),
  /** The cut that is compared with the objects to find missing rows. */
  until: lanePositionsSchema.optional(),
  /** The missing rows, which are moved. */
  kept: z.object({ attempt: z.number(), rows: z.number(), wrong: z.number() }).optional(),
  chunks: z.array(z.object({ from: z.tuple([z.number(), z.number(), z.number()]), rows: z.number() })).optional(),
  seal: z.object({ id: z.string(), lane: z.number(), from: z.number(), to: z.number(), token: z.string() }).optional(),
  /** Whether the buffer has accepted the seal: from then on, a lane that is created again gets it back. */
  isTaken: z.boolean().default(false),
  receivedAt_ms: z.number().default(0),
  /** Number of chunks that are recorded as moved. */
  moved: z.number().default(0),
  latest_ms: z.number().optional(),
  /** Of an import that failed: the number of invalid rows, and the first of them. */
  wrong: z.number().optional(),
  rows: z.array(wrongRow).optional(),
});

export type Progress = z.output<typeof progressSchema>;

export const importJob = defineJob({
  kinds: ['import'],
  request: requestSchema,
  progress: progressSchema,
  result: z.object({
    objects: z.int(),
    read: z.number(),
    rows: z.number(),
    sequences: z.object({ lane: z.int(), from: z.int(), to: z.int() }).optional(),
  }),
});

export type ImportJob = JobOf<typeof importJob>;
export type ImportOutcome = OutcomeOf<typeof importJob>;

/**
 * Creates an import job for an existing table or for one that the import creates. The same key gives the same import during
 * the life of the table, and before its creation.
 *
 * @throws TimestoreError `invalid-request`, `limit-exceeded`, `key-reused`, `dataset-frozen`; StoreError
 */
export async function scheduleImport(
  ctx: OperationDeps,
  dataset: string,
  name: string,
  request: ImportRequest,
  key: string | undefined,
): Promise<JobOfKind<'import'>> {
  const table = await readTable(ctx, dataset, name);
  if (table !== undefined) requireNotDeleting(table);
  requireReadable(ctx, table, request);
  const lives = await readLives(ctx, dataset, name);
  const id = keyedJobId('import', { dataset, name, life: lives.table, datasetLife: lives.dataset }, key);
  return await createJob(ctx, {
    id,
    kind: 'import',
    dataset,
    table: name,
    request,
    progress: { lives },
  });
}

/** Imports also work for a frozen table. */
export function requireNotDeleting({ dataset, name, state }: Table): void {
  if (state === 'deleting') throw notWritable(dataset, name, state);
}

/** Progress of an import, also of one whose request an earlier version recorded in another form. */
export function importProgress(job: Job): { objects: number; read: number; rows: number; moved: number } {
  const { staged, read, chunks = [], moved } = progressSchema.parse(job.progress);
  const sumRows = (each: { rows: number }[]) => each.reduce((sum, { rows }) => sum + rows, 0);
  return {
    objects: requestSchema.pick({ objects: true }).parse(job.request).objects.length,
    read: read.length,
    rows: sumRows(staged),
    moved: sumRows(chunks.slice(0, moved)),
  };
}

/** The invalid rows of an import that failed: their number, and the first of them. */
export function importErrors(job: Job): { wrong: number; rows: z.output<typeof wrongRow>[] } {
  const { wrong = 0, rows = [] } = job.state === 'failed' ? progressSchema.parse(job.progress) : {};
  return { wrong, rows };
}
