import * as z from 'zod';
import type { Statement } from '../../stores/postgres/client.ts';
import { toJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import type { ChannelDefinition } from '../resources/channel.ts';
import { bodiesOf } from './messages/bodies.ts';
import { headingOf, type Message } from './messages/message.ts';

/** Request of a job of kind `alert`: a message with its finished bodies, one for each request to the receiver. */
export const messageRequest = z.object({
  channel: z.string(),
  /** Kind of the channel at the time of the message. */
  format: z.string(),
  summary: z.string(),
  alerts: z.number(),
  truncatedAlerts: z.number(),
  isTest: z.boolean(),
  bodies: z.array(z.string()),
});

export type MessageRequest = z.output<typeof messageRequest>;

/** Messages of a channel are delivered one after the other, so that the end of an alert never overtakes its beginning. */
export function orderKeyOf(dataset: string, channel: string): string {
  return `alert/${dataset}/${channel}`;
}

export function requestOf(message: Message, definition: ChannelDefinition, isTest = false): MessageRequest {
  return {
    channel: message.channel,
    format: definition.kind,
    summary: headingOf(message),
    alerts: message.alerts.length,
    truncatedAlerts: message.truncatedAlerts,
    isTest,
    bodies: bodiesOf(message, definition),
  };
}

/** Columns and values of the insert of a message's job. */
export function jobInsert(
  ctx: MonitoringDeps,
  { id, dataset, request }: { id: string; dataset: string; request: MessageRequest },
): Statement {
  return [
    `insert into jobs (id, kind, dataset, "table", request, actor, request_id, buffer, order_key)
     values ($job, 'alert', $dataset, null, $request::jsonb, 'cron', $job, $buffer, $orderKey)`,
    {
      job: id,
      dataset,
      request: toJsonb(request),
      buffer: ctx.config.TIMESTORE_KEY_PREFIX,
      orderKey: orderKeyOf(dataset, request.channel),
    },
  ];
}
