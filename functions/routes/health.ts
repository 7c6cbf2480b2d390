import * as z from 'zod';
import type { Context } from '../../src/create-context.ts';
import { checkStores, type Readiness } from '../../src/telemetry/readiness.ts';
import { route } from '../http/route.ts';

const store = z.object({ ok: z.boolean(), latencyMs: z.number() });
const clickhouse = store.extend({
  kind: z
    .enum(['server', 'cloud'])
    .optional()
    .meta({ description: 'kind of deployment; absent if it does not answer' }),
  version: z.string().optional(),
});

const readySchema = z
  .object({
    status: z.enum(['ok', 'degraded', 'unavailable']),
    stores: z.object({ redis: store, clickhouse, postgres: store, s3: store }),
    warnings: z.array(z.string()).meta({ description: 'problems of stores that answer' }),
  })
  .meta({ id: 'Readiness' });

/** The route is public and every check queries four stores, so a good result is reused for a moment. */
const goodFor_ms = 1_000;
const lastGood = new WeakMap<Context, { readiness: Readiness; at_ms: number }>();

export const healthRoutes = [
  route(
    {
      method: 'get',
      path: '/health',
      scope: 'public',
      tag: 'Health',
      summary: 'Liveness probe',
      responses: { 200: { description: 'The function is running', schema: z.object({ status: z.literal('ok') }) } },
      example: {},
    },
    ({ json }) => json(200, { status: 'ok' }),
  ),
  route(
    {
      method: 'get',
      path: '/ready',
      scope: 'public',
      tag: 'Health',
      summary: 'Readiness probe',
      description:
        'Reports the state of each store. `degraded`: rows are accepted; some answers are less fresh or unavailable.',
      responses: {
        200: { description: 'Rows are accepted', schema: readySchema },
        503: { description: 'The hot buffer is unavailable; rows are not accepted', schema: readySchema },
      },
      example: {},
    },
    async ({ ctx, json }) => {
      const readiness = await readinessOf(ctx);
      return json(readiness.status === 'unavailable' ? 503 : 200, readiness);
    },
  ),
];

async function readinessOf(ctx: Context): Promise<Readiness> {
  const last = lastGood.get(ctx);
  if (last !== undefined && ctx.now() - last.at_ms < goodFor_ms) return last.readiness;
  const readiness = await checkStores(ctx);
  if (readiness.status === 'ok') lastGood.set(ctx, { readiness, at_ms: ctx.now() });
  return readiness;
}
