import type { Context } from 'hono';
import * as z from 'zod';
import { describeError } from '../../src/core/log.ts';
import { type Job, jobKinds, jobStates } from '../../src/jobs/job.ts';
import { runDueJobs } from '../../src/jobs/runner.ts';
import type { App } from './app.ts';
import { jobHandlers } from './job-handlers.ts';
import { timeText } from './paging.ts';

export const jobSchema = z
  .object({
    id: z.string(),
    kind: z.enum(jobKinds),
    dataset: z.string().nullable(),
    table: z.string().nullable(),
    state: z.enum(jobStates),
    request: z.record(z.string(), z.unknown()).meta({ description: 'parameters of the job' }),
    result: z.record(z.string(), z.unknown()).nullable().meta({ description: 'receipt of a finished job' }),
    error: z.string().nullable().meta({ description: 'reason why the last step failed' }),
    attempts: z.int().meta({ description: 'consecutive failures of the current step; each retry waits longer' }),
    actor: z.string(),
    createdAt: z.string(),
    finishedAt: z.string().nullable(),
  })
  .meta({ id: 'Job' });

export function jobView(job: Job): z.input<typeof jobSchema> {
  const { id, kind, dataset, table, state, request, result, error, attempts, actor, createdAt_ms, finishedAt_ms } = job;
  return {
    id,
    kind,
    dataset,
    table,
    state,
    request,
    result,
    error,
    attempts,
    actor,
    createdAt: timeText(createdAt_ms),
    finishedAt: finishedAt_ms === null ? null : timeText(finishedAt_ms),
  };
}

/** Cloudflare stops background work 30 s after the response; the cron continues the rest. */
const background_ms = 20_000;

/** Starts due jobs in the background, so that the response does not wait for them. */
export function startJobs(c: Context<App>): void {
  const ctx = c.get('ctx');
  const work = runDueJobs(ctx, jobHandlers, ctx.now() + background_ms);
  c.executionCtx.waitUntil(
    work.catch((error) => ctx.log({ event: 'job-failed', job: 'jobs', ...describeError(error) })),
  );
}
