import { runAs } from '../src/core/request-context.ts';
import { continueTrace, endTrace } from '../src/core/trace.ts';
import type { Context } from '../src/create-context.ts';
import { flushMessage, type LaneMessage } from '../src/flush/enqueue-due-lanes.ts';
import {
  type MonitorMessage,
  monitorCron,
  monitorMessage,
  monitorMessageRun,
  monitorMinute,
} from '../src/monitoring/cron.ts';
import { notifyWhileDue } from '../src/monitoring/notifications/notify-while-due.ts';
import { runMinute } from '../src/operations/cron.ts';
import { app } from './api.ts';
import { type Bindings, contextFor } from './http/app.ts';
import { jobHandlers } from './http/job-handlers.ts';

/** Runs work that no request started. Counts and traces it like a request. */
async function inBackground(ctx: Context, name: string, work: () => Promise<void>): Promise<void> {
  const trace = continueTrace(undefined, ctx.config.OTEL_TRACES_SAMPLER_ARG);
  const from_ms = Date.now();
  let isFailed = true;
  try {
    await runAs({ actor: 'cron', requestId: '', trace }, work);
    isFailed = false;
  } finally {
    if (ctx.counters.isWorth) await ctx.counters.send(ctx);
    await endTrace(ctx, trace, { name, kind: 1, from_ms, isFailed, attributes: {} });
  }
}

/** Maximum time for one batch of messages. It is far below the 15 minutes of a Cloudflare consumer, so that every lane gets its turn. */
const messages_ms = 60_000;

/** Time of the checks and deliveries that a trigger starts, so that the next one finds none of them. */
const monitor_ms = 50_000;

export default {
  fetch: app.fetch,
  async scheduled(controller, env) {
    const ctx = contextFor(env);
    const { scheduledTime: at_ms } = controller;
    if (controller.cron === monitorCron) {
      const until_ms = ctx.now() + monitor_ms;
      await inBackground(ctx, 'monitor', async () => {
        const deliveries = notifyWhileDue(ctx, jobHandlers, until_ms);
        await Promise.all([monitorMinute(ctx, at_ms, until_ms, env.MONITOR_QUEUE), deliveries]);
      });
    } else {
      await inBackground(ctx, 'minute', () => runMinute(ctx, at_ms, env.FLUSH_QUEUE, jobHandlers));
    }
  },
  async queue(batch, env) {
    const ctx = contextFor(env);
    const until_ms = ctx.now() + messages_ms;
    await inBackground(ctx, 'queue', async () => {
      await Promise.all(
        batch.messages.map(async (message) => {
          if (monitorMessage.safeParse(message.body).success) await monitorMessageRun(ctx, message.body);
          else await flushMessage(ctx, message.body, until_ms);
        }),
      );
    });
  },
} satisfies ExportedHandler<Bindings, LaneMessage | MonitorMessage>;
