import * as z from 'zod';
import { jobStates } from '../../src/jobs/job.ts';
import { type Delivery, listDeliveries } from '../../src/monitoring/notifications/delivery-log.ts';
import { sendTestMessage } from '../../src/monitoring/notifications/test-message.ts';
import { resourceId } from '../../src/monitoring/resources/common.ts';
import { requireDataset } from '../http/auth.ts';
import { startJobs } from '../http/job-response.ts';
import { datasetQuery, monitorReadScopes } from '../http/monitor-request.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, timeText, wanted } from '../http/paging.ts';
import { route } from '../http/route.ts';

const deliverySchema = z
  .object({
    id: z.string().meta({ description: 'id of the message, and the header `webhook-id`' }),
    channel: z.string(),
    format: z.string().meta({ description: 'kind of the channel at the time of the message' }),
    summary: z.string(),
    alerts: z.int(),
    truncatedAlerts: z.int().meta({ description: 'alerts that the message counts and does not contain' }),
    isTest: z.boolean(),
    state: z.enum([...jobStates, 'uncertain']).meta({
      description: '`uncertain`: the answer was lost, and the channel does not repeat such messages',
    }),
    error: z.string().nullable(),
    tries: z.int(),
    attempts: z
      .array(
        z.object({
          at: z.string(),
          status: z.int().nullable(),
          tookMs: z.int(),
          error: z.string().nullable(),
          uncertain: z.boolean().meta({ description: 'the receiver may have taken the message' }),
        }),
      )
      .meta({ description: 'the first tries and the latest ones' }),
    createdAt: z.string(),
    finishedAt: z.string().nullable(),
  })
  .meta({ id: 'MonitorDelivery' });

const tag = 'Monitoring';

export const monitorNotificationRoutes = [
  route(
    {
      method: 'get',
      path: '/v1/monitor/deliveries',
      scope: monitorReadScopes,
      tag,
      summary: 'List deliveries of notifications',
      description: 'Lists messages to channels with their tries, newest first.',
      query: z.strictObject({ ...datasetQuery, channel: resourceId.optional(), ...numberedQuery }),
      responses: {
        200: {
          description: 'A page of deliveries',
          schema: z.object({ deliveries: z.array(deliverySchema), next: nextSchema }),
        },
      },
      example: { query: { limit: '10' } },
    },
    async ({ c, ctx, query: { dataset, channel, cursor, limit }, json }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      const found = await listDeliveries(ctx, dataset, { channel, before: numberOf(cursor), limit: wanted(limit) });
      const { items, last } = pageOf(found, limit);
      return json(200, { deliveries: items.map(renderDelivery), next: last?.n ?? null });
    },
  ),
  route(
    {
      method: 'post',
      path: '/v1/monitor/channels/:id/test',
      scope: 'admin',
      tag,
      summary: 'Send a test message',
      description:
        'Sends a message about an alert that is marked as a test, once. The answer does not wait for its delivery, which ' +
        '`GET /v1/monitor/deliveries` shows.',
      params: { id: resourceId },
      query: z.strictObject(datasetQuery),
      responses: {
        202: {
          description: 'The message',
          schema: z.object({ id: z.string().meta({ description: 'id of the message' }) }),
        },
      },
      errors: ['not-found', 'conflict'],
      example: { path: { id: 'ops' } },
    },
    async ({ c, ctx, params: { id }, query: { dataset }, json }) => {
      requireDataset(c, ['admin'], dataset);
      const message = await sendTestMessage(ctx, dataset, id);
      startJobs(c);
      return json(202, { id: message });
    },
  ),
];

function renderDelivery({
  createdAt_ms,
  finishedAt_ms,
  n: _,
  attempts,
  ...rest
}: Delivery): z.input<typeof deliverySchema> {
  return {
    ...rest,
    attempts: attempts.map(({ took_ms, ...each }) => ({ ...each, tookMs: took_ms })),
    createdAt: timeText(createdAt_ms),
    finishedAt: finishedAt_ms === null ? null : timeText(finishedAt_ms),
  };
}
