import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { jobsMember, noteJob } from '../buffer/due.ts';
import { backoff_ms } from '../core/backoff.ts';
import { ApiError, errorCatalogue } from '../core/errors.ts';
import { describeError } from '../core/log.ts';
import { runAs } from '../core/request-context.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { Statement } from '../stores/postgres/client.ts';
import { toJsonb, toText } from '../stores/postgres/jsonb.ts';
import { ask } from '../stores/redis/client.ts';
import type { JobHandlers, Outcome } from './definition.ts';
import type { JobDeps } from './deps.ts';
import { jobColumns, jobRow } from './job.ts';

/** A claimed job as far as its outcome needs it. The step checks the rest, so that a malformed job fails alone. */
const claimedRow = z.looseObject({
  id: z.string(),
  kind: z.string(),
  dataset: z.string().nullable(),
  table: z.string().nullable(),
  actor: z.string(),
  attempts: z.number(),
  claim: z.string(),
});

type Claimed = z.output<typeof claimedRow>;

const retry_ms_max = 300_000;
/** The runner waits for a job that is due within this time, at least `poll_ms` at once. */
const wait_ms_max = 5_000;
const poll_ms = 500;
/** Consecutive failures after which a job stops. A mirror never stops: its source system needs every row. */
const attemptsMax = (kind: string) => (kind === 'mirror' ? Number.POSITIVE_INFINITY : 30);

/**
 * Runs steps of due jobs, one after the other, until no job is due or the deadline has passed.
 *
 * @returns the number of steps
 * @throws StoreError when the catalogue is unavailable
 */
export async function runDueJobs<Deps extends JobDeps>(
  ctx: Deps,
  steps: JobHandlers<Deps>,
  deadline_ms: number,
): Promise<number> {
  // The mark is removed first: a job that is created from now on sets it again.
  await ask(() => ctx.redis.zrem(ctx.keys.due, jobsMember));
  let ran = 0;
  try {
    while (ctx.now() < deadline_ms) {
      const claimed = await claim(ctx);
      if (claimed === undefined) {
        const wait_ms = await readNextDelay_ms(ctx);
        if (wait_ms > wait_ms_max || ctx.now() + wait_ms >= deadline_ms) break;
        await delay(wait_ms);
        continue;
      }
      ran += 1;
      await step(ctx, steps, claimed, deadline_ms);
    }
  } finally {
    await markNextDue(ctx);
  }
  return ran;
}

/**
 * Claims the job that has waited longest. Jobs that change rows of one table run one after the other: each counts the rows
 * that its predecessor has left.
 */
async function claim(ctx: JobDeps): Promise<Claimed | undefined> {
  const [job] = checkRows(
    claimedRow,
    await ctx.postgres.rows(
      `update jobs set state = 'running', claim = $claim, claimed_until = now() + $job_claim_ms * interval '1 millisecond'
      where id = (
        select id from jobs j
         where buffer = $buffer and state in ('queued', 'running') and due_at <= now() and (claimed_until is null or claimed_until < now())
           and not (kind in ('delete-rows', 'correct-rows') and exists (
                 select from jobs o
                  where o.dataset = j.dataset and o."table" = j."table" and o.n < j.n
                    and o.kind in ('delete-rows', 'correct-rows') and o.state in ('queued', 'running')))
         order by due_at, n limit 1 for update skip locked)
     returning ${jobColumns}, claim`,
      {
        job_claim_ms: ctx.config.limits.job_claim_ms,
        buffer: ctx.config.TIMESTORE_KEY_PREFIX,
        claim: crypto.randomUUID(),
      },
    ),
  );
  return job;
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
  steps: JobHandlers<Deps>,
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
  steps: JobHandlers<Deps>,
  claimed: Claimed,
  deadline_ms: number,
): Promise<Outcome> {
  const job = jobRow.parse(claimed);
  return await steps[job.kind](ctx, job, deadline_ms);
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

const nextDelayRow = z.object({ in_ms: z.number().nullable() });

/** Time until the next job is due, at least `poll_ms`: a job that waits for another one has no due time of its own. */
async function readNextDelay_ms(ctx: JobDeps): Promise<number> {
  const [next] = checkRows(
    nextDelayRow,
    await ctx.postgres.rows(
      `select (extract(epoch from min(greatest(due_at, claimed_until)) - now()) * 1000)::float8 as in_ms
       from jobs where buffer = $buffer and state in ('queued', 'running')`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX },
    ),
  );
  return Math.max(poll_ms, next?.in_ms ?? Number.POSITIVE_INFINITY);
}

const nextDueRow = z.object({ due_ms: z.number().nullable() });

/** Sets the mark in Redis for the time when the next job is due. */
export async function markNextDue(ctx: JobDeps): Promise<void> {
  const [next] = checkRows(
    nextDueRow,
    await ctx.postgres.rows(
      `select (extract(epoch from min(greatest(due_at, claimed_until))) * 1000)::float8 as due_ms
       from jobs where buffer = $buffer and state in ('queued', 'running')`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX },
    ),
  );
  if (next !== undefined && next.due_ms !== null) await noteJob(ctx, next.due_ms);
}
