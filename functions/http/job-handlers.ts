import type { Context } from '../../src/create-context.ts';
import type { JobHandlers } from '../../src/jobs/runner.ts';
import { deliverStep } from '../../src/monitoring/notifications/deliver.ts';
import { jobHandlers as operationHandlers } from '../../src/operations/job-handlers.ts';

/** The steps of all jobs. */
export const jobHandlers: JobHandlers<Context> = { ...operationHandlers, alert: deliverStep };
