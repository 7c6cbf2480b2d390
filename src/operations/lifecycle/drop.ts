import * as z from 'zod';
import { type Dropped, datasetGone, dropTable, forgetCounts } from '../../catalog/drop-table.ts';
import { findNow } from '../../catalog/find-table.ts';
import { quarantineTable } from '../../catalog/quarantine-table.ts';
import { trusted_ms as readsTrusted_ms } from '../../catalog/read-routing.ts';
import { retryJob } from '../../jobs/job.ts';
import type { Outcome } from '../../jobs/runner.ts';
import { keyTrusted_ms as keysTrusted_ms } from '../../keys/find-key.ts';
import { findKeysOfDataset, forgetDataset, publishKeys } from '../../keys/forget-dataset.ts';
import { trusted_ms as savedTrusted_ms } from '../../query/sql/saved-queries.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { Statement } from '../../stores/postgres/client.ts';
import type { OperationDeps, OperationStep } from '../deps.ts';
import { scheduleRowChange } from '../row-changes/change-rows.ts';
import { removeObjectsOf, removeUploadsOf } from './drop-objects.ts';

const droppedRow: z.ZodType<Dropped> = z.object({
  dataset: z.string(),
  name: z.string(),
  life: z.number(),
  readLanes: z.number(),
});

const poll_ms = 1_000;
/** The longest that an instance uses what it remembers of a dataset, its keys or its saved queries. */
const remembered_ms = Math.max(keysTrusted_ms, readsTrusted_ms, savedTrusted_ms);
const tablesInStep = 20;

const lineOf = (dataset: string, table: string | null, actor: string, job: string): Statement => [
  `insert into audit_log (actor, request_id, action, dataset, "table")
   values ($actor, $job, case when $table::text is null then 'dataset.drop' else 'table.drop' end, $dataset, $table)`,
  { actor, job, dataset, table },
];

/**
 * Drops a table whose grace is over, with everything that belongs to it. The last statement frees its name: if the function
 * dies before, the next one finds the rest. The job is for one life of the table, whenever it is tried again.
 */
export const dropTableStep: OperationStep<'drop-table'> = async (ctx, job, deadline_ms) => {
  const { dataset, table, life, actor, id, progress } = job;
  // From here on nothing brings it back: the change that would needs `delete_at`.
  const [passed] = checkRows(
    droppedRow,
    await ctx.postgres.rows(
      `update tables set delete_at = null
      where dataset = $dataset and name = $table and life = $life and dropped_at is null and state = 'deleting'
        and (delete_at is null or delete_at <= now())
     returning dataset, name, life, (definition->>'readLanes')::int as "readLanes"`,
      { dataset, table, life },
    ),
  );
  // Taken back, or dropped before.
  if (passed === undefined) return { done: { dropped: false } };
  if (await isWorkedOn(ctx, dataset, table)) return { progress, wait_ms: poll_ms };
  const alongside = await dropTable(ctx, passed);
  if (!(await areQuarantinedGone(ctx, passed, id))) return { progress, wait_ms: poll_ms };
  if (!(await removeObjectsOf(ctx, passed, deadline_ms))) return { progress };
  return { alongside: [lineOf(dataset, table, actor, id), ...alongside], done: { dropped: true } };
};

/** Whether a job has begun a step that does not know of the deletion yet: it may still write objects. */
async function isWorkedOn(ctx: OperationDeps, dataset: string, table: string | null): Promise<boolean> {
  const [job] = await ctx.postgres.rows(
    `select from jobs where dataset = $dataset and ($table::text is null or "table" = $table) and state = 'running'
        and claimed_until > now() and kind not in ('drop-table', 'drop-dataset') limit 1`,
    { dataset, table },
  );
  return job !== undefined;
}

/** Has the rows of a dropped table deleted that are in the quarantine of its dataset. Answers whether that is over. */
async function areQuarantinedGone(ctx: OperationDeps, { dataset, name }: Dropped, job: string): Promise<boolean> {
  const quarantine = await findNow(ctx, dataset, quarantineTable);
  // Where the whole dataset is being deleted, its quarantine goes with it.
  if (quarantine === undefined || quarantine.state === 'deleting') return true;
  const rows = { filters: { columns: [{ column: 'table', op: 'eq' as const, value: name }] } };
  const { id, state } = await scheduleRowChange(ctx, {
    dataset,
    table: quarantineTable,
    request: { rows },
    key: `drop:${job}`,
  });
  // The next table of the name must not have them.
  if (state === 'failed') {
    ctx.log({ event: 'drop-waits', alarm: true, dataset, table: name, job: id });
    await retryJob(ctx, id);
  }
  return state === 'done';
}

const dropDatasetStepRow = z.object({ life: z.number() });

/** Drops a dataset whose grace is over: its tables, some in each step, then everything that lists it by its name. */
export const dropDatasetStep: OperationStep<'drop-dataset'> = async (ctx, job, deadline_ms) => {
  const { dataset, datasetLife, actor, id, progress } = job;
  const [passed] = checkRows(
    dropDatasetStepRow,
    await ctx.postgres.rows(
      `update datasets set delete_at = null
      where name = $dataset and life = $datasetLife and dropped_at is null and state = 'deleting'
        and (delete_at is null or delete_at <= now())
     returning life`,
      { dataset, datasetLife },
    ),
  );
  if (passed === undefined) return { done: { dropped: false } };
  if (await isWorkedOn(ctx, dataset, null)) return { progress, wait_ms: poll_ms };
  const tables = checkRows(
    droppedRow,
    await ctx.postgres.rows(
      `select dataset, name, life, (definition->>'readLanes')::int as "readLanes" from tables
      where dataset = $dataset and dropped_at is null order by name limit ${tablesInStep}`,
      { dataset },
    ),
  );
  const alongside: Statement[] = [];
  for (const table of tables) {
    const gone = await dropTable(ctx, table);
    if (!(await removeObjectsOf(ctx, table, deadline_ms))) return { alongside, progress };
    alongside.push(lineOf(dataset, table.name, actor, id), ...gone);
  }
  if (tables.length > 0) return { alongside, progress };
  if (!(await removeUploadsOf(ctx, dataset, passed.life, deadline_ms))) return { progress };
  const forgotten = await forgetName(ctx, dataset, id, progress);
  if (forgotten !== undefined) return forgotten;
  // The line first: after the others the dataset is in its next life.
  return { alongside: [lineOf(dataset, null, actor, id), ...datasetGone(dataset)], done: { dropped: true } };
};

/**
 * Takes a dataset out of the lists of keys. Where a key listed it, waits until no instance uses what it remembers under the
 * name, which nobody has been able to read anew since the dataset is being deleted. Undefined once that is over.
 */
async function forgetName(
  ctx: OperationDeps,
  dataset: string,
  job: string,
  progress: { told?: string[]; isForgotten?: boolean },
): Promise<Outcome | undefined> {
  const { told, isForgotten = false } = progress;
  if (told !== undefined) await publishKeys(ctx, told);
  const keys = await findKeysOfDataset(ctx, dataset);
  if (keys.length > 0) return { alongside: [forgetDataset(dataset, keys, job)], progress: { told: keys } };
  if (isForgotten) return undefined;
  await forgetCounts(ctx, dataset);
  return { progress: { isForgotten: true }, wait_ms: told === undefined ? 0 : remembered_ms };
}
