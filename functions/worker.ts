import { Hono } from 'hono';
import { TimestoreError } from '../src/errors.ts';
import { flushWhileDue } from '../src/flush/flush-due.ts';
import { adminRoutes } from './admin.ts';
import { type App, type Bindings, contextFor } from './app.ts';
import { docsRoutes } from './docs.ts';
import { healthRoutes } from './health.ts';
import { problem } from './problem.ts';
import { queryRoutes } from './query.ts';
import { requestEvents, withTimestore } from './request.ts';
import { rowRoutes } from './rows.ts';

const app = new Hono<App>();
app.use(requestEvents);
app.use('/v1/*', withTimestore);
app.onError((error, c) => problem(c, error));
app.notFound((c) =>
  problem(c, new TimestoreError('not-found', `There is no ${c.req.method} ${c.req.path}. See /docs.`)),
);
app.route('/', healthRoutes);
app.route('/', rowRoutes);
app.route('/', queryRoutes);
app.route('/', adminRoutes);
app.route('/', docsRoutes(app));

/** Passes within the minute that the trigger comes every one of. */
const pause_ms = 5_000;
const passes_ms = 50_000;

export default {
  fetch: app.fetch,
  async scheduled(_controller, env) {
    const ctx = contextFor(env);
    await flushWhileDue(ctx, { pause_ms, until_ms: ctx.now() + passes_ms });
  },
} satisfies ExportedHandler<Bindings>;
