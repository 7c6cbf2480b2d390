import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { jobsMember, noteJob } from '../buffer/due.ts';
import { ApiError, errorCatalogue } from '../core/errors.ts';
import { describeError } from '../core/log.ts';
import { runAs } from '../core/request-context.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { Statement } from '../stores/postgres/client.ts';
import { toJsonb, toText } from '../stores/postgres/jsonb.ts';
import { ask } from '../stores/redis/client.ts';
import type { JobDeps } from './deps.ts';
import { type Job, type JobKind, type JobLine, type JobOf, jobColumns, jobIn, jobRow } from './job.ts';

const claimedRow: z.ZodType<Claimed> = jobRow.extend({ claim: z.string() });

/** What a step of a job has come to. */
export type Outcome = {
  /** Statements of the same transaction that puts it on record: they happen with it or not at all. */
  alongside?: Statement[];
} & (
  | { done: Record<string, unknown> }
  /** `error`: what somebody should know who looks at the job, which goes on. */
  | { progress: Record<string, unknown>; wait_ms?: number; error?: string }
  /** Over, for this reason, until somebody tries it again: then it goes on from its progress. */
  | { failed: string; progress: Record<string, unknown> }
);

/**
 * A step of a job. It may die anywhere, run twice, or run beside itself: what it does outside of the catalogue may be
 * repeated, and what it does in it comes with `alongside`.
 */
export type Step<Kind extends JobKind, Deps extends JobDeps> = (
  ctx: Deps,
  job: JobOf<Kind>,
  deadline_ms: number,
) => Promise<Outcome>;

/** The steps of every kind. */
export type JobHandlers<Deps extends JobDeps> = { [Kind in JobKind]: Step<Kind, Deps> };

const retry_ms_max = 300_000;
/** A job that is due so soon is waited for, looked for so often at most. */
const soon_ms = 5_000;
const again_ms = 500;
/** Failures in a row before somebody has to look. What a mirror has not sent yet is wanted however long that takes. */
const attempts_max: Partial<Record<JobKind, number>> & { others: number } = {
  others: 30,
  mirror: Number.POSITIVE_INFINITY,
};

/**
 * Works on jobs that are due, one step after the other, until there are none or the time is over.
 *
 * @returns the number of steps
 * @throws StoreError when the catalogue is away
 */
export async function runDueJobs<Deps extends JobDeps>(
  ctx: Deps,
  steps: JobHandlers<Deps>,
  deadline_ms: number,
): Promise<number> {
  // Taken away first: what is made from now on tells of itself.
  await ask(() => ctx.redis.zrem(ctx.keys.due, jobsMember));
  let worked = 0;
  try {
    while (ctx.now() < deadline_ms) {
      const claimed = await claim(ctx);
      if (claimed === undefined) {
        const wait_ms = await nextIn_ms(ctx);
        if (wait_ms > soon_ms || ctx.now() + wait_ms >= deadline_ms) break;
        await delay(wait_ms);
        continue;
      }
      worked += 1;
      await step(ctx, steps, claimed, deadline_ms);
    }
  } finally {
    await noteNext(ctx);
  }
  return worked;
}

type Claimed = JobLine & { claim: string };

/** The one that waits longest. Jobs that change rows of one table take turns: each counts what the one before has left. */
async function claim(ctx: JobDeps): Promise<Claimed | undefined> {
  const [job] = checkRows(
    claimedRow,
    await ctx.postgres.rows(
      `update jobs set state = 'running', claim = $uuid, claimed_until = now() + $job_claim_ms * interval '1 millisecond'
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
        uuid: crypto.randomUUID(),
      },
    ),
  );
  return job;
}

/** Does work while somebody hears of it, however long it takes. */
async function whileHeardOf<Result>(ctx: JobDeps, job: Claimed, work: Promise<Result>): Promise<Result> {
  const { job_claim_ms } = ctx.config.limits;
  const renew = () => {
    const renewed = ctx.postgres.rows(
      `update jobs set claimed_until = now() + $job_claim_ms * interval '1 millisecond' where id = $id and claim = $claim`,
      { id: job.id, claim: job.claim, job_claim_ms },
    );
    // Not heard of in time, somebody else begins the step as well: it may be done twice.
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
    const who = { actor: job.actor, requestId: job.id };
    const outcome = await runAs(who, () => whileHeardOf(ctx, job, begin(ctx, steps, job, deadline_ms)));
    await ctx.postgres.transaction([
      // Divides by zero where somebody else has it by now: then nothing of this happens.
      ['select 1 / count(*) from jobs where id = $id and claim = $claim', { id: job.id, claim: job.claim }],
      ...(outcome.alongside ?? []),
      onRecord(job, outcome),
    ]);
    const told = 'failed' in outcome && { error: outcome.failed };
    const [come] = (['done', 'failed', 'progress'] as const).filter((each) => each in outcome);
    ctx.log({ ...event, outcome: come, ...told, took_ms: ctx.now() - from_ms });
  } catch (error) {
    ctx.log({ ...event, outcome: 'failed', attempts: job.attempts + 1, ...describeError(error) });
    await giveBack(ctx, job, error);
  }
}

/** Throws RangeError for a job that does not say what it is of. */
async function begin<Deps extends JobDeps>(
  ctx: Deps,
  steps: JobHandlers<Deps>,
  line: Claimed,
  deadline_ms: number,
): Promise<Outcome> {
  const job = jobIn(line);
  // The step of its kind: that both are of the same one is more than the compiler follows.
  return await (steps[job.kind] as (ctx: Deps, job: Job, deadline_ms: number) => Promise<Outcome>)(
    ctx,
    job,
    deadline_ms,
  );
}

/** The statement that puts an outcome on record. */
function onRecord({ id }: Claimed, outcome: Outcome): Statement {
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

/** After a failure that may pass the job waits, longer each time; after another one it is over. The error's code says which. */
async function giveBack(ctx: JobDeps, job: Claimed, error: unknown): Promise<void> {
  const isKnown = error instanceof ApiError;
  const mayPass = !isKnown || errorCatalogue[error.code].retryable;
  const isOver = !mayPass || job.attempts + 1 >= (attempts_max[job.kind as JobKind] ?? attempts_max.others);
  const wait_ms = Math.min(retry_ms_max, 1_000 * 2 ** Math.min(job.attempts, 20));
  await ctx.postgres.rows(
    `update jobs set attempts = attempts + 1, error = $isKnown, claim = null, claimed_until = null, state = $isOver,
            due_at = now() + $wait_ms * interval '1 millisecond', finished_at = case when $isOver = 'failed' then now() end
      where id = $id and claim = $claim`,
    {
      id: job.id,
      claim: job.claim,
      isKnown: isKnown ? toText(error.message) : 'Something failed here. The job’s id finds it in the log.',
      isOver: isOver ? 'failed' : 'running',
      wait_ms,
    },
  );
}

const nextIn_msRow = z.object({ in_ms: z.number().nullable() });

/** When the next job is due; one that waits for another has no time of its own. */
async function nextIn_ms(ctx: JobDeps): Promise<number> {
  const [next] = checkRows(
    nextIn_msRow,
    await ctx.postgres.rows(
      `select (extract(epoch from min(greatest(due_at, claimed_until)) - now()) * 1000)::float8 as in_ms
       from jobs where buffer = $buffer and state in ('queued', 'running')`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX },
    ),
  );
  return Math.max(again_ms, next?.in_ms ?? Number.POSITIVE_INFINITY);
}

const noteNextRow = z.object({ due_ms: z.number().nullable() });

/** Has the clock come again when the next job is due. */
export async function noteNext(ctx: JobDeps): Promise<void> {
  const [next] = checkRows(
    noteNextRow,
    await ctx.postgres.rows(
      `select (extract(epoch from min(greatest(due_at, claimed_until))) * 1000)::float8 as due_ms
       from jobs where buffer = $buffer and state in ('queued', 'running')`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX },
    ),
  );
  if (next !== undefined && next.due_ms !== null) await noteJob(ctx, next.due_ms);
}
