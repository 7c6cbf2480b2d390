import * as z from 'zod';
import { checkRows } from '../stores/check-rows.ts';
import type { JobDeps } from './deps.ts';
import { type JobKind, jobColumns } from './job.ts';

/** A claimed job as far as its outcome needs it. The step checks the rest, so that a malformed job fails alone. */
const claimedRow = z.looseObject({
  n: z.string(),
  id: z.string(),
  kind: z.string(),
  dataset: z.string().nullable(),
  table: z.string().nullable(),
  actor: z.string(),
  attempts: z.number(),
  claim: z.string(),
});

export type Claimed = z.output<typeof claimedRow>;

/** Short jobs that wait for a receiver. Others may run beside them. */
export const deliveryKinds: readonly JobKind[] = ['notify', 'alert'];

const deliveries_max = 20;

/**
 * True for a job `j` that waits for an earlier one: jobs that change rows of one table, because each counts the rows that its
 * predecessor has left, and jobs with the same order key.
 */
const isBlockedSql = `(kind in ('delete-rows', 'correct-rows') and exists (
    select from jobs o
     where o.dataset = j.dataset and o."table" = j."table" and o.n < j.n
       and o.kind in ('delete-rows', 'correct-rows') and o.state in ('queued', 'running')))`;
const isOutOfOrderSql = `(order_key is not null and exists (
    select from jobs o
     where o.buffer = j.buffer and o.order_key = j.order_key and o.n < j.n and o.state in ('queued', 'running')))`;

/**
 * Claims the job that has waited longest. A delivery is claimed together with other due ones, at most 20, at most one of
 * each order key.
 */
export async function claimJobs(ctx: JobDeps, kinds: JobKind[]): Promise<Claimed[]> {
  const claimed = checkRows(
    claimedRow,
    await ctx.postgres.rows(
      `with due as materialized (
         select id, kind = any($deliveryKinds::text[]) as is_delivery, due_at, n from jobs j
          where buffer = $buffer and kind = any($kinds::text[]) and state in ('queued', 'running') and due_at <= now()
            and (claimed_until is null or claimed_until < now()) and not ${isBlockedSql} and not ${isOutOfOrderSql}
          order by due_at, n limit $deliveries_max for update skip locked),
       first as (select id, is_delivery from due order by due_at, n limit 1)
       update jobs set state = 'running', claim = $claim, claimed_until = now() + $job_claim_ms * interval '1 millisecond'
        where id in (select due.id from due, first where due.id = first.id or (due.is_delivery and first.is_delivery))
       returning ${jobColumns}, claim`,
      {
        job_claim_ms: ctx.config.limits.job_claim_ms,
        buffer: ctx.config.TIMESTORE_KEY_PREFIX,
        claim: crypto.randomUUID(),
        kinds,
        deliveryKinds,
        deliveries_max,
      },
    ),
  );
  return claimed.sort((a, b) => Number(a.n) - Number(b.n));
}

/** Returns claimed jobs that were not begun, so that they need not wait until the claim expires. */
export async function releaseJobs(ctx: JobDeps, jobs: Claimed[]): Promise<void> {
  const [first] = jobs;
  if (first === undefined) return;
  await ctx.postgres.rows(
    'update jobs set claim = null, claimed_until = null where id = any($ids::text[]) and claim = $claim',
    { ids: jobs.map(({ id }) => id), claim: first.claim },
  );
}

const nextRow = z.object({ in_ms: z.number().nullable(), due_ms: z.number().nullable() });

/**
 * When the next job of these kinds is due; undefined without one. A job that waits in its order does not count: the job
 * before it does.
 *
 * @returns `due_ms` since 1970, `in_ms` from now, both by the clock of Postgres
 */
export async function readNextDue(
  ctx: JobDeps,
  kinds: readonly JobKind[],
): Promise<{ in_ms: number; due_ms: number } | undefined> {
  const [next] = checkRows(
    nextRow,
    await ctx.postgres.rows(
      `select (extract(epoch from min(greatest(due_at, claimed_until)) - now()) * 1000)::float8 as in_ms,
              (extract(epoch from min(greatest(due_at, claimed_until))) * 1000)::float8 as due_ms
         from jobs j
        where buffer = $buffer and kind = any($kinds::text[]) and state in ('queued', 'running') and not ${isOutOfOrderSql}`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX, kinds },
    ),
  );
  if (next === undefined || next.in_ms === null || next.due_ms === null) return undefined;
  return { in_ms: next.in_ms, due_ms: next.due_ms };
}
