import * as z from 'zod';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs, type Statement } from '../../stores/postgres/client.ts';
import { toJsonb, toText } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import { readConfig } from '../resources/store.ts';
import type { AlertView } from './alert-view.ts';
import { fingerprintOf } from './fingerprint.ts';
import { announceNotices } from './marks.ts';
import { noticeStatements } from './notices.ts';

/** Stands for a rule in ids. No resource has such an id. */
const ruleId = '_channel';

/**
 * The statements that mark a channel as broken and notify the other channels, for the transaction that records the failed
 * delivery. Later messages are tried still; the first that is accepted ends it.
 *
 * @param why without addresses
 * @throws StoreError
 */
export async function channelBroke(
  ctx: MonitoringDeps,
  dataset: string,
  channel: string,
  episode: number,
  why: string,
): Promise<Statement[]> {
  const alert = viewOf(dataset, channel, episode, why, { at_ms: ctx.now(), endsAt_ms: null });
  return [
    [
      `insert into monitor_channel_states as s (buffer, dataset, channel, episode, reason)
       values ($buffer, $dataset, $channel, $episode, $reason)
       on conflict (buffer, dataset, channel) do update
          set episode = excluded.episode, reason = excluded.reason, broken_at = now(), works_at = null`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, channel, episode, reason: toText(why) },
    ],
    ...(await eventStatements(ctx, alert, 'fired', channel)),
  ];
}

const stateRow = z.object({ reason: z.string(), brokenAt_ms: z.number() });

/** The statements that end it. Throws StoreError. */
export async function channelWorks(
  ctx: MonitoringDeps,
  dataset: string,
  channel: string,
  episode: number,
): Promise<Statement[]> {
  const named = { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, channel };
  const [state] = checkRows(
    stateRow,
    await ctx.postgres.rows(
      `select reason, ${epochMs('broken_at')} as "brokenAt_ms" from monitor_channel_states
        where buffer = $buffer and dataset = $dataset and channel = $channel`,
      named,
    ),
  );
  const times = { at_ms: state?.brokenAt_ms ?? ctx.now(), endsAt_ms: ctx.now() };
  const alert = viewOf(dataset, channel, episode, state?.reason ?? '', times);
  return [
    [
      `update monitor_channel_states set works_at = now()
        where buffer = $buffer and dataset = $dataset and channel = $channel`,
      named,
    ],
    ...(await eventStatements(ctx, alert, 'resolved', channel)),
  ];
}

async function eventStatements(
  ctx: MonitoringDeps,
  alert: AlertView,
  kind: 'fired' | 'resolved',
  channel: string,
): Promise<Statement[]> {
  const { dataset, fingerprint, episode } = alert;
  const { channels } = await readConfig(ctx, dataset);
  const others = [...channels.values()].filter((each) => {
    return each.channelId !== channel && each.enabled && each.kind !== 'watchdog';
  });
  const id = `${ruleId}/${fingerprint}/${episode}/${kind}`;
  const event: Statement = [
    `insert into alert_events (buffer, dataset, id, at, kind, rule_id, fingerprint, service_id, episode, detail)
     values ($buffer, $dataset, $id, now(), $kind, $ruleId, $fingerprint, '', $episode, $detail::jsonb)
     on conflict (buffer, dataset, id) do nothing`,
    {
      buffer: ctx.config.TIMESTORE_KEY_PREFIX,
      dataset,
      id,
      kind,
      ruleId,
      fingerprint,
      episode,
      detail: toJsonb(alert),
    },
  ];
  const notices = others.map(({ channelId }) => {
    return { channel: channelId, event: id, kind, ruleId, fingerprint, episode, groupKey: ruleId, alert };
  });
  if (notices.length === 0) return [event];
  const { statements, wait_ms } = noticeStatements(ctx, dataset, notices, channels);
  // The runner commits them after this step.
  await (await announceNotices(ctx)).soon(wait_ms);
  return [event, ...statements];
}

function viewOf(
  dataset: string,
  channel: string,
  episode: number,
  why: string,
  { at_ms, endsAt_ms }: { at_ms: number; endsAt_ms: number | null },
): AlertView {
  const labels = { channel };
  const ending = endsAt_ms === null ? 'does not accept messages' : 'accepts messages again';
  return {
    dataset,
    ruleId,
    ruleName: 'Notification channel',
    serviceId: '',
    label: `Channel ${channel}`,
    severity: 'error',
    status: endsAt_ms === null ? 'firing' : 'resolved',
    reason: 'breach',
    labels,
    annotations: { summary: `Channel ${channel} ${ending}`, description: why },
    value: null,
    threshold: null,
    condition: 'delivery',
    startsAt_ms: at_ms,
    firedAt_ms: at_ms,
    endsAt_ms,
    episode,
    fingerprint: fingerprintOf(labels),
    dependents: 0,
  };
}
