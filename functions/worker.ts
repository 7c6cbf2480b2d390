import { Hono } from 'hono';
import { onBehalfOf } from '../src/asking.ts';
import type { Context } from '../src/context.ts';
import { flushMessage, type LaneMessage } from '../src/flush/hand-on.ts';
import { endTrace, traceOf } from '../src/observe/trace.ts';
import { runMinute } from '../src/schedule.ts';
import { adminRoutes } from './admin.ts';
import { type App, type Bindings, contextFor } from './app.ts';
import { auditRoutes } from './audit.ts';
import { auditLogRoutes } from './audit-log.ts';
import { backupRoutes } from './backups.ts';
import { changeRowsRoutes } from './change-rows.ts';
import { comparisonRoutes } from './comparisons.ts';
import { datasetRoutes } from './datasets.ts';
import { docsRoutes } from './docs.ts';
import { exportRoutes, exportScheduleRoutes } from './exports.ts';
import { healthRoutes } from './health.ts';
import { importRoutes } from './imports.ts';
import { ingestRoutes } from './ingest.ts';
import { jobRoutes } from './jobs.ts';
import { keyRoutes } from './keys.ts';
import { noRoute } from './no-route.ts';
import { problem } from './problem.ts';
import { quarantineRoutes } from './quarantine.ts';
import { queryRoutes } from './query.ts';
import { reconcileRoutes } from './reconcile.ts';
import { crossOrigin, requestEvents, textInUrl, withTimestore } from './request.ts';
import { rowRoutes } from './rows.ts';
import { sqlRoutes } from './sql.ts';
import { storageTargetRoutes } from './storage-targets.ts';
import { tableHistoryRoutes } from './table-history.ts';
import { tableRoutes } from './tables.ts';
import { webhookRoutes } from './webhooks.ts';

const app = new Hono<App>();
app.use(requestEvents);
app.use(crossOrigin);
app.use(textInUrl);
app.use('/v1/*', withTimestore);
app.use('/datasets/*', withTimestore);
app.use('/sql/*', withTimestore);
app.onError((error, c) => problem(c, error));
app.notFound((c) => problem(c, noRoute(app, c)));
app.route('/', healthRoutes);
app.route('/', rowRoutes);
app.route('/', ingestRoutes);
app.route('/', queryRoutes);
app.route('/', sqlRoutes);
app.route('/', adminRoutes);
app.route('/', datasetRoutes);
app.route('/', comparisonRoutes);
app.route('/', tableRoutes);
app.route('/', tableHistoryRoutes);
app.route('/', changeRowsRoutes);
app.route('/', jobRoutes);
app.route('/', auditLogRoutes);
app.route('/', storageTargetRoutes);
app.route('/', reconcileRoutes);
app.route('/', backupRoutes);
app.route('/', exportRoutes);
app.route('/', exportScheduleRoutes);
app.route('/', importRoutes);
app.route('/', webhookRoutes);
app.route('/', quarantineRoutes);
app.route('/', auditRoutes);
app.route('/', keyRoutes);
app.route('/', docsRoutes(app));

/** What no request began, counted and traced like one. */
async function byClock(ctx: Context, name: string, work: () => Promise<void>): Promise<void> {
  const trace = traceOf(undefined, ctx.config.OTEL_TRACES_SAMPLER_ARG);
  const from_ms = Date.now();
  let isFailed = true;
  try {
    await onBehalfOf({ actor: 'cron', requestId: '', trace }, work);
    isFailed = false;
  } finally {
    if (ctx.counters.isWorth) await ctx.counters.send(ctx);
    await endTrace(ctx, trace, { name, kind: 1, from_ms, isFailed, attributes: {} });
  }
}

/** How long one batch of messages is worked on; Cloudflare gives a consumer 15 minutes, and a lane its turn meanwhile. */
const messages_ms = 60_000;

export default {
  fetch: app.fetch,
  async scheduled(controller, env) {
    const ctx = contextFor(env);
    await byClock(ctx, 'minute', () => runMinute(ctx, controller.scheduledTime, env.FLUSH_QUEUE));
  },
  async queue(batch, env) {
    const ctx = contextFor(env);
    const until_ms = ctx.now() + messages_ms;
    await byClock(ctx, 'queue', async () => {
      await Promise.all(batch.messages.map((message) => flushMessage(ctx, message.body, until_ms)));
    });
  },
} satisfies ExportedHandler<Bindings, LaneMessage>;
