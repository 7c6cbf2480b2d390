import * as z from 'zod';
import { describeError } from '../../core/log.ts';
import { markNextDue } from '../../jobs/runner.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs } from '../../stores/postgres/client.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import { type ChannelDefinition, channelDefinition } from '../resources/channel.ts';
import { lockSql, ofGroupsSql } from './group-lock.ts';
import { makeMessage } from './make-message.ts';
import { beginLook, noteGroups } from './marks.ts';

/** Groups that one look takes. The others are due still. */
const groups_max = 1_000;
/** Messages of a channel that wait for delivery, above which its groups share a message, and above which they wait. */
const apart_max = 10;
const waiting_max = 20;
const hold_ms = 15_000;

/**
 * Makes a message of each group that is due, as a job. A pass in which none can be due costs one command of Redis and no
 * statement.
 *
 * @returns the number of messages
 * @throws StoreError
 */
export async function sendDueGroups(ctx: MonitoringDeps, until_ms: number): Promise<number> {
  const look = await beginLook(ctx);
  if (look === undefined) return 0;
  let made = 0;
  for (let isOver = false; !isOver && ctx.now() < until_ms; ) {
    const channels = await dueChannels(ctx);
    isOver = channels.length === 0;
    for (const channel of channels) {
      if (ctx.now() >= until_ms) break;
      try {
        made += await sendGroups(ctx, channel);
      } catch (error) {
        // For example, an evaluation has changed the notices meanwhile. They are due still.
        ctx.log({ event: 'notices-waiting', dataset: channel.dataset, channel: channel.id, ...describeError(error) });
        isOver = true;
      }
    }
  }
  // Before the mark for groups: whoever died before this point has left that one.
  await markNextDue(ctx);
  await look.settle(await nextDue_ms(ctx));
  return made;
}

type DueChannel = { dataset: string; id: string; definition: unknown; groups: string[]; waiting: number };

const dueRow = z.object({
  dataset: z.string(),
  id: z.string(),
  definition: z.unknown(),
  groups: z.array(z.string()),
  waiting: z.number(),
});

async function dueChannels(ctx: MonitoringDeps): Promise<DueChannel[]> {
  const rows = await ctx.postgres.rows(
    `with due as (
       select dataset, channel, group_key from notification_groups
        where buffer = $buffer and due_at <= now() order by due_at, dataset, channel, group_key limit $groups_max)
     select due.dataset, due.channel as id, r.definition, jsonb_agg(due.group_key order by due.group_key) as groups,
            (select count(*)::integer from jobs j
              where j.buffer = $buffer and j.order_key = 'alert/' || due.dataset || '/' || due.channel
                and j.state in ('queued', 'running')) as waiting
       from due left join monitor_resources r
         on r.buffer = $buffer and r.dataset = due.dataset and r.kind = 'channel' and r.id = due.channel
      group by due.dataset, due.channel, r.definition`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, groups_max },
  );
  return checkRows(dueRow, rows);
}

/** @returns the number of messages */
async function sendGroups(ctx: MonitoringDeps, due: DueChannel): Promise<number> {
  const channel = definitionOf(due.definition);
  const named = { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset: due.dataset, channel: due.id, groups: due.groups };
  if (channel === undefined) {
    // The channel was deleted or switched off. Its notices stay in the history.
    await ctx.postgres.transaction([
      [lockSql, named],
      [`update notification_groups set due_at = null where ${ofGroupsSql}`, named],
      [`update alert_notices set message = 'none' where ${ofGroupsSql} and message is null`, named],
    ]);
    return 0;
  }
  if (due.waiting >= waiting_max) {
    await ctx.postgres.rows(
      `update notification_groups set due_at = now() + $hold_ms * interval '1 millisecond'
        where ${ofGroupsSql} and due_at is not null`,
      { ...named, hold_ms },
    );
    return 0;
  }
  const areApart = due.waiting + due.groups.length <= apart_max;
  const parts = areApart ? due.groups.map((group) => [group]) : [due.groups];
  let made = 0;
  for (const groups of parts) made += (await makeMessage(ctx, { ...due, definition: channel, groups })) ? 1 : 0;
  return made;
}

function definitionOf(stored: unknown): ChannelDefinition | undefined {
  const { data } = channelDefinition.safeParse(fromJsonb(stored));
  return data?.enabled === true && data.kind !== 'watchdog' ? data : undefined;
}

const nextRow = z.object({ due_ms: z.number().nullable() });

async function nextDue_ms(ctx: MonitoringDeps): Promise<number | undefined> {
  const rows = await ctx.postgres.rows(
    `select ${epochMs('min(due_at)')} as due_ms from notification_groups where buffer = $buffer and due_at is not null`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX },
  );
  return checkRows(nextRow, rows)[0]?.due_ms ?? undefined;
}

/** Makes up for a mark that Redis has lost. For an hourly run. Throws StoreError. */
export async function sweepGroups(ctx: MonitoringDeps): Promise<void> {
  const due_ms = await nextDue_ms(ctx);
  if (due_ms !== undefined) await noteGroups(ctx, due_ms);
}
