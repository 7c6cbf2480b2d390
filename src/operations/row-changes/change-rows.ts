import * as z from 'zod';
import { holdSeals } from '../../buffer/hold.ts';
import { lanePositionsSchema, lanePositionsSql } from '../../buffer/lane-positions.ts';
import { markChange } from '../../buffer/mark-change.ts';
import { requireTable } from '../../catalog/change-table.ts';
import { readTable } from '../../catalog/find-table.ts';
import { atAllRows, shardsOf } from '../../catalog/lane-location.ts';
import { mutationsLeft } from '../../catalog/mutations.ts';
import { knownLanes } from '../../catalog/provision-lanes.ts';
import { StoreError } from '../../core/errors.ts';
import { qualifiedName } from '../../core/identifiers.ts';
import { notFound } from '../../core/not-found.ts';
import { flushSnapshot, readFlushPositions } from '../../flush/flush-snapshot.ts';
import { insertPlace } from '../../flush/insert.ts';
import { defineJob, type JobOf, type OutcomeOf } from '../../jobs/definition.ts';
import { createJob, type Job } from '../../jobs/job.ts';
import { keyedJobId } from '../../jobs/job-id.ts';
import { lastingError } from '../../query/execution/clickhouse-errors.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { ClickHouseError, type Settings } from '../../stores/clickhouse/client.ts';
import { everyReplica } from '../../stores/clickhouse/kind.ts';
import type { OperationDeps, OperationStep } from '../deps.ts';
import { recordCut } from '../row-audit/record-cut.ts';
import { assignmentsSql, changeRequest, type RowsChange, requireChangeable, rowsSql } from './changed-rows.ts';
import { excludeBatchesSql, guardSchema, guardSnapshot, laterBatches } from './later-batches.ts';

/** Rows by lane and partition. */
const foundRows = z.array(z.object({ lane: z.int(), partition: z.string(), rows: z.int() }));

const progressSchema = z.object({
  /** Physical name of the job's table. A later table may have the same logical name. */
  physical: z.string(),
  /** The cut at the job's creation. Rows acknowledged later are not changed. */
  until: lanePositionsSchema,
  guard: guardSchema.optional(),
  /** Matching rows by lane and partition, counted once all rows of the cut were in ClickHouse. */
  found: foundRows.optional(),
  isSent: z.boolean().optional(),
});

type Progress = z.output<typeof progressSchema>;

export const changeJob = defineJob({
  kinds: ['delete-rows', 'correct-rows'],
  request: changeRequest,
  progress: progressSchema,
  result: z.object({ rows: z.int(), partitions: foundRows }),
});

type Change = JobOf<typeof changeJob>;

/** How long new seals wait for a change of rows. A longer change runs at the same time as the flushes of later rows. */
const hold_ms = 60_000;
/** Time limit of the statement that starts a mutation. */
const mutation_ms = 20_000;
const poll_ms = 250;

/**
 * Creates a job that deletes or corrects the matching rows that are acknowledged by now.
 *
 * @param key the same key gives the same job during the life of the table
 * @throws TimestoreError `not-found`; `invalid-request` or `limit-exceeded` for a request that the job could not execute;
 *   `key-reused`; StoreError
 */
export async function scheduleRowChange(
  ctx: OperationDeps,
  {
    dataset,
    table: name,
    request,
    key,
  }: { dataset: string; table: string; request: RowsChange; key?: string | undefined },
): Promise<Job> {
  const table = await requireTable(ctx, dataset, name);
  requireChangeable(ctx, table, request);
  const { until } = await readFlushPositions(ctx, table);
  const progress = { physical: table.physical, until, guard: await guardSnapshot(ctx, table) } satisfies Progress;
  const kind = request.set === undefined ? 'delete-rows' : 'correct-rows';
  const id = keyedJobId('change-rows', table, key);
  return await createJob(ctx, { id, kind, dataset, table: name, request, progress });
}

/**
 * Deletes or corrects the matching rows that were acknowledged before the job's creation. First flushes the cut, then counts
 * and records the rows, then lets ClickHouse change them. Each step may be repeated: it selects the same rows, and rows that
 * are deleted or corrected already stay so.
 */
export const changeRows: OperationStep<typeof changeJob> = async (ctx, job, deadline_ms) => {
  const table = await requireOwnTable(ctx, job);
  const { request, progress } = job;
  if (progress.found === undefined) return await flushAndCount(ctx, job, table, request, progress, deadline_ms);
  // In every step, because the hot buffer may have lost the lanes and the mark.
  await knownLanes(ctx, table);
  if (progress.found.length > 0) await markChange(ctx, table, 'begin', job.id);
  if (progress.found.length > 0 && !progress.isSent) {
    await holdSeals(ctx, table, hold_ms);
    // An insert that is still running could store rows after their deletion. Later inserts omit stored batches.
    if (await areInsertsRunning(ctx, table, progress)) return { progress, wait_ms: poll_ms };
    await mutate(ctx, table, request, progress);
    return { progress: { ...progress, isSent: true } };
  }
  if (!(await isOver(ctx, table))) return { progress, wait_ms: poll_ms };
  const remaining = request.set === undefined ? sumRows(await countRows(ctx, table, request, progress)) : 0;
  if (remaining > 0) return { progress: { ...progress, isSent: false } };
  await holdSeals(ctx, table, 0);
  if (progress.found.length > 0) await markChange(ctx, table, 'end', job.id);
  return {
    alongside: [['update deletions set done_at = now() where job = $id', { id: job.id }]],
    done: { rows: sumRows(progress.found), partitions: progress.found },
  };
};

async function requireOwnTable(ctx: OperationDeps, { dataset, table: name, progress }: Change): Promise<Table> {
  const table = await readTable(ctx, dataset, name);
  if (table === undefined || progress.physical !== table.physical) throw notFound({ dataset, table: name });
  return table;
}

async function flushAndCount(
  ctx: OperationDeps,
  job: Change,
  table: Table,
  request: RowsChange,
  progress: Progress,
  deadline_ms: number,
): Promise<OutcomeOf<typeof changeJob>> {
  if (!(await flushSnapshot(ctx, table, progress.until, deadline_ms))) return { progress };
  // Manifests must be recorded before the deletion, which is subtracted from them: a manifest that is rebuilt later would
  // count only the remaining rows.
  if (!(await recordCut(ctx, table, progress.until))) return { progress };
  await holdSeals(ctx, table, hold_ms);
  const found = await countRows(ctx, table, request, progress);
  if (request.set !== undefined) return { progress: { ...progress, found } };
  // The deletion is recorded first, so that an audit does not report its rows as missing.
  return {
    alongside: [
      [
        `insert into deletions (dataset, physical_table, lane, partition, rows, job, done_at)
         select $dataset, $physical, lane, partition, rows, $id, null
           from jsonb_to_recordset($found::jsonb) as found(lane integer, partition text, rows bigint)
         on conflict do nothing`,
        { dataset: table.dataset, physical: table.physical, id: job.id, found: JSON.stringify(found) },
      ],
    ],
    progress: { ...progress, found },
  };
}

const sumRows = (found: { rows: number }[]) => found.reduce((sum, { rows }) => sum + rows, 0);

/** The SQL condition for matching rows of the cut. */
async function buildCondition(
  ctx: OperationDeps,
  table: Table,
  request: RowsChange,
  { until, guard }: Progress,
  params: Settings,
): Promise<string> {
  const later = await laterBatches(ctx, table, until, guard);
  return `${rowsSql(ctx, table, request, params)} AND ${lanePositionsSql(until)} AND ${excludeBatchesSql(later)}`;
}

async function countRows(
  ctx: OperationDeps,
  table: Table,
  request: RowsChange,
  progress: Progress,
): Promise<NonNullable<Progress['found']>> {
  const params: Settings = {};
  const condition = await buildCondition(ctx, table, request, progress, params);
  const { node, nameOf } = atAllRows(ctx, [table]);
  const sent = node.clickhouse.send({
    settings: { ...params, output_format_json_quote_64bit_integers: 0 },
    body: `SELECT _lane AS lane, _partition_id AS partition, count() AS rows FROM ${nameOf(table)}
      WHERE ${condition} GROUP BY lane, partition ORDER BY lane, partition FORMAT JSONEachRow`,
    timeout_ms: ctx.config.limits.query_timeout_ms,
  });
  const answer = await sent.catch((error) => {
    throw error instanceof ClickHouseError ? (lastingError(error) ?? error) : error;
  });
  return answer
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { lane: number; partition: string; rows: number });
}

async function mutate(ctx: OperationDeps, table: Table, request: RowsChange, progress: Progress): Promise<void> {
  const params: Settings = {};
  const condition = await buildCondition(ctx, table, request, progress, params);
  const change = request.set === undefined ? 'DELETE' : `UPDATE ${assignmentsSql(table, request, params)}`;
  for (const { node } of shardsOf(ctx, table)) {
    await node.clickhouse.send({
      settings: { ...params, mutations_sync: 0 },
      body: `ALTER TABLE ${qualifiedName(table)} ${change} WHERE ${condition}`,
      timeout_ms: mutation_ms,
    });
  }
}

const areInsertsRunningRow = z.object({ n: z.string() });

/** Whether an insert into one of the cut's lanes is running. */
async function areInsertsRunning(ctx: OperationDeps, table: Table, { until }: Progress): Promise<boolean> {
  const processes = everyReplica(await ctx.clickhouseKind(), 'system.processes');
  for (const { node, lanes } of shardsOf(ctx, table)) {
    const places = until.filter(({ lane }) => lanes.includes(lane)).map(({ lane }) => insertPlace(table, lane));
    const [running] = checkRows(
      areInsertsRunningRow,
      await node.clickhouse.rows(
        `SELECT count() AS n FROM ${processes} WHERE has({places:Array(String)}, Settings['log_comment'])`,
        { places },
      ),
    );
    if (running?.n !== '0') return true;
  }
  return false;
}

/** Whether all mutations of the table are done. Throws StoreError for a mutation that fails. */
async function isOver(ctx: OperationDeps, table: Table): Promise<boolean> {
  const { left, reasons } = await mutationsLeft(ctx, table);
  const [reason] = reasons;
  if (reason !== undefined) {
    throw new StoreError('clickhouse', 'could not change the rows yet', new Error(reason));
  }
  return left === 0;
}
