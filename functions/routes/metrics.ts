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
      summary: 'Metrics',
      description:
        'In the text format of Prometheus, from state that all instances share. What a store that is away would tell is left ' +
        'out, and `timestore_store_up` says which it is.',
      responses: { 200: { description: 'Metrics', type: 'text/plain', schema: z.string() } },
      example: {},
    },
    async ({ c, ctx }) => {
      return c.body(await metricsText(ctx), 200, { 'content-type': 'text/plain; version=0.0.4' });
    },
  ),
];
