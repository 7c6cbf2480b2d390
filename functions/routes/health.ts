import * as z from 'zod';
import type { Context } from '../../src/create-context.ts';
import { checkStores, type Readiness } from '../../src/telemetry/readiness.ts';
import { routes } from '../http/app.ts';
import { withTimestore } from '../http/middleware.ts';
import { openApiRoute } from '../http/openapi-route.ts';

const store = z.object({ ok: z.boolean(), latencyMs: z.number() });
const clickhouse = store.extend({
  kind: z.enum(['server', 'cloud']).optional().meta({ description: 'what it is; absent where it does not answer' }),
  version: z.string().optional(),
});

const readySchema = z
  .object({
    status: z.enum(['ok', 'degraded', 'unavailable']),
    stores: z.object({ redis: store, clickhouse, postgres: store, s3: store }),
    warnings: z.array(z.string()).meta({ description: 'what is not as it should be although everything answers' }),
  })
  .meta({ id: 'Readiness' });

/** Anybody may ask, and every question costs four stores an answer: a good one holds for a moment. */
const goodFor_ms = 1_000;
const lastGood = new WeakMap<Context, { readiness: Readiness; at_ms: number }>();

export const healthRoutes = routes()
  .get(
    '/health',
    openApiRoute({
      summary: 'Is the function alive',
      example: {},
      tag: 'Health',
      public: true,
      answers: { 200: { description: 'Yes', schema: z.object({ status: z.literal('ok') }) } },
    }),
    (c) => c.json({ status: 'ok' }),
  )
  .get(
    '/ready',
    openApiRoute({
      summary: 'Which stores can be used',
      example: {},
      description: '`degraded`: rows are accepted, and some answers are less fresh or not to be had.',
      tag: 'Health',
      public: true,
      answers: {
        200: { description: 'Rows are accepted', schema: readySchema },
        503: { description: 'The hot buffer is away, and nothing is accepted', schema: readySchema },
      },
    }),
    withTimestore,
    async (c) => {
      const readiness = await readinessOf(c.get('ctx'));
      return c.json(readiness satisfies z.input<typeof readySchema>, readiness.status === 'unavailable' ? 503 : 200);
    },
  );

async function readinessOf(ctx: Context): Promise<Readiness> {
  const last = lastGood.get(ctx);
  if (last !== undefined && ctx.now() - last.at_ms < goodFor_ms) return last.readiness;
  const readiness = await checkStores(ctx);
  if (readiness.status === 'ok') lastGood.set(ctx, { readiness, at_ms: ctx.now() });
  return readiness;
}
