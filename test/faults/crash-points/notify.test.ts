import { afterAll, describe, expect, test } from 'vitest';
import type { Context } from '../../../src/create-context.ts';
import { sendDueGroups } from '../../../src/monitoring/notifications/groups.ts';
import {
  commit,
  deliver,
  noticeOf,
  putChannel,
  skipWaits,
  startReceiver,
} from '../../integration/monitoring/notify-support.ts';
import { newDataset, newInstance } from '../../integration/support.ts';
import type { Fault } from '../injection.ts';
import { isWhole, points, withFault } from './support.ts';

const own = { TIMESTORE_KEY_PREFIX: `crash-notify-${process.pid}` };
const buffer = own.TIMESTORE_KEY_PREFIX;
const ctx = newInstance(own);
const receiver = await startReceiver();
const { heard } = receiver;
afterAll(receiver.close);

const kinds = ['fired', 'resolved'] as const;
type Kind = (typeof kinds)[number];

const sent = (each: Context) => sendDueGroups(each, each.now() + 10_000);

/** What one minute does: an evaluation records notices, groups become messages, messages are delivered. */
async function minute(each: Context, dataset: string, kind: Kind): Promise<void> {
  await commit(each, dataset, [noticeOf(dataset, 'ops', kind)]);
  await skipWaits(ctx);
  await sent(each);
  await deliver(each);
}

/** Whether something waits in Postgres, and whether Redis has a mark that leads to it within two minutes. */
async function left(dataset: string): Promise<{ waits: boolean; isMarked: boolean }> {
  const [row] = await ctx.postgres.rows<{ waits: boolean }>(
    `select exists (select from alert_notices where buffer = $1 and dataset = $2 and message is null)
         or exists (select from jobs where buffer = $1 and dataset = $2 and state in ('queued', 'running')) as waits`,
    [buffer, dataset],
  );
  const soon = Date.now() + 121_000;
  const marks = await Promise.all([
    ctx.redis.zrange<string[]>(ctx.keys.noticesDue, '-inf', soon, { byScore: true }),
    ctx.redis.zrange<string[]>(ctx.keys.due, '-inf', soon, { byScore: true }),
  ]);
  return { waits: row?.waits ?? false, isMarked: marks.flat().length > 0 };
}

/** One message about the fire and one about its end, with a fault in the minute of one of the two. */
async function notified(faulty: Kind, fault: Fault | undefined): Promise<string[]> {
  const dataset = newDataset();
  await putChannel(ctx, dataset, 'ops', { kind: 'webhook', url: receiver.url });
  heard.length = 0;
  await ctx.redis.del(ctx.keys.noticesDue, ctx.keys.due);
  let calls: string[] = [];
  for (const kind of kinds) {
    if (kind !== faulty) {
      await minute(newInstance(own), dataset, kind);
      continue;
    }
    const instance = await withFault(fault, (each) => minute(each, dataset, kind), own);
    calls = instance.calls;
    const { waits, isMarked } = await left(dataset);
    if (waits) expect(isMarked).toBe(true);
    // The next evaluation: it repeats what it cannot know to be committed.
    await minute(newInstance(own), dataset, kind);
    await instance.releaseLate();
    await minute(newInstance(own), dataset, kind);
  }
  expect((await left(dataset)).waits).toBe(false);
  const jobs = await ctx.postgres.rows<{ id: string; state: string }>(
    `select id, state from jobs where buffer = $1 and dataset = $2 order by n`,
    [buffer, dataset],
  );
  expect(jobs.map(({ state }) => state)).toEqual(['done', 'done']);
  const ids = heard.map(({ headers }) => headers['webhook-id']);
  // The messages in their order, each perhaps again.
  expect(ids.filter((id, i) => id !== ids[i - 1])).toEqual(jobs.map(({ id }) => id));
  for (const { id } of jobs) {
    const bodies = heard.filter(({ headers }) => headers['webhook-id'] === id).map(({ body }) => body);
    expect(new Set(bodies).size).toBe(1);
  }
  expect(heard.at(-1)?.body).toContain('alert.resolved');
  return calls;
}

// Once, so that Redis knows the scripts.
await notified('fired', undefined);

describe.each(kinds)(
  'the minute that reports an alert as %s goes wrong at any call: one message, one id, the same bytes',
  async (kind) => {
    const calls = await notified(kind, undefined);

    test('there are calls to go wrong', () => {
      expect(calls.filter((name) => name === 'postgres.transaction').length).toBeGreaterThanOrEqual(3);
    });

    const tried = points(calls).filter((_, i) => isWhole || i % 2 === 0);
    test.each(tried)('$name', async ({ fault }) => {
      await notified(kind, fault);
    });
  },
);
