import * as z from 'zod';
import { checkRows } from '../../stores/check-rows.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import { type ChannelDefinition, channelDefinition } from '../resources/channel.ts';
import type { SecretRef } from '../resources/common.ts';
import { readSecrets } from '../resources/secrets.ts';

/** A channel with the values of its secrets. Only a delivery has them, and only while it lasts. */
export type Target = {
  definition: ChannelDefinition;
  url: string;
  /** Configured headers. */
  headers: Record<string, string>;
  routingKey: string | undefined;
  signingSecret: string | undefined;
  /** How often the channel has broken, and whether it is broken now. */
  episode: number;
  isBroken: boolean;
};

const pagerdutyUrl = 'https://events.pagerduty.com/v2/enqueue';

const channelRow = z.object({ definition: z.unknown(), episode: z.number().nullable(), isBroken: z.boolean() });

/**
 * Reads a channel for a delivery.
 *
 * @returns undefined for a channel that was deleted; `missing` names a secret that was deleted
 * @throws StoreError
 */
export async function readTarget(
  ctx: MonitoringDeps,
  dataset: string,
  channel: string,
): Promise<Target | { missing: string } | undefined> {
  const [row] = checkRows(
    channelRow,
    await ctx.postgres.rows(
      `select r.definition, s.episode, s.broken_at is not null and s.works_at is null as "isBroken"
         from monitor_resources r left join monitor_channel_states s
           on s.buffer = r.buffer and s.dataset = r.dataset and s.channel = r.id
        where r.buffer = $buffer and r.dataset = $dataset and r.kind = 'channel' and r.id = $channel`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, channel },
    ),
  );
  if (row === undefined) return undefined;
  const definition = channelDefinition.parse(fromJsonb(row.definition));
  const filled = await fillSecrets(ctx, dataset, definition);
  return 'missing' in filled ? filled : { ...filled, definition, episode: row.episode ?? 0, isBroken: row.isBroken };
}

type Filled = Pick<Target, 'url' | 'headers' | 'routingKey' | 'signingSecret'>;

async function fillSecrets(
  ctx: MonitoringDeps,
  dataset: string,
  definition: ChannelDefinition,
): Promise<Filled | { missing: string }> {
  const headers = 'headers' in definition ? Object.entries(definition.headers) : [];
  const routingKey = definition.kind === 'pagerduty' ? definition.routingKey : undefined;
  const signingSecret = 'signingSecret' in definition ? definition.signingSecret : undefined;
  const url = definition.url ?? pagerdutyUrl;
  const texts = [url, routingKey, signingSecret, ...headers.map(([, value]) => value)];
  const names = texts.flatMap((text) => (typeof text === 'object' ? [text.secret] : []));
  const values = await readSecrets(ctx, dataset, names);
  const missing = names.find((name) => !values.has(name));
  if (missing !== undefined) return { missing };
  const filled = (text: string | SecretRef) => (typeof text === 'string' ? text : (values.get(text.secret) ?? ''));
  return {
    url: filled(url),
    headers: Object.fromEntries(headers.map(([name, text]) => [name, filled(text)])),
    routingKey: routingKey === undefined ? undefined : filled(routingKey),
    signingSecret: signingSecret === undefined ? undefined : filled(signingSecret),
  };
}
