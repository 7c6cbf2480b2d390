import * as z from 'zod';
import { lanePositionsSchema } from '../../buffer/lane-positions.ts';
import { readTable } from '../../catalog/find-table.ts';
import { readLives } from '../../catalog/life.ts';
import { createJob, type Job, type JobOf } from '../../jobs/job.ts';
import { keyedJobId } from '../../jobs/job-id.ts';
import type { Table } from '../../schema/table.ts';
import { notWritable } from '../../schema/table-state.ts';
import type { OperationDeps } from '../deps.ts';
import { objectsRequest, requireReadable } from './read-objects.ts';
import { readingSchema } from './reading.ts';

/** What is asked for. */
export const requestSchema = objectsRequest.extend({
  /** Leaves out rows that the table has: of rows that are equal, as many as it has. */
  missingOnly: z.boolean().optional(),
});

export type ImportRequest = z.output<typeof requestSchema>;

export const progressSchema = readingSchema.extend({
  /** Of the dataset and the table that it was asked for, there or not. */
  lives: z.object({ dataset: z.number(), table: z.number() }).optional(),
  /** Of the table that it goes into, once every row has proved good. */
  life: z.number().optional(),
  /** Rows acknowledged before, against which those that are missing are told. */
  until: lanePositionsSchema.optional(),
  /** Those of them that are moved. */
  kept: z.object({ attempt: z.number(), rows: z.number(), wrong: z.number() }).optional(),
  chunks: z.array(z.object({ from: z.tuple([z.number(), z.number(), z.number()]), rows: z.number() })).optional(),
  seal: z.object({ id: z.string(), lane: z.number(), from: z.number(), to: z.number(), token: z.string() }).optional(),
  /** Whether the buffer has had the seal: from then on it is what a lane gets back. */
  isTaken: z.boolean().default(false),
  receivedAt_ms: z.number().default(0),
  /** Chunks that are in the table, and that this is on record. */
  moved: z.number().default(0),
  latest_ms: z.number().optional(),
});

export type Progress = z.output<typeof progressSchema>;

/**
 * Puts an import on record: into the table that there is, or that it makes. The same key is the same import while that is
 * there, and until then.
 *
 * @throws TimestoreError `invalid-request`, `limit-exceeded`, `key-reused`, `dataset-frozen`; StoreError
 */
export async function scheduleImport(
  ctx: OperationDeps,
  dataset: string,
  name: string,
  request: ImportRequest,
  key: string | undefined,
): Promise<JobOf<'import'>> {
  const table = await readTable(ctx, dataset, name);
  if (table !== undefined) requireThere(table);
  requireReadable(ctx, table, request);
  const lives = await readLives(ctx, dataset, name);
  const id = keyedJobId('import', { dataset, name, life: lives.table, datasetLife: lives.dataset }, key);
  return await createJob(ctx, {
    id,
    kind: 'import',
    dataset,
    table: name,
    request: { ...request },
    progress: { lives },
  });
}

/** One that takes no rows from writers can be filled all the same. */
export function requireThere({ dataset, name, state }: Table): void {
  if (state === 'deleting') throw notWritable(dataset, name, state);
}

/** How far an import is. */
export function importProgress(job: Job): { objects: number; read: number; rows: number; moved: number } {
  const { staged, read, chunks = [], moved } = progressSchema.parse(job.progress);
  const rowsOf = (each: { rows: number }[]) => each.reduce((sum, { rows }) => sum + rows, 0);
  return {
    objects: requestSchema.pick({ objects: true }).parse(job.request).objects.length,
    read: read.length,
    rows: rowsOf(staged),
    moved: rowsOf(chunks.slice(0, moved)),
  };
}
