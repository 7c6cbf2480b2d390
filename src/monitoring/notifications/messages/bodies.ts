import type { ChannelDefinition } from '../../resources/channel.ts';
import { alertmanagerBody } from './alertmanager.ts';
import { emailBody } from './email.ts';
import type { Message } from './message.ts';
import { pagerdutyBodies } from './pagerduty.ts';
import { slackBody } from './slack.ts';
import { webhookBody } from './webhook.ts';

/** The finished bodies of a message's requests, in their order. They contain no secret. Empty for a watchdog. */
export function bodiesOf(message: Message, channel: ChannelDefinition): string[] {
  switch (channel.kind) {
    case 'webhook':
      return [webhookBody(message)];
    case 'slack':
      return [slackBody(message)];
    case 'pagerduty':
      return pagerdutyBodies(message);
    case 'alertmanager':
      return [alertmanagerBody(message)];
    case 'email':
      return [emailBody(message, channel)];
    case 'watchdog':
      return [];
  }
}

/** Programs get every alert. People get the first ones of many, and the number of the others. */
export function isForPeople({ kind }: Pick<ChannelDefinition, 'kind'>): boolean {
  return kind === 'slack' || kind === 'email';
}
