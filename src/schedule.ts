import { auditDue } from './audit/audit-due.ts';
import type { Context } from './context.ts';
import { flushWhileDue } from './flush/flush-due.ts';
import { handOnWhileDue, type LaneQueue } from './flush/hand-on.ts';
import { sweepDue } from './flush/sweep-due.ts';
import { jobSteps } from './jobs/steps.ts';
import { noteNext, workOnJobs } from './jobs/work.ts';
import { describeError } from './log.ts';

/** Passes within the minute that the trigger comes every one of. */
const pause_ms = 5_000;
const passes_ms = 50_000;

/** Of each hour. They ask Postgres, which many let sleep while it is not used. */
const sweepMinute = 0;
const auditMinute = 30;

/**
 * What runs every minute: the flush of what is due, by itself or through a queue, and jobs; once an hour the sweep of lanes
 * and jobs that nobody marked due, and the audit.
 *
 * @param at_ms of the trigger
 */
export async function runMinute(ctx: Context, at_ms: number, queue: LaneQueue | undefined): Promise<void> {
  const minute = new Date(at_ms).getUTCMinutes();
  const until_ms = ctx.now() + passes_ms;
  if (minute === sweepMinute) {
    await attempt(ctx, 'sweep', sweepDue(ctx));
    await attempt(ctx, 'sweep-jobs', noteNext(ctx));
  }
  let jobs: Promise<void> | undefined;
  const onJobs = () => {
    jobs ??= attempt(ctx, 'jobs', workOnJobs(ctx, jobSteps, until_ms));
  };
  const passes = { pause_ms, until_ms, onJobs };
  const flush = queue === undefined ? flushWhileDue(ctx, passes) : handOnWhileDue(ctx, queue, passes);
  const audit = minute === auditMinute ? attempt(ctx, 'audit', auditDue(ctx, until_ms)) : undefined;
  await Promise.all([flush, audit]);
  await jobs;
}

/** The flush goes on without what this needs. */
async function attempt(ctx: Context, job: string, work: Promise<unknown>): Promise<void> {
  await work.catch((error) => ctx.log({ event: 'job-failed', job, ...describeError(error) }));
}
