import { measureMemory } from '../buffer/memory.ts';
import { sweepStates } from '../catalog/apply-states.ts';
import { mirrorDue } from '../catalog/mirror-jobs.ts';
import { describeError } from '../core/log.ts';
import { enqueueWhileDue, type LaneQueue } from '../flush/enqueue-due-lanes.ts';
import { flushWhileDue } from '../flush/flush-due.ts';
import { sweepDue } from '../flush/sweep-due.ts';
import type { JobHandlers } from '../jobs/definition.ts';
import { createJob } from '../jobs/job.ts';
import { markNextDue, runDueJobs } from '../jobs/runner.ts';
import type { OperationDeps } from './deps.ts';
import { exportDue } from './export/schedule.ts';
import { reconcileDue } from './reconcile/reconcile-due.ts';
import { auditDue } from './row-audit/audit-due.ts';

/** Cron runs every minute. Each run makes passes for `passes_ms`, with a pause between two passes. */
const everyMinute = { pause_ms: 5_000, passes_ms: 50_000 };

/** Minutes of the hour for hourly tasks. They use Postgres, which many deployments suspend while it is idle. */
const sweepMinute = 0;
const exportMinute = 5;
const reconcileMinute = 15;
const auditMinute = 30;
const backupMinute = 45;

/**
 * The tasks of cron. Every minute: flush due lanes, directly or through a queue, measure the buffer's memory and run due
 * jobs. Every hour: sweep for due lanes and jobs without a mark, audit, reconcile with ClickHouse and start due exports.
 * Every day: start a backup, if configured.
 *
 * @param at_ms time of the trigger
 * @param steps of jobs, those of the layers above included
 */
export async function runMinute<Deps extends OperationDeps>(
  ctx: Deps,
  at_ms: number,
  queue: LaneQueue | undefined,
  steps: Partial<JobHandlers<Deps>>,
  { pause_ms, passes_ms } = everyMinute,
): Promise<void> {
  const minute = new Date(at_ms).getUTCMinutes();
  const until_ms = ctx.now() + passes_ms;
  if (minute === sweepMinute) {
    await attempt(ctx, 'sweep', sweepDue(ctx));
    await attempt(ctx, 'sweep-states', sweepStates(ctx));
    await attempt(ctx, 'sweep-jobs', markNextDue(ctx));
  }
  await attempt(ctx, 'mirror', mirrorDue(ctx));
  let jobs: Promise<void> | undefined;
  const onJobs = () => {
    jobs ??= attempt(ctx, 'jobs', runDueJobs(ctx, steps, until_ms));
  };
  let memory: Promise<void> | undefined;
  const onLanes = () => {
    memory ??= attempt(ctx, 'memory', measureMemory(ctx));
  };
  const passes = { pause_ms, until_ms, onJobs, onLanes };
  const flush = queue === undefined ? flushWhileDue(ctx, passes) : enqueueWhileDue(ctx, queue, passes);
  const audit = minute === auditMinute ? attempt(ctx, 'audit', auditDue(ctx, until_ms)) : undefined;
  const reconcile = minute === reconcileMinute ? attempt(ctx, 'reconcile', reconcileDue(ctx, until_ms)) : undefined;
  const exported = minute === exportMinute ? attempt(ctx, 'exports', exportDue(ctx)) : undefined;
  const backup = minute === backupMinute ? attempt(ctx, 'backup', backUpDaily(ctx, at_ms)) : undefined;
  await Promise.all([flush, audit, reconcile, exported, backup]);
  await Promise.all([jobs, memory]);
}

/** At most once a day: the id of the job is the day. */
async function backUpDaily(ctx: OperationDeps, at_ms: number): Promise<void> {
  const date = new Date(at_ms);
  if (date.getUTCHours() !== ctx.config.TIMESTORE_BACKUP_HOUR) return;
  const id = `daily-${date.toISOString().slice(0, 10)}`;
  await createJob(ctx, { id, kind: 'backup', dataset: null, table: null, request: {} });
}

/** Logs a failure, so that the other tasks go on. */
async function attempt(ctx: OperationDeps, job: string, work: Promise<unknown>): Promise<void> {
  await work.catch((error) => ctx.log({ event: 'job-failed', job, ...describeError(error) }));
}
