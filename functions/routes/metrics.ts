import * as z from 'zod';
import { metricsText } from '../../src/telemetry/metrics-text.ts';
import { route } from '../http/route.ts';

export const metricsRoutes = [
  route(
    {
      method: 'get',
      path: '/metrics',
      scope: 'admin',
      allDatasets: true,
      tag: 'Health',
      summary: 'Get metrics',
      description:
        'Returns metrics in the text format of Prometheus, from state that all instances share. Metrics of an unavailable store ' +
        'are missing; `timestore_store_up` reports the state of each store.',
      responses: { 200: { description: 'The metrics', type: 'text/plain', schema: z.string() } },
      example: {},
    },
    async ({ c, ctx }) => {
      return c.body(await metricsText(ctx), 200, { 'content-type': 'text/plain; version=0.0.4' });
    },
  ),
];
