import type { Context } from 'hono';
import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { describeError } from '../../src/core/log.ts';
import { type Job, jobKinds, jobStates, listJobs, readJob, retryJob } from '../../src/jobs/job.ts';
import { runDueJobs } from '../../src/jobs/runner.ts';
import { jobHandlers } from '../../src/operations/job-handlers.ts';
import { type App, routes } from '../http/app.ts';
import { requireScope } from '../http/auth.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, queryAs, timeText, wanted } from '../http/paging.ts';

export const jobSchema = z
  .object({
    id: z.string(),
    kind: z.enum(jobKinds),
    dataset: z.string().nullable(),
    table: z.string().nullable(),
    state: z.enum(jobStates),
    request: z.record(z.string(), z.unknown()).meta({ description: 'what was asked for' }),
    result: z.record(z.string(), z.unknown()).nullable().meta({ description: 'the receipt, once it is done' }),
    error: z.string().nullable().meta({ description: 'why its last step failed' }),
    attempts: z.int().meta({ description: 'steps that failed in a row; it is tried again, later each time' }),
    actor: z.string(),
    createdAt: z.string(),
    finishedAt: z.string().nullable(),
  })
  .meta({ id: 'Job' });

const listQuery = z.strictObject({
  ...numberedQuery,
  dataset: z.string().optional().meta({ description: 'of this dataset' }),
  kind: z.enum(jobKinds).optional(),
  state: z.enum(jobStates).optional(),
});

const path = '/v1/admin/jobs';

export const jobRoutes = routes()
  .get(
    path,
    openApiRoute({
      summary: 'List jobs',
      description: 'The newest first, of the datasets that the key lists.',
      tag: 'Jobs',
      query: listQuery,
      answers: {
        200: { description: 'A page of them', schema: z.object({ jobs: z.array(jobSchema), next: nextSchema }) },
      },
      example: { query: { state: 'done' } },
    }),
    requireScope('admin'),
    async (c) => {
      const { cursor, limit, ...filter } = queryAs(c, listQuery);
      const of = c.get('key').listed('admin');
      const found = await listJobs(c.get('ctx'), { ...filter, before: numberOf(cursor), of }, wanted(limit));
      const { items, last } = pageOf(found, limit);
      return c.json({ jobs: items.map(jobView), next: last?.n ?? null });
    },
  )
  .get(
    `${path}/:id`,
    openApiRoute({
      summary: 'Read a job',
      tag: 'Jobs',
      parameters: { id: 'of the job' },
      answers: { 200: { description: 'How far it is, and its receipt', schema: jobSchema } },
      errors: ['not-found'],
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' } },
    }),
    requireScope('admin'),
    async (c) => c.json(jobView(await ownJob(c, c.req.param('id')))),
  )
  .post(
    `${path}/:id/retry`,
    openApiRoute({
      summary: 'Try a failed job again',
      description: 'It goes on where it stopped.',
      tag: 'Jobs',
      parameters: { id: 'of the job' },
      answers: { 202: { description: 'The job', schema: jobSchema } },
      errors: ['not-found', 'conflict'],
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' } },
    }),
    requireScope('admin'),
    async (c) => {
      const { id } = await ownJob(c, c.req.param('id'));
      const job = await retryJob(c.get('ctx'), id);
      workBehind(c);
      return c.json(jobView(job), 202);
    },
  );

/** One of a dataset that the key lists. Throws TimestoreError `not-found`, in the same words for any other. */
async function ownJob(c: Context<App>, id: string): Promise<Job> {
  const job = await readJob(c.get('ctx'), id);
  if (!isOwn(c, job)) throw new ApiError('not-found', `There is no job ${id}.`);
  return job;
}

/** Whether a caller may know of a job. What was of an earlier dataset of that name is for whoever may read them all. */
export function isOwn(c: Context<App>, { dataset, isOfThisLife }: Job): boolean {
  const key = c.get('key');
  return key.coversAll('admin') || (dataset !== null && isOfThisLife && key.covers('admin', dataset));
}

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

/** Cloudflare ends what a request leaves behind 30 s after its answer; the clock takes up what is left. */
const background_ms = 20_000;

/** Begins with jobs that were just made, without the answer waiting for them. */
export function workBehind(c: Context<App>): void {
  const ctx = c.get('ctx');
  const work = runDueJobs(ctx, jobHandlers, ctx.now() + background_ms);
  c.executionCtx.waitUntil(
    work.catch((error) => ctx.log({ event: 'job-failed', job: 'jobs', ...describeError(error) })),
  );
}
