import * as z from 'zod';
import { duration } from '../duration.ts';
import { headers, secretRef, secretText } from './common.ts';

const url = secretText(z.string().max(2_000));

const shared = {
  sendResolved: z.boolean().default(true),
  groupBy: z
    .array(z.string().max(64))
    .max(10)
    .default(['rule_id'])
    .meta({ description: 'labels that alerts of a message share' }),
  groupWait: duration({ least: '5s', most: '10m' }).default('10s'),
  groupInterval: duration({ least: '30s', most: '1h' }).default('60s'),
  onUncertain: z.enum(['repeat', 'drop']).default('repeat').meta({
    description: 'after a lost answer: send the message again, with the same id, or not',
  }),
  enabled: z.boolean().default(true),
};

/** A receiver of notifications. Addresses and keys are secrets: answers name them and do not contain them. */
export const channelDefinition = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('webhook'),
    url,
    headers: headers.default({}),
    signingSecret: secretRef.optional(),
    ...shared,
  }),
  z.strictObject({ kind: z.literal('slack'), url, ...shared }),
  z.strictObject({
    kind: z.literal('pagerduty'),
    routingKey: secretText(z.string().max(200)),
    url: url.optional(),
    ...shared,
  }),
  z.strictObject({
    kind: z.literal('alertmanager'),
    url,
    headers: headers.default({}),
    signingSecret: secretRef.optional(),
    ...shared,
  }),
  z.strictObject({
    kind: z.literal('email'),
    url,
    headers: headers.default({}),
    from: z.string().max(320),
    to: z.array(z.string().max(320)).min(1).max(50),
    body: z
      .unknown()
      .optional()
      .meta({ description: 'JSON of the provider with {{ from }}, {{ to }}, {{ subject }}, {{ text }} as values' }),
    ...shared,
  }),
  z.strictObject({ kind: z.literal('watchdog'), url, ...shared }),
]);

export type ChannelDefinition = z.output<typeof channelDefinition>;
