import { expect } from 'vitest';
import { type Job, readJob } from '../../../src/jobs/job.ts';
import { jobSteps } from '../../../src/jobs/steps.ts';
import { workOnJobs } from '../../../src/jobs/work.ts';
import type { Instance } from '../support.ts';

/** Works on an instance's jobs until one of them is over. */
export async function workUntilOver(own: Instance, { id }: Pick<Job, 'id'>): Promise<Job> {
  await expect
    .poll(async () => {
      await workOnJobs(own, jobSteps, own.now() + 5_000);
      return (await readJob(own, id)).state;
    })
    .toMatch(/done|failed/);
  return await readJob(own, id);
}
