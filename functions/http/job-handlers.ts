import type { Context } from '../../src/create-context.ts';
import { handleJob, type JobHandlers } from '../../src/jobs/definition.ts';
import { alertJob, deliverStep } from '../../src/monitoring/notifications/deliver.ts';
import { jobHandlers as operationHandlers } from '../../src/operations/job-handlers.ts';

/** The steps of all jobs. */
export const jobHandlers: JobHandlers<Context> = { ...operationHandlers, alert: handleJob(alertJob, deliverStep) };
