import { setTimeout as delay } from 'node:timers/promises';
import { ApiError, StoreError } from '../../core/errors.ts';
import { describeError } from '../../core/log.ts';
import { ingestRows } from '../../ingest/ingest.ts';
import type { MonitorConfig } from '../resources/store.ts';
import { statusCodes } from '../status.ts';
import { isOnline, isSuspicious } from './anchors.ts';
import { activeCheck, type DueCheck, type Shard, shardKey } from './due.ts';
import { limiter } from './limiter.ts';
import { networkReasons } from './observation.ts';
import type { ProbeDeps } from './probe.ts';
import { type CheckResult, runCheck, unknownResult } from './run-check.ts';
import { secretValues } from './secret-values.ts';
import { hostOf, secretNames } from './target.ts';

/** The stores and the checks of an invocation share six connections that wait for headers. */
export const checksAtOnce = 4;

export type ShardOptions = {
  /** No check begins or goes on after it. */
  until_ms: number;
  /** Places for checks, which shards of an invocation share. */
  limit?: ReturnType<typeof limiter>;
};

export type ShardRun = { checks: number; notRun: number; failed: number; isRepeat: boolean };

/**
 * Runs the checks of a shard, and stores their rows as one request. A shard that runs twice stores its rows once. Services that
 * have no check by now are left out.
 *
 * @throws StoreError, after repetitions; ApiError if the dataset cannot take the rows
 */
export async function runShard(
  ctx: ProbeDeps,
  config: MonitorConfig,
  shard: Shard,
  { until_ms, limit = limiter(checksAtOnce) }: ShardOptions,
): Promise<ShardRun> {
  const started_ms = ctx.now();
  const due = shard.services.flatMap((id): DueCheck[] => {
    const service = config.services.get(id);
    const check = service === undefined ? undefined : activeCheck(service);
    return service === undefined || check === undefined ? [] : [{ service, check }];
  });
  if (due.length === 0) return { checks: 0, notRun: 0, failed: 0, isRepeat: false };
  const names = due.flatMap(({ check }) => secretNames(check));
  const secrets = await secretValues(ctx, shard.dataset, config.revision, names);
  const results = await Promise.all(
    due.map(async (each) => ({ ...each, result: await limit(() => runCheck(ctx, each, secrets, until_ms)) })),
  );
  const hosts = results.map(({ check, result }) => {
    return { host: hostOf(check, secrets), isFailed: isNetworkFailure(result) };
  });
  if (isSuspicious(hosts) && !(await isOnline(ctx))) {
    for (const each of results) {
      if (isNetworkFailure(each.result)) each.result = unknownResult(each.check, 'checker', each.result.details);
    }
  }
  const timestamp = new Date(started_ms).toISOString();
  const rows = results.map(({ service, result }) => rowOf(service, timestamp, result));
  const isRepeat = !(await storeRows(ctx, shard, rows));
  const run = {
    checks: due.length,
    notRun: results.filter(({ result }) => result.reason === 'not-run').length,
    failed: results.filter(({ result }) => result.code === statusCodes.failed).length,
    isRepeat,
  };
  ctx.log({ event: 'checks', dataset: shard.dataset, tick: shard.tick, ...run, took_ms: ctx.now() - started_ms });
  return run;
}

function isNetworkFailure({ code, reason }: CheckResult): boolean {
  return (
    reason !== null && networkReasons.has(reason) && (code === statusCodes.failed || code === statusCodes.starting)
  );
}

/** The row of a result in `service_status`. */
export function rowOf(
  service: DueCheck['service'],
  timestamp: string,
  { code, message, responseTime_ms, details }: CheckResult,
): Record<string, unknown> {
  return {
    service_id: service.serviceId,
    timestamp,
    status_code: code,
    message,
    service_type: service.serviceType,
    stack: service.stack,
    details,
    response_time_ms: responseTime_ms,
    source: 'check',
  };
}

const storeAttempts_max = 3;
const storePause_ms = 500;

/** Whether these rows are the shard's. Throws StoreError after repetitions. */
export async function storeRows(ctx: ProbeDeps, shard: Shard, rows: object[]): Promise<boolean> {
  const text = rows.map((row) => JSON.stringify(row)).join('\n');
  const { dataset } = shard;
  const request = {
    dataset,
    table: 'service_status',
    text,
    format: 'ndjson',
    idempotencyKey: shardKey(shard),
  } as const;
  for (let attempt = 1; ; attempt += 1) {
    try {
      await ingestRows(ctx, request);
      return true;
    } catch (error) {
      // Another run of this shard has stored its rows.
      if (error instanceof ApiError && error.code === 'key-reused') return false;
      if (!(error instanceof StoreError) || attempt === storeAttempts_max) throw error;
      ctx.log({ event: 'checks-not-stored', dataset, attempt, ...describeError(error) });
      await delay(storePause_ms * attempt);
    }
  }
}
