import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { describeError } from '../core/log.ts';
import { evaluateDataset } from './alerts/evaluate.ts';
import { dueChecks, type Shard, shardsOf, tick_ms } from './checks/due.ts';
import { limiter } from './checks/limiter.ts';
import type { ProbeDeps } from './checks/probe.ts';
import { unknownResult } from './checks/run-check.ts';
import { checksAtOnce, rowOf, runShard, storeRows } from './checks/run-shard.ts';
import { connectFromWorker } from './checks/tcp.ts';
import { currentConfig, monitoredDatasets } from './config-cache.ts';
import type { MonitoringDeps } from './deps.ts';
import { sweepGroups } from './notifications/groups.ts';
import { pingWatchdogs } from './notifications/watchdog.ts';
import type { MonitorConfig } from './resources/store.ts';

/** The second schedule in wrangler.toml: an invocation of its own, so that no target delays a flush. */
export const monitorCron = '*/1 * * * *';

/** A queue message with the checks of a shard. A late or repeated message is harmless. */
export const monitorMessage = z.object({
  dataset: z.string(),
  tick: z.int().nonnegative(),
  services: z.array(z.string()).max(100),
});
export type MonitorMessage = z.output<typeof monitorMessage>;

/** The part of Cloudflare's queue binding that is used. */
export type MonitorQueue = { sendBatch(messages: { body: MonitorMessage }[]): Promise<unknown> };

/** Maximum of Cloudflare for one call. */
const messagesAtOnce = 100;

/** Checks of a message end by then. */
const checks_ms = 50_000;

/** Shards that wait longer in the queue are left out: checks of their next minute are due. */
const late_ms = 2 * tick_ms;

/** How often rules are evaluated in a minute while consumers of the queue make its checks. */
const passes_ms = 20_000;

/** Minute of the hour for work that uses Postgres whether or not there is something to do. */
const sweepMinute = 0;

/**
 * The tasks of monitoring in a minute: the checks that are due, and the evaluation of rules right after them. With a queue, its
 * consumers make the checks. Once an hour, a mark of waiting notices that the hot buffer has lost is set again.
 *
 * @param at_ms time of the trigger
 * @param until_ms no check begins or goes on after it
 */
export async function monitorMinute(
  ctx: MonitoringDeps,
  at_ms: number,
  until_ms: number,
  queue: MonitorQueue | undefined,
): Promise<void> {
  const tick = Math.floor(at_ms / tick_ms);
  const marks = await monitoredDatasets(ctx);
  if (marks.size === 0) return;
  if (new Date(at_ms).getUTCMinutes() === sweepMinute) await attempt(ctx, 'sweep-notices', '', () => sweepGroups(ctx));
  const datasets: { dataset: string; config: MonitorConfig }[] = [];
  const readings = [...marks].map(([dataset, mark]) =>
    attempt(ctx, 'monitor-config', dataset, async () => {
      datasets.push({ dataset, config: await currentConfig(ctx, dataset, mark) });
    }),
  );
  await Promise.all(readings);
  const shards = datasets.flatMap(({ dataset, config }) => shardsOf(dataset, tick, dueChecks(config, tick)));
  if (queue === undefined) await runHere({ ...ctx, connect: connectFromWorker }, datasets, shards, until_ms);
  else if (shards.length > 0) await enqueue(ctx, queue, shards);
  await evaluateWhile(ctx, datasets, queue === undefined || shards.length === 0 ? undefined : until_ms);
}

/**
 * Evaluates the rules of each dataset, right after its checks. While consumers of the queue make the checks, it evaluates
 * repeatedly, so that a failure is noticed in the minute in which it is seen.
 */
async function evaluateWhile(
  ctx: MonitoringDeps,
  datasets: { dataset: string; config: MonitorConfig }[],
  until_ms: number | undefined,
): Promise<void> {
  const evaluated = new Set<string>();
  for (;;) {
    const evaluations = datasets.map(async ({ dataset, config }) => {
      await attempt(ctx, 'monitor-evaluation', dataset, async () => {
        const outcome = await evaluateDataset(ctx, dataset, config);
        if (outcome === 'changed' || outcome === 'unchanged') evaluated.add(dataset);
      });
    });
    await Promise.all(evaluations);
    if (until_ms === undefined || ctx.now() + passes_ms >= until_ms) break;
    await delay(passes_ms);
  }
  await Promise.all(
    datasets
      .filter(({ dataset }) => evaluated.has(dataset))
      .map(({ dataset, config }) => attempt(ctx, 'watchdog', dataset, () => pingWatchdogs(ctx, dataset, config))),
  );
}

/** Runs the checks of a queue message. Throws what makes the queue deliver it again. */
export async function monitorMessageRun(ctx: MonitoringDeps, body: unknown): Promise<void> {
  const { success, data: shard } = monitorMessage.safeParse(body);
  if (!success) {
    ctx.log({ event: 'queue-message-malformed', alarm: true });
    return;
  }
  if (ctx.now() > (shard.tick + 1) * tick_ms + late_ms) {
    ctx.log({ event: 'checks-too-late', alarm: true, dataset: shard.dataset, tick: shard.tick });
    return;
  }
  const config = await currentConfig(ctx, shard.dataset);
  await runShard({ ...ctx, connect: connectFromWorker }, config, shard, { until_ms: ctx.now() + checks_ms });
}

async function enqueue(ctx: MonitoringDeps, queue: MonitorQueue, shards: Shard[]): Promise<void> {
  for (let from = 0; from < shards.length; from += messagesAtOnce) {
    await queue.sendBatch(shards.slice(from, from + messagesAtOnce).map((body) => ({ body })));
  }
  ctx.log({ event: 'checks-enqueued', shards: shards.length });
}

/** Runs the checks in this invocation, up to its limit. The services of the others have the status UNKNOWN. */
async function runHere(
  ctx: ProbeDeps,
  datasets: { dataset: string; config: MonitorConfig }[],
  shards: Shard[],
  until_ms: number,
): Promise<void> {
  const configs = new Map(datasets.map(({ dataset, config }) => [dataset, config]));
  const limit = limiter(checksAtOnce);
  let left = ctx.config.limits.monitor_checks_without_queue_max;
  const runs = shards.map(async (shard) => {
    const config = configs.get(shard.dataset);
    if (config === undefined) return;
    left -= shard.services.length;
    if (left >= 0)
      return await attempt(ctx, 'checks', shard.dataset, () => runShard(ctx, config, shard, { until_ms, limit }));
    ctx.log({ event: 'too-many-checks', alarm: true, dataset: shard.dataset, checks: shard.services.length });
    await attempt(ctx, 'checks', shard.dataset, () => storeNotRun(ctx, config, shard));
  });
  await Promise.all(runs);
}

async function storeNotRun(ctx: ProbeDeps, { services }: MonitorConfig, shard: Shard): Promise<void> {
  const timestamp = new Date(ctx.now()).toISOString();
  const due = dueChecks({ services }, shard.tick).filter(({ service }) => shard.services.includes(service.serviceId));
  await storeRows(
    ctx,
    shard,
    due.map(({ service, check }) => rowOf(service, timestamp, unknownResult(check, 'not-run'))),
  );
}

/** Logs a failure, so that the other datasets go on. */
async function attempt(ctx: MonitoringDeps, job: string, dataset: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    ctx.log({ event: 'job-failed', job, dataset, ...describeError(error) });
  }
}
