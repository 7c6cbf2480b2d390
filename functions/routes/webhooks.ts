import * as z from 'zod';
import { slug } from '../../src/core/identifiers.ts';
import { notFound } from '../../src/core/not-found.ts';
import { checkJob } from '../../src/jobs/definition.ts';
import { createJob, type Job, jobStates, listJobs } from '../../src/jobs/job.ts';
import { notifyJob } from '../../src/operations/webhooks/notify.ts';
import {
  createWebhook,
  eventTypes,
  listWebhooks,
  readWebhook,
  removeWebhook,
  type Webhook,
} from '../../src/operations/webhooks/webhook.ts';
import { jobSchema, jobView, startJobs } from '../http/job-response.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, timeText, wanted } from '../http/paging.ts';
import { idParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const webhookBody = z.strictObject({
  url: z
    .url({ protocol: /^https?$/ })
    .max(2_000)
    .meta({
      description:
        'https:// with a public host name and port 443, or one of the hosts in `TIMESTORE_WEBHOOK_HOSTS` if it is set; a local ' +
        'deployment also sends to its own machine',
    }),
  events: z
    .array(z.enum(eventTypes))
    .min(1)
    .default([...eventTypes]),
  datasets: z
    .array(slug)
    .min(1)
    .max(1_000)
    .nullable()
    .default(null)
    .meta({ description: 'datasets whose events are sent; null for all' }),
});

const viewSchema = z
  .object({
    id: z.string(),
    url: z.string(),
    events: z.array(z.enum(eventTypes)),
    datasets: z.array(z.string()).nullable(),
    actor: z.string(),
    createdAt: z.string(),
  })
  .meta({ id: 'Webhook' });

const madeSchema = viewSchema
  .extend({
    secret: z.string().meta({ description: 'secret that signs the deliveries; only this response contains it' }),
  })
  .meta({ id: 'NewWebhook' });

const deliverySchema = z
  .object({
    id: z.string().meta({ description: 'id of the job, and the header `webhook-id`' }),
    state: z.enum(jobStates),
    event: z.record(z.string(), z.unknown()),
    attempts: z.array(
      z.object({ at: z.string(), status: z.int().nullable(), tookMs: z.int(), error: z.string().nullable() }),
    ),
    createdAt: z.string(),
    finishedAt: z.string().nullable(),
  })
  .meta({ id: 'Delivery' });

const path = '/v1/admin/webhooks';
const params = idParams('id of the webhook');
const example = { path: { id: 'b7a2c1de-0000-4000-8000-000000000000' } };

export const webhookRoutes = [
  route(
    {
      method: 'post',
      path,
      scope: 'admin',
      allDatasets: true,
      tag: 'Webhooks',
      summary: 'Create a webhook',
      description:
        'Sends each event as a POST, signed by the Standard Webhooks specification (https://www.standardwebhooks.com) with the ' +
        'headers `webhook-id`, `webhook-timestamp` and `webhook-signature`. Retries for a day and a half, until a response is 2xx.',
      body: webhookBody,
      responses: { 201: { description: 'The webhook', schema: madeSchema } },
      example: { body: { url: 'https://hooks.example.com/timestore', events: ['export.published'] } },
    },
    async ({ ctx, body, json }) => {
      const { secret, ...made } = await createWebhook(ctx, body);
      return json(201, { ...renderWebhook(made), secret });
    },
  ),
  route(
    {
      method: 'get',
      path,
      scope: 'admin',
      allDatasets: true,
      tag: 'Webhooks',
      summary: 'List webhooks',
      responses: { 200: { description: 'All webhooks', schema: z.object({ webhooks: z.array(viewSchema) }) } },
      example: {},
    },
    async ({ ctx, json }) => json(200, { webhooks: (await listWebhooks(ctx)).map(renderWebhook) }),
  ),
  route(
    {
      method: 'delete',
      path: `${path}/:id`,
      scope: 'admin',
      allDatasets: true,
      tag: 'Webhooks',
      summary: 'Delete a webhook',
      description: 'Pending deliveries are cancelled.',
      params,
      responses: { 204: { description: 'The webhook is deleted' } },
      example,
    },
    async ({ c, ctx, params: { id } }) => {
      if (await removeWebhook(ctx, id)) return c.body(null, 204);
      throw notFound({ kind: 'Webhook', id });
    },
  ),
  route(
    {
      method: 'post',
      path: `${path}/:id/test`,
      scope: 'admin',
      allDatasets: true,
      tag: 'Webhooks',
      summary: 'Send a test event',
      description: 'Starts a job that delivers an event of type `test`.',
      params,
      responses: { 202: { description: 'The job', schema: jobSchema } },
      example,
    },
    async ({ c, ctx, params, json }) => {
      const { id } = await readWebhook(ctx, params.id);
      const event = { type: 'test', timestamp: timeText(ctx.now()), data: {} };
      const job = await createJob(ctx, {
        kind: 'notify',
        dataset: null,
        table: null,
        request: { webhook: id, event },
      });
      startJobs(c);
      return json(202, jobView(job));
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/:id/deliveries`,
      scope: 'admin',
      allDatasets: true,
      tag: 'Webhooks',
      summary: 'List deliveries',
      description:
        'Lists deliveries with all attempts, newest first. `POST /v1/admin/jobs/{id}/retry` retries a failed delivery.',
      params,
      query: z.strictObject(numberedQuery),
      responses: {
        200: {
          description: 'A page of deliveries',
          schema: z.object({ deliveries: z.array(deliverySchema), next: nextSchema }),
        },
      },
      example,
    },
    async ({ ctx, params, query: { cursor, limit }, json }) => {
      const { id } = await readWebhook(ctx, params.id);
      const found = await listJobs(ctx, { webhook: id, before: numberOf(cursor) }, wanted(limit));
      const { items, last } = pageOf(found, limit);
      return json(200, { deliveries: items.map(renderDelivery), next: last?.n ?? null });
    },
  ),
];

function renderDelivery(job: Job): z.input<typeof deliverySchema> {
  const { id, state, request, progress, result, createdAt_ms, finishedAt_ms } = checkJob(notifyJob, job);
  const { attempts } = result ?? progress;
  return {
    id,
    state,
    event: request.event,
    createdAt: timeText(createdAt_ms),
    attempts: attempts.map(({ took_ms, ...rest }) => ({ ...rest, tookMs: took_ms })),
    finishedAt: finishedAt_ms === null ? null : timeText(finishedAt_ms),
  };
}

function renderWebhook({ id, url, events, datasets, actor, createdAt_ms }: Webhook): z.input<typeof viewSchema> {
  return { id, url, events, datasets, actor, createdAt: timeText(createdAt_ms) };
}
