import { setTimeout as delay } from 'node:timers/promises';
import { jobsMark, noteJob, postponeMark, settleMark } from '../buffer/due.ts';
import { assert } from '../core/assert.ts';
import { backoff_ms } from '../core/backoff.ts';
import { ApiError, errorCatalogue } from '../core/errors.ts';
import { describeError } from '../core/log.ts';
import { runAs } from '../core/request-context.ts';
import type { Statement } from '../stores/postgres/client.ts';
import { toJsonb, toText } from '../stores/postgres/jsonb.ts';
import { type Claimed, claimJobs, readNextDue, releaseJobs } from './claim.ts';
import type { JobHandlers, Outcome } from './definition.ts';
import type { JobDeps } from './deps.ts';
import { jobKinds, jobRow } from './job.ts';

const retry_ms_max = 300_000;
/**
 * The runner waits for a job that is due within this time, at least `poll_ms` at once: a job that waits for another one that
 * changes rows has no due time of its own.
 */
const wait_ms_max = 5_000;
const poll_ms = 500;
/** Jobs of one claim that run at a time. Workers have six connections, and the stores share them. */
const sideBySide = 4;
/** Consecutive failures after which a job stops. A mirror never stops: its source system needs every row. */
const attemptsMax = (kind: string) => (kind === 'mirror' ? Number.POSITIVE_INFINITY : 30);

/**
 * Runs steps of due jobs, until no job is due or the deadline has passed. Deliveries run beside each other, other jobs one after
 * the other. A job of a kind without a step function waits for another runner.
 *
 * @returns the number of steps
 * @throws StoreError when the catalogue is unavailable
 */
export async function runDueJobs<Deps extends JobDeps>(
  ctx: Deps,
  steps: Partial<JobHandlers<Deps>>,
  deadline_ms: number,
): Promise<number> {
  const mark = jobsMark(ctx);
  // A job that is created from now on sets the mark again. If this instance dies, others look when its claims have expired.
  const postponed_ms = await postponeMark(ctx, mark, ctx.now() + ctx.config.limits.job_claim_ms);
  try {
    return await runWhileDue(ctx, steps, deadline_ms);
  } finally {
    await settleMark(ctx, mark, postponed_ms, (await readNextDue(ctx, jobKinds))?.due_ms);
  }
}

/**
 * Like `runDueJobs`, for deliveries only: they do not wait for a long step of another job. The mark stays, because other jobs
 * may be due.
 */
export async function runDeliveries<Deps extends JobDeps>(
  ctx: Deps,
  { notify, alert }: Pick<JobHandlers<Deps>, 'notify' | 'alert'>,
  deadline_ms: number,
): Promise<number> {
  try {
    return await runWhileDue(ctx, { notify, alert }, deadline_ms);
  } finally {
    await markNextDue(ctx);
  }
}

async function runWhileDue<Deps extends JobDeps>(
  ctx: Deps,
  steps: Partial<JobHandlers<Deps>>,
  deadline_ms: number,
): Promise<number> {
  const kinds = jobKinds.filter((kind) => steps[kind] !== undefined);
  let ran = 0;
  while (ctx.now() < deadline_ms) {
    const claimed = await claimJobs(ctx, kinds);
    if (claimed.length === 0) {
      const wait_ms = Math.max(poll_ms, (await readNextDue(ctx, kinds))?.in_ms ?? Number.POSITIVE_INFINITY);
      if (wait_ms > wait_ms_max || ctx.now() + wait_ms >= deadline_ms) break;
      await delay(wait_ms);
      continue;
    }
    ran += await runSideBySide(ctx, steps, claimed, deadline_ms);
  }
  return ran;
}

/** Runs a step of each job, some at a time. Jobs that are not begun at the deadline are released. */
async function runSideBySide<Deps extends JobDeps>(
  ctx: Deps,
  steps: Partial<JobHandlers<Deps>>,
  jobs: Claimed[],
  deadline_ms: number,
): Promise<number> {
  const waiting = [...jobs];
  const work = async () => {
    for (let isFirst = true; isFirst || ctx.now() < deadline_ms; isFirst = false) {
      const job = waiting.shift();
      if (job === undefined) return;
      await step(ctx, steps, job, deadline_ms);
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: sideBySide }, work));
  await releaseJobs(ctx, waiting);
  const failed = ended.find((each) => each.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return jobs.length - waiting.length;
}

/** Renews the claim until the work is done, however long it takes. */
async function withClaimRenewal<Result>(ctx: JobDeps, job: Claimed, work: Promise<Result>): Promise<Result> {
  const { job_claim_ms } = ctx.config.limits;
  const renew = () => {
    const renewed = ctx.postgres.rows(
      `update jobs set claimed_until = now() + $job_claim_ms * interval '1 millisecond' where id = $id and claim = $claim`,
      { id: job.id, claim: job.claim, job_claim_ms },
    );
    // When the claim expires, another instance runs the step too. Steps may run twice.
    renewed.catch((error) => ctx.log({ event: 'claim-unrenewed', job: job.id, ...describeError(error) }));
  };
  const timer = setInterval(renew, job_claim_ms / 4);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

async function step<Deps extends JobDeps>(
  ctx: Deps,
  steps: Partial<JobHandlers<Deps>>,
  job: Claimed,
  deadline_ms: number,
): Promise<void> {
  const event = { event: 'job', job: job.id, kind: job.kind, dataset: job.dataset, table: job.table };
  const from_ms = ctx.now();
  try {
    const caller = { actor: job.actor, requestId: job.id };
    const outcome = await runAs(caller, () => withClaimRenewal(ctx, job, runHandler(ctx, steps, job, deadline_ms)));
    await ctx.postgres.transaction([
      // Divides by zero when another instance has claimed the job, which rolls the transaction back.
      ['select 1 / count(*) from jobs where id = $id and claim = $claim', { id: job.id, claim: job.claim }],
      ...(outcome.alongside ?? []),
      outcomeStatement(job, outcome),
    ]);
    const failure = 'failed' in outcome && { error: outcome.failed };
    const [kind] = (['done', 'failed', 'progress'] as const).filter((each) => each in outcome);
    ctx.log({ ...event, outcome: kind, ...failure, took_ms: ctx.now() - from_ms });
  } catch (error) {
    ctx.log({ ...event, outcome: 'failed', attempts: job.attempts + 1, ...describeError(error) });
    await recordFailure(ctx, job, error);
  }
}

async function runHandler<Deps extends JobDeps>(
  ctx: Deps,
  steps: Partial<JobHandlers<Deps>>,
  claimed: Claimed,
  deadline_ms: number,
): Promise<Outcome> {
  const job = jobRow.parse(claimed);
  const handler = steps[job.kind];
  assert(handler !== undefined, `a job is claimed by a runner with a handler for ${job.kind}`);
  return await handler(ctx, job, deadline_ms);
}

/** The statement that records an outcome. */
function outcomeStatement({ id }: Claimed, outcome: Outcome): Statement {
  if ('done' in outcome) {
    return [
      `update jobs set state = 'done', result = $done::jsonb, error = null, claim = null, claimed_until = null,
              finished_at = now()
        where id = $id`,
      { id, done: toJsonb(outcome.done) },
    ];
  }
  if ('failed' in outcome) {
    return [
      `update jobs set state = 'failed', progress = $progress::jsonb, error = $failed, attempts = attempts + 1, claim = null,
              claimed_until = null, finished_at = now()
        where id = $id`,
      { id, progress: toJsonb(outcome.progress), failed: toText(outcome.failed) },
    ];
  }
  return [
    `update jobs set progress = $progress::jsonb, error = $error, attempts = 0, claim = null, claimed_until = null,
            due_at = now() + $wait_ms * interval '1 millisecond'
      where id = $id`,
    {
      id,
      progress: toJsonb(outcome.progress),
      wait_ms: Math.round(outcome.wait_ms ?? 0),
      error: toText(outcome.error ?? '') || null,
    },
  ];
}

/** After a retryable error the job waits, longer each time. After any other error, or too many retries, it has failed. */
async function recordFailure(ctx: JobDeps, job: Claimed, error: unknown): Promise<void> {
  const isKnown = error instanceof ApiError;
  const isRetryable = !isKnown || errorCatalogue[error.code].retryable;
  const isOver = !isRetryable || job.attempts + 1 >= attemptsMax(job.kind);
  const wait_ms = backoff_ms(job.attempts, 1_000, retry_ms_max);
  await ctx.postgres.rows(
    `update jobs set attempts = attempts + 1, error = $error, claim = null, claimed_until = null, state = $state,
            due_at = now() + $wait_ms * interval '1 millisecond', finished_at = case when $state = 'failed' then now() end
      where id = $id and claim = $claim`,
    {
      id: job.id,
      claim: job.claim,
      error: isKnown ? toText(error.message) : 'Internal error. Search the log for the job’s id.',
      state: isOver ? 'failed' : 'running',
      wait_ms,
    },
  );
}

/** Sets the mark in Redis for the time when the next job is due. */
export async function markNextDue(ctx: JobDeps): Promise<void> {
  const next = await readNextDue(ctx, jobKinds);
  if (next !== undefined) await noteJob(ctx, next.due_ms);
}
