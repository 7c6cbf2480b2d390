import * as z from 'zod';
import { type Dropped, datasetGone, dropTable, forgetCounts } from '../../catalog/drop-table.ts';
import { findNow } from '../../catalog/find-table.ts';
import { forgetMonitoring } from '../../catalog/monitoring-copies.ts';
import { quarantineTable } from '../../catalog/quarantine-table.ts';
import { trusted_ms as readsTrusted_ms } from '../../catalog/read-routing.ts';
import { defineJob, type JobOf, type OutcomeOf } from '../../jobs/definition.ts';
import { retryJob } from '../../jobs/job.ts';
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

const dropped = { request: z.object({}), result: z.object({ dropped: z.boolean() }) };

export const dropTableJob = defineJob({ kinds: ['drop-table'], progress: z.object({}), ...dropped });

export const dropDatasetJob = defineJob({
  kinds: ['drop-dataset'],
  progress: z.object({
    /** Keys whose lists had the dataset. */
    told: z.array(z.string()).optional(),
    isForgotten: z.boolean().default(false),
  }),
  ...dropped,
});

const poll_ms = 1_000;
/** The longest time that an instance uses a cached dataset, key or saved query. */
const remembered_ms = Math.max(keysTrusted_ms, readsTrusted_ms, savedTrusted_ms);
const tablesInStep = 20;

const dropLine = (dataset: string, table: string | null, actor: string, job: string): Statement => [
  `insert into audit_log (actor, request_id, action, dataset, "table")
   values ($actor, $job, case when $table::text is null then 'dataset.drop' else 'table.drop' end, $dataset, $table)`,
  { actor, job, dataset, table },
];

/**
 * Drops a table whose grace period is over, with everything that belongs to it. The last statement frees its name, so a step
 * that was killed can be repeated. The job belongs to one life of the table, also when it is retried later.
 */
export const dropTableStep: OperationStep<typeof dropTableJob> = async (ctx, job, deadline_ms) => {
  const { dataset, table, life, actor, id, progress } = job;
  // From here on the deletion cannot be cancelled: cancelling needs `delete_at`.
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
  // The deletion was cancelled, or the table is dropped already.
  if (passed === undefined) return { done: { dropped: false } };
  if (await isWorkedOn(ctx, dataset, table)) return { progress, wait_ms: poll_ms };
  const alongside = await dropTable(ctx, passed);
  if (!(await areQuarantinedGone(ctx, passed, id))) return { progress, wait_ms: poll_ms };
  if (!(await removeObjectsOf(ctx, passed, deadline_ms))) return { progress };
  return { alongside: [dropLine(dataset, table, actor, id), ...alongside], done: { dropped: true } };
};

/** Whether a job runs a step that may have begun before the deletion and may still write objects. */
async function isWorkedOn(ctx: OperationDeps, dataset: string, table: string | null): Promise<boolean> {
  const [job] = await ctx.postgres.rows(
    `select from jobs where dataset = $dataset and ($table::text is null or "table" = $table) and state = 'running'
        and claimed_until > now() and kind not in ('drop-table', 'drop-dataset') limit 1`,
    { dataset, table },
  );
  return job !== undefined;
}

/** Deletes the quarantined rows of a dropped table. Returns whether the deletion is done. */
async function areQuarantinedGone(ctx: OperationDeps, { dataset, name }: Dropped, job: string): Promise<boolean> {
  const quarantine = await findNow(ctx, dataset, quarantineTable);
  // The deletion of a dataset drops its quarantine too.
  if (quarantine === undefined || quarantine.state === 'deleting') return true;
  const rows = { filters: { columns: [{ column: 'table', op: 'eq' as const, value: name }] } };
  const { id, state } = await scheduleRowChange(ctx, {
    dataset,
    table: quarantineTable,
    request: { rows },
    key: `drop:${job}`,
  });
  // The next table with this name must not have these rows, so the drop waits.
  if (state === 'failed') {
    ctx.log({ event: 'drop-waits', alarm: true, dataset, table: name, job: id });
    await retryJob(ctx, id);
  }
  return state === 'done';
}

const dropDatasetStepRow = z.object({ life: z.number() });

/** Drops a dataset whose grace period is over: its tables, some in each step, then its name in the lists of keys. */
export const dropDatasetStep: OperationStep<typeof dropDatasetJob> = async (ctx, job, deadline_ms) => {
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
    const statements = await dropTable(ctx, table);
    if (!(await removeObjectsOf(ctx, table, deadline_ms))) return { alongside, progress };
    alongside.push(dropLine(dataset, table.name, actor, id), ...statements);
  }
  if (tables.length > 0) return { alongside, progress };
  if (!(await removeUploadsOf(ctx, dataset, passed.life, deadline_ms))) return { progress };
  const forgotten = await forgetName(ctx, dataset, id, progress);
  if (forgotten !== undefined) return forgotten;
  await forgetMonitoring(ctx, dataset);
  // The audit line comes first: the other statements start the next life of the dataset's name.
  return { alongside: [dropLine(dataset, null, actor, id), ...datasetGone(dataset)], done: { dropped: true } };
};

/**
 * Removes a dataset from the lists of keys. If a key listed it, waits until no instance uses cached data of that name; since
 * the deletion began, no instance could cache it again. Undefined when done.
 */
async function forgetName(
  ctx: OperationDeps,
  dataset: string,
  job: string,
  { told, isForgotten }: JobOf<typeof dropDatasetJob>['progress'],
): Promise<OutcomeOf<typeof dropDatasetJob> | undefined> {
  if (told !== undefined) await publishKeys(ctx, told);
  const keys = await findKeysOfDataset(ctx, dataset);
  if (keys.length > 0) return { alongside: [forgetDataset(dataset, keys, job)], progress: { told: keys } };
  if (isForgotten) return undefined;
  await forgetCounts(ctx, dataset);
  return { progress: { isForgotten: true }, wait_ms: told === undefined ? 0 : remembered_ms };
}
