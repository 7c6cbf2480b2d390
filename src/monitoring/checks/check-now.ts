import { ApiError } from '../../core/errors.ts';
import { currentConfig } from '../config-cache.ts';
import type { MonitoringDeps } from '../deps.ts';
import { activeCheck } from './due.ts';
import { type CheckResult, runCheck } from './run-check.ts';
import { secretValues } from './secret-values.ts';
import { secretNames } from './target.ts';
import { type Connect, connectFromWorker } from './tcp.ts';

const run_ms = 60_000;

/**
 * Runs the check of a service once, and stores nothing.
 *
 * @throws ApiError `not-found`; `invalid-request` for a service whose status is not checked; StoreError
 */
export async function checkNow(
  ctx: MonitoringDeps,
  dataset: string,
  serviceId: string,
  connect: Connect = connectFromWorker,
): Promise<CheckResult> {
  const config = await currentConfig(ctx, dataset);
  const service = config.services.get(serviceId);
  if (service === undefined) throw new ApiError('not-found', `Service ${serviceId} not found.`);
  const check = activeCheck({ ...service, enabled: true });
  if (check === undefined) {
    throw new ApiError('invalid-request', `Service ${serviceId} reports its status itself: it has no check to run.`);
  }
  const secrets = await secretValues(ctx, dataset, config.revision, secretNames(check));
  return await runCheck({ ...ctx, connect }, { check, service }, secrets, ctx.now() + run_ms);
}
