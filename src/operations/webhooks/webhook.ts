import * as z from 'zod';
import { auditLine } from '../../catalog/audit-log/statement.ts';
import { assertDefined } from '../../core/assert.ts';
import { ApiError } from '../../core/errors.ts';
import { notFound } from '../../core/not-found.ts';
import { currentActor } from '../../core/request-context.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs, type Params, type Statement } from '../../stores/postgres/client.ts';
import { toJsonb } from '../../stores/postgres/jsonb.ts';
import type { OperationDeps } from '../deps.ts';
import { addressProblem } from './address.ts';

export const eventTypes = ['export.published'] as const;
export type EventType = (typeof eventTypes)[number];

const webhookRow = z.object({
  id: z.string(),
  url: z.string(),
  events: z.array(z.enum(eventTypes)),
  datasets: z.array(z.string()).nullable(),
  actor: z.string(),
  createdAt_ms: z.number(),
});

/** A receiver of events. */
export type Webhook = {
  id: string;
  url: string;
  events: EventType[];
  /** Null: all datasets. */
  datasets: string[] | null;
  actor: string;
  createdAt_ms: number;
};

const columnsSql = `id, url, events, datasets, actor, ${epochMs('created_at')} as "createdAt_ms"`;

/** 24 random bytes, as https://www.standardwebhooks.com specifies. */
function newSecret(): string {
  return `whsec_${Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('base64')}`;
}

/**
 * Creates a webhook. Only this call returns the secret.
 *
 * @throws TimestoreError `invalid-request` for an address that is not allowed; StoreError
 */
export async function createWebhook(
  ctx: OperationDeps,
  { url, events, datasets }: Pick<Webhook, 'url' | 'events' | 'datasets'>,
): Promise<Webhook & { secret: string }> {
  const problem = addressProblem(url, ctx.config);
  if (problem !== undefined) throw new ApiError('invalid-request', `url: ${problem}.`);
  const secret = newSecret();
  const params: Params = {
    id: crypto.randomUUID(),
    url,
    secret,
    events: JSON.stringify(events),
    datasets: datasets === null ? null : JSON.stringify(datasets),
    actor: currentActor().actor,
    buffer: ctx.config.TIMESTORE_KEY_PREFIX,
  };
  const line = auditLine({ action: 'webhook.create', detail: { url, events, datasets } }, 'changed', params);
  const [created] = checkRows(
    webhookRow,
    await ctx.postgres.rows(
      `with changed as (
       insert into webhooks (id, url, secret, events, datasets, actor, buffer)
       values ($id, $url, $secret, $events::jsonb, $datasets::jsonb, $actor, $buffer) returning *),
     line as (${line})
     select ${columnsSql} from changed`,
      params,
    ),
  );
  return { ...assertDefined(created, 'an insert returns its row'), secret };
}

export async function listWebhooks(ctx: OperationDeps): Promise<Webhook[]> {
  return checkRows(
    webhookRow,
    await ctx.postgres.rows(
      `select ${columnsSql} from webhooks where buffer = $buffer order by created_at limit 1000`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX },
    ),
  );
}

/** Throws TimestoreError `not-found`; StoreError. */
export async function readWebhook(ctx: OperationDeps, id: string): Promise<Webhook & { secret: string }> {
  const [found] = checkRows(
    webhookRow.extend({ secret: z.string() }),
    await ctx.postgres.rows(`select ${columnsSql}, secret from webhooks where id = $id and buffer = $buffer`, {
      id,
      buffer: ctx.config.TIMESTORE_KEY_PREFIX,
    }),
  );
  if (found === undefined) throw notFound({ kind: 'Webhook', id });
  return found;
}

/** Removes a webhook; its pending events are not delivered. Returns whether the webhook existed. */
export async function removeWebhook(ctx: OperationDeps, id: string): Promise<boolean> {
  const params: Params = { id, buffer: ctx.config.TIMESTORE_KEY_PREFIX };
  const line = auditLine({ action: 'webhook.delete', detail: { webhook: id } }, 'changed', params);
  const removed = await ctx.postgres.rows(
    `with changed as (delete from webhooks where id = $id and buffer = $buffer returning id), line as (${line})
     select id from changed`,
    params,
  );
  return removed.length > 0;
}

/**
 * The statement that creates a delivery job for each webhook that subscribes to an event. It belongs to the transaction of
 * the change that the event reports.
 *
 * @param id of the event; the ids of its deliveries begin with it
 */
export function notifyStatement(
  ctx: OperationDeps,
  id: string,
  type: EventType,
  dataset: string,
  data: object,
): Statement {
  const event = toJsonb({ type, timestamp: new Date(ctx.now()).toISOString(), data });
  return [
    `insert into jobs (id, kind, dataset, "table", request, actor, request_id, buffer)
     select $id || '-' || w.id, 'notify', $dataset, null, jsonb_build_object('webhook', w.id, 'event', $event::jsonb), w.actor, $id, $buffer
       from webhooks w
      where w.buffer = $buffer and w.events ? $type and (w.datasets is null or w.datasets ? $dataset)
     on conflict (id) do nothing`,
    { id, dataset, event, buffer: ctx.config.TIMESTORE_KEY_PREFIX, type },
  ];
}
