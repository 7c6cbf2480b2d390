import * as z from 'zod';
import { auditLine } from '../../catalog/audit-log/statement.ts';
import { ApiError } from '../../core/errors.ts';
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

/** Who is told of events. */
export type Webhook = {
  id: string;
  url: string;
  events: EventType[];
  /** Null: of all. */
  datasets: string[] | null;
  actor: string;
  createdAt_ms: number;
};

const columnsSql = `id, url, events, datasets, actor, ${epochMs('created_at')} as "createdAt_ms"`;

/** As https://www.standardwebhooks.com has them: 24 random bytes. */
function newSecret(): string {
  return `whsec_${Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('base64')}`;
}

/**
 * The secret is answered here and never again.
 *
 * @throws TimestoreError `invalid-request` for an address that none may be at; StoreError
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
  const [made] = checkRows(
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
  if (made === undefined) throw new Error('an insert returns its line');
  return { ...made, secret };
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
  if (found === undefined) throw new ApiError('not-found', `There is no webhook ${id}.`);
  return found;
}

/** What was not delivered by then is not delivered any more. Whether there was one. */
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
 * The statement that has everybody told who wants to know: a job for each, made with what it tells of or not at all.
 *
 * @param id of the event, from which those of its deliveries are made
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
