import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { dueWork } from '../buffer/due.ts';
import { tryDrainingManifestOutbox } from '../catalog/manifest-outbox.ts';
import { describeError } from '../core/log.ts';
import type { FlushDeps } from './deps.ts';
import { flushDueLane, lanesInPass, type Passes } from './flush-due.ts';

/** A queue message for a due lane. A late or repeated message is harmless. */
const message = z.object({ dataset: z.string(), physical: z.string(), lane: z.int().nonnegative() });
export type LaneMessage = z.output<typeof message>;

/** The part of Cloudflare's queue binding that is used. */
export type LaneQueue = { sendBatch(messages: { body: LaneMessage }[]): Promise<unknown> };

/** Maximum of Cloudflare for one call. */
const messagesAtOnce = 100;

/** Enqueues every due lane, so that consumers flush lanes in parallel. Throws StoreError if Redis is unavailable. */
export async function enqueueDueLanes(ctx: FlushDeps, queue: LaneQueue): Promise<{ lanes: number; hasJobs: boolean }> {
  const { lanes: due, hasJobs } = await dueWork(ctx, lanesInPass);
  for (let from = 0; from < due.length; from += messagesAtOnce) {
    const messages = due.slice(from, from + messagesAtOnce).map(({ table, lane }) => ({ body: { ...table, lane } }));
    await queue.sendBatch(messages);
  }
  return { lanes: due.length, hasJobs };
}

/** Enqueues due lanes repeatedly while lanes are due. */
export async function enqueueWhileDue(
  ctx: FlushDeps,
  queue: LaneQueue,
  { pause_ms, until_ms, onJobs, onLanes }: Passes,
): Promise<void> {
  for (;;) {
    const { lanes, hasJobs } = await enqueueDueLanes(ctx, queue);
    if (hasJobs) onJobs?.();
    if (lanes > 0) onLanes?.();
    if (lanes === 0 || ctx.now() + pause_ms >= until_ms) return;
    await delay(pause_ms);
  }
}

/**
 * Flushes the lane of a message until it is empty or the time is over. Never rejects: the hot buffer schedules the retry of a
 * failed lane, and cron enqueues it again.
 */
export async function flushMessage(ctx: FlushDeps, body: unknown, until_ms: number): Promise<void> {
  const parsed = message.safeParse(body);
  if (!parsed.success) {
    ctx.log({ event: 'queue-message-malformed', alarm: true });
    return;
  }
  const { dataset, physical, lane } = parsed.data;
  try {
    let flushed: Awaited<ReturnType<typeof flushDueLane>>;
    do {
      flushed = await flushDueLane(ctx, { table: { dataset, physical }, lane }, 'queue');
      if (flushed.failure !== undefined) throw flushed.failure.error;
    } while (flushed.more && ctx.now() < until_ms);
    await tryDrainingManifestOutbox(ctx);
  } catch (error) {
    ctx.log({ event: 'queue-flush-failed', dataset, table: physical, lane, ...describeError(error) });
  }
}
