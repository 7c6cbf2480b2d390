import * as z from 'zod';
import { notFound } from '../../src/core/not-found.ts';
import type { Context as AppContext } from '../../src/create-context.ts';
import { type Job, jobKinds, jobStates, listJobs, readJob, retryJob } from '../../src/jobs/job.ts';
import type { Caller } from '../http/auth.ts';
import { jobSchema, jobView, startJobs } from '../http/job-response.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, wanted } from '../http/paging.ts';
import { idParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const listQuery = z.strictObject({
  ...numberedQuery,
  dataset: z.string().optional().meta({ description: 'only jobs of this dataset' }),
  kind: z.enum(jobKinds).optional(),
  state: z.enum(jobStates).optional(),
});

const path = '/v1/admin/jobs';

export const jobRoutes = [
  route(
    {
      method: 'get',
      path,
      scope: 'admin',
      tag: 'Jobs',
      summary: 'List jobs',
      description: 'Lists the jobs of the datasets of the key, newest first.',
      query: listQuery,
      responses: {
        200: { description: 'A page of jobs', schema: z.object({ jobs: z.array(jobSchema), next: nextSchema }) },
      },
      example: { query: { state: 'done' } },
    },
    async ({ ctx, key, query: { cursor, limit, ...filter }, json }) => {
      const of = key.listed('admin');
      const found = await listJobs(ctx, { ...filter, before: numberOf(cursor), visibleDatasets: of }, wanted(limit));
      const { items, last } = pageOf(found, limit);
      return json(200, { jobs: items.map(jobView), next: last?.n ?? null });
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/:id`,
      scope: 'admin',
      tag: 'Jobs',
      summary: 'Get a job',
      params: idParams('id of the job'),
      responses: { 200: { description: 'The progress of the job, and its receipt', schema: jobSchema } },
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' } },
    },
    async ({ ctx, key, params, json }) => json(200, jobView(await visibleJob(ctx, key, params.id))),
  ),
  route(
    {
      method: 'post',
      path: `${path}/:id/retry`,
      scope: 'admin',
      tag: 'Jobs',
      summary: 'Retry a failed job',
      description: 'Continues the job at the step that failed.',
      params: idParams('id of the job'),
      responses: { 202: { description: 'The job', schema: jobSchema } },
      errors: ['not-found', 'conflict'],
      example: { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' } },
    },
    async ({ c, ctx, key, params, json }) => {
      const { id } = await visibleJob(ctx, key, params.id);
      const job = await retryJob(ctx, id);
      startJobs(c);
      return json(202, jobView(job));
    },
  ),
];

/** Throws ApiError `not-found`, with the same text for an unknown job and for one that the key may not see. */
async function visibleJob(ctx: AppContext, key: Caller, id: string): Promise<Job> {
  const job = await readJob(ctx, id);
  if (!isVisible(key, job)) throw notFound({ kind: 'Job', id });
  return job;
}

/** Whether a key can see a job. Only keys of all datasets see the jobs of an earlier dataset of the same name. */
export function isVisible(key: Caller, { dataset, isOfThisLife }: Job): boolean {
  return key.coversAll('admin') || (dataset !== null && isOfThisLife && key.covers('admin', dataset));
}
