import { createHash } from 'node:crypto';
import * as z from 'zod';
import { checkRows } from '../../stores/check-rows.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import { msOf } from '../duration.ts';
import type { ChannelDefinition } from '../resources/channel.ts';
import { alertView } from './alert-view.ts';
import { lockSql, ofGroupsSql } from './group-lock.ts';
import { jobInsert, requestOf } from './message-job.ts';
import { isForPeople } from './messages/bodies.ts';
import { alerts_max, type Message, type Told } from './messages/message.ts';

/** Notices of one message. */
const notices_max = 20_000;

const waitingRow = z.object({
  n: z.string(),
  event: z.string(),
  kind: z.string(),
  episode: z.string(),
  alert: z.unknown(),
});

type Waiting = { n: string; event: string; kind: string; episode: string; alert: unknown };

type Groups = { dataset: string; id: string; definition: ChannelDefinition; groups: string[] };

/**
 * Makes a message of the notices that wait in groups of a channel: the notices get the id of the message, and the job with the
 * finished message is recorded, in one transaction. Returns whether notices waited.
 *
 * Programs get all notices, in messages of 50. People get one message, which says how many more alerts it stands for.
 *
 * @throws StoreError, also if the notices have changed meanwhile: nothing has happened then
 */
export async function makeMessage(ctx: MonitoringDeps, { dataset, id, definition, groups }: Groups): Promise<boolean> {
  const named = { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, channel: id, groups };
  const waiting = await readWaiting(ctx, named, definition);
  const [first] = waiting.rows;
  if (first === undefined) {
    await ctx.postgres.transaction([
      [lockSql, named],
      [
        `update notification_groups g set due_at = null where ${ofGroupsSql} and not ${hasOthersSql}`,
        { ...named, ns: [] },
      ],
    ]);
    return false;
  }
  const groupKey = groups.length === 1 ? (groups[0] ?? '') : '';
  const message: Message = { dataset, channel: id, groupKey, at_ms: ctx.now(), ...shownOf(waiting.rows) };
  const interval_ms = msOf(definition.groupInterval);
  // The number of a notice is never given again, so no other message has this id.
  const job = `msg_${digest(`${named.buffer}/${dataset}/${id}/${first.n}`)}`;
  const ns = waiting.rows.map(({ n }) => n);
  const params = { ...named, ns, job, taken: ns.length, interval_ms, rest_ms: waiting.isAll ? interval_ms : 0 };
  await ctx.postgres.transaction([
    [lockSql, named],
    // Divides by zero if another instance has sent or dropped one of the notices, which rolls the transaction back.
    [
      `with taken as (
         update alert_notices set message = $job
          where buffer = $buffer and dataset = $dataset and channel = $channel and n = any($ns::bigint[]) and message is null
         returning n)
       select 1 / (case when count(*) = $taken then 1 else 0 end) from taken`,
      params,
    ],
    [
      `update notification_groups g
          set seq = seq + 1, next_at = now() + $interval_ms * interval '1 millisecond',
              due_at = case when ${hasOthersSql} then now() + $rest_ms * interval '1 millisecond' end
        where ${ofGroupsSql}`,
      params,
    ],
    jobInsert(ctx, { id: job, dataset, request: requestOf(message, definition) }),
  ]);
  return true;
}

/** Whether notices of a group `g` wait, those with the numbers `$ns` left out. */
const hasOthersSql = `exists (
  select from alert_notices a
   where a.buffer = g.buffer and a.dataset = g.dataset and a.channel = g.channel and a.group_key = g.group_key
     and a.message is null and a.n <> all($ns::bigint[]))`;

/** The notices of the next message, with the alerts of the first ones. */
async function readWaiting(
  ctx: MonitoringDeps,
  named: { buffer: string; dataset: string; channel: string; groups: string[] },
  definition: ChannelDefinition,
): Promise<{ rows: Waiting[]; isAll: boolean }> {
  const limit = isForPeople(definition) ? notices_max : alerts_max;
  const rows = checkRows(
    waitingRow,
    await ctx.postgres.rows(
      `select n, event, kind, jsonb_build_array(rule_id, fingerprint, episode)::text as episode,
              case when row_number() over (order by n) <= $alerts_max then alert end as alert
         from alert_notices where ${ofGroupsSql} and message is null order by n limit $wanted`,
      { ...named, alerts_max, wanted: limit + 1 },
    ),
  );
  return { rows: rows.slice(0, limit), isAll: rows.length <= limit };
}

/** Each episode once, as its newest notice says. */
function shownOf(rows: Waiting[]): Pick<Message, 'alerts' | 'truncatedAlerts'> {
  const shown = new Map<string, Told>();
  const others = new Set<string>();
  for (const { event, kind, episode, alert } of rows) {
    if (alert !== null) {
      shown.delete(episode);
      shown.set(episode, { event, kind, alert: alertView.parse(fromJsonb(alert)) });
    } else if (!shown.has(episode)) others.add(episode);
  }
  return { alerts: [...shown.values()], truncatedAlerts: others.size };
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
