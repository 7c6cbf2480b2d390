import type { Params, Statement } from '../../stores/postgres/client.ts';
import { toJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import { msOf } from '../duration.ts';
import type { ChannelDefinition } from '../resources/channel.ts';
import type { AlertView } from './alert-view.ts';

/** An event that a channel is to be notified of. Notices of one channel and group may share a message. */
export type Notice = {
  channel: string;
  /** Id of the event. A channel is notified of it once. */
  event: string;
  /** `fired`, `resolved`, `changed`, `acknowledged`, `repeat-<n>` or `step-<n>`. */
  kind: string;
  ruleId: string;
  fingerprint: string;
  episode: number;
  groupKey: string;
  alert: AlertView;
};

type Channels = ReadonlyMap<string, Pick<ChannelDefinition, 'groupWait' | 'sendResolved'>>;

const defaultWait = '10s';

/**
 * The statements that record notices, for the transaction that records their events. Call `announceNotices` before the
 * transaction.
 *
 * The end of an episode is notified to a channel that got a message about the episode. Before that, both the notice of the end
 * and all that wait are dropped. A channel without `sendResolved` gets no notice of the end.
 *
 * @returns `wait_ms`: time until the first group is due
 */
export function noticeStatements(
  ctx: MonitoringDeps,
  dataset: string,
  notices: Notice[],
  channels: Channels,
): { statements: Statement[]; wait_ms: number } {
  const waits = new Map(notices.map(({ channel }) => [channel, msOf(channels.get(channel)?.groupWait ?? defaultWait)]));
  const wait_ms = Math.min(...waits.values());
  const kept = withoutUntold(notices);
  if (kept.length === 0) return { statements: [], wait_ms };
  const named = { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset };
  const groups = new Map(
    kept.map(({ channel, groupKey }) => [
      JSON.stringify([channel, groupKey]),
      { channel, group_key: groupKey, wait_ms: waits.get(channel) },
    ]),
  );
  const ended = kept.filter(({ kind }) => kind === 'resolved');
  const isWanted = ({ channel, kind }: Notice) => kind !== 'resolved' || channels.get(channel)?.sendResolved !== false;
  const statements: Statement[] = [
    // First, like the sender of a group: both lock the groups before the notices.
    [groupsSql, { ...named, groups: toJsonb([...groups.values()]) }],
    ...(ended.length > 0 ? [[dropSql, { ...named, ended: toJsonb(ended.map(rowOf)) }] satisfies [string, Params]] : []),
    [insertSql, { ...named, notices: toJsonb(kept.filter(isWanted).map(rowOf)) }],
  ];
  return { statements, wait_ms };
}

/** Leaves out episodes that begin and end in one commit: no message about them was sent. */
function withoutUntold(notices: Notice[]): Notice[] {
  const nameOf = ({ channel, ruleId, fingerprint, episode }: Notice) =>
    JSON.stringify([channel, ruleId, fingerprint, episode]);
  const begun = new Set(notices.filter(({ kind }) => kind === 'fired').map(nameOf));
  const over = new Set(notices.filter((each) => each.kind === 'resolved' && begun.has(nameOf(each))).map(nameOf));
  return notices.filter((each) => !over.has(nameOf(each)));
}

function rowOf({ ruleId, groupKey, ...rest }: Notice) {
  return { ...rest, rule_id: ruleId, group_key: groupKey };
}

const groupsSql = `
  insert into notification_groups (buffer, dataset, channel, group_key, due_at)
  select $buffer, $dataset, x.channel, x.group_key, now() + x.wait_ms * interval '1 millisecond'
    from jsonb_to_recordset($groups::jsonb) x(channel text, group_key text, wait_ms float8)
   order by x.channel, x.group_key
  on conflict (buffer, dataset, channel, group_key) do update
     set due_at = coalesce(notification_groups.due_at, greatest(excluded.due_at, notification_groups.next_at))`;

const ofEpisodeSql = `a.buffer = $buffer and a.dataset = $dataset and a.channel = x.channel and a.rule_id = x.rule_id
  and a.fingerprint = x.fingerprint and a.episode = x.episode`;

const dropSql = `
  delete from alert_notices a
   using jsonb_to_recordset($ended::jsonb) x(channel text, rule_id text, fingerprint text, episode integer)
   where ${ofEpisodeSql} and a.message is null`;

const insertSql = `
  insert into alert_notices (buffer, dataset, channel, event, kind, rule_id, fingerprint, episode, group_key, alert)
  select $buffer, $dataset, x.channel, x.event, x.kind, x.rule_id, x.fingerprint, x.episode, x.group_key, x.alert
    from jsonb_to_recordset($notices::jsonb)
      x(channel text, event text, kind text, rule_id text, fingerprint text, episode integer, group_key text, alert jsonb)
   where x.kind <> 'resolved' or exists (select from alert_notices a where ${ofEpisodeSql} and a.message is not null)
  on conflict (buffer, dataset, channel, event) do nothing`;
