import { setTimeout as delay } from 'node:timers/promises';
import { areJobsDue } from '../../buffer/due.ts';
import { describeError } from '../../core/log.ts';
import type { JobHandlers } from '../../jobs/definition.ts';
import { runDeliveries } from '../../jobs/runner.ts';
import type { MonitoringDeps } from '../deps.ts';
import { sendDueGroups } from './groups.ts';

const pause_ms = 5_000;

/**
 * Makes messages of due groups and delivers them, in passes until the time is over. Not in the invocation that runs long jobs:
 * a delivery does not wait for them. A pass in which nothing is due costs two commands.
 */
export async function notifyWhileDue(
  ctx: MonitoringDeps,
  steps: Pick<JobHandlers<MonitoringDeps>, 'notify' | 'alert'>,
  until_ms: number,
): Promise<void> {
  for (;;) {
    await attempt(ctx, 'notices', sendDueGroups(ctx, until_ms));
    await attempt(ctx, 'deliveries', deliverDue(ctx, steps, until_ms));
    if (ctx.now() + pause_ms >= until_ms) return;
    await delay(pause_ms);
  }
}

async function deliverDue(
  ctx: MonitoringDeps,
  steps: Pick<JobHandlers<MonitoringDeps>, 'notify' | 'alert'>,
  until_ms: number,
): Promise<void> {
  if (await areJobsDue(ctx)) await runDeliveries(ctx, steps, until_ms);
}

/** Logs a failure, so that the other task and the next pass go on. */
async function attempt(ctx: MonitoringDeps, job: string, work: Promise<unknown>): Promise<void> {
  await work.catch((error) => ctx.log({ event: 'job-failed', job, ...describeError(error) }));
}
