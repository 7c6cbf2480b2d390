import { afterAll, beforeEach, expect, test } from 'vitest';
import { listJobs } from '../../../src/jobs/job.ts';
import { sendDueGroups } from '../../../src/monitoring/notifications/groups.ts';
import { newDataset, newInstance } from '../support.ts';
import { commit, deliver, noticeOf, putChannel, skipWaits, startReceiver } from './notify-support.ts';

const own = { TIMESTORE_KEY_PREFIX: `notify-${process.pid}` };
const ctx = newInstance(own);
const receiver = await startReceiver();
const { heard, answers, url } = receiver;
afterAll(receiver.close);

beforeEach(async () => {
  heard.length = 0;
  answers.length = 0;
  await ctx.postgres.rows('delete from jobs where buffer = $1', [own.TIMESTORE_KEY_PREFIX]);
  await ctx.postgres.rows('delete from notification_groups where buffer = $1', [own.TIMESTORE_KEY_PREFIX]);
});

/** Makes and delivers what is due, without waits. */
async function work(): Promise<number> {
  await skipWaits(ctx);
  const made = await sendDueGroups(ctx, ctx.now() + 20_000);
  await deliver(ctx);
  return made;
}

async function messages(dataset: string) {
  return (await listJobs(ctx, { dataset, kind: 'alert' }, 1_000)).reverse();
}

const types = () => heard.map(({ body }) => (JSON.parse(body) as { type: string }).type);
const ids = () => heard.map(({ headers }) => headers['webhook-id']);

test('a channel that answers 503 gets fired, then resolved, each under one id and with the same bytes', async () => {
  const dataset = newDataset();
  await putChannel(ctx, dataset, 'ops', { kind: 'webhook', url });
  answers.push(503, 503, 503);
  await commit(ctx, dataset, [noticeOf(dataset, 'ops', 'fired')]);
  expect(await work()).toBe(1);
  await commit(ctx, dataset, [noticeOf(dataset, 'ops', 'resolved')]);
  for (let n = 0; n < 4; n += 1) await work();
  expect(types()).toEqual(['alert.fired', 'alert.fired', 'alert.fired', 'alert.fired', 'alert.resolved']);
  expect(new Set(ids().slice(0, 4)).size).toBe(1);
  expect(new Set(heard.slice(0, 4).map(({ body }) => body)).size).toBe(1);
  expect(ids()[4]).not.toBe(ids()[0]);
  expect((await messages(dataset)).map(({ id, state }) => [id, state])).toEqual([
    [ids()[0], 'done'],
    [ids()[4], 'done'],
  ]);
});

test('an alert that ends before its message is made is notified neither at its begin nor at its end', async () => {
  const dataset = newDataset();
  await putChannel(ctx, dataset, 'ops', { kind: 'webhook', url });
  await commit(ctx, dataset, [noticeOf(dataset, 'ops', 'fired')]);
  await commit(ctx, dataset, [noticeOf(dataset, 'ops', 'resolved')]);
  await commit(ctx, dataset, [
    noticeOf(dataset, 'ops', 'fired', { episode: 2 }),
    noticeOf(dataset, 'ops', 'resolved', { episode: 2 }),
  ]);
  expect(await work()).toBe(0);
  await commit(ctx, dataset, [noticeOf(dataset, 'ops', 'fired', { episode: 3 })]);
  expect(await work()).toBe(1);
  expect(heard).toHaveLength(1);
  expect(heard[0]?.body).toContain('"episode":3');
});

test('a notice that is committed twice is sent once; the next message of a group waits for its interval', async () => {
  const dataset = newDataset();
  await putChannel(ctx, dataset, 'ops', { kind: 'webhook', url, groupInterval: '10m' });
  await commit(ctx, dataset, [noticeOf(dataset, 'ops', 'fired')]);
  await commit(ctx, dataset, [noticeOf(dataset, 'ops', 'fired')]);
  expect(await sendDueGroups(ctx, ctx.now() + 5_000)).toBe(0);
  await work();
  await commit(ctx, dataset, [noticeOf(dataset, 'ops', 'fired')]);
  await work();
  expect(heard).toHaveLength(1);
  await commit(ctx, dataset, [noticeOf(dataset, 'ops', 'fired', { fingerprint: 'f2' })]);
  const [group] = await ctx.postgres.rows<{ in_s: number }>(
    `select extract(epoch from due_at - now())::float8 as in_s from notification_groups where dataset = $1`,
    [dataset],
  );
  expect(group?.in_s).toBeGreaterThan(540);
});

test('no try comes before Retry-After', async () => {
  const dataset = newDataset();
  await putChannel(ctx, dataset, 'ops', { kind: 'webhook', url });
  answers.push({ status: 429, headers: { 'retry-after': '120' } });
  await commit(ctx, dataset, [noticeOf(dataset, 'ops', 'fired')]);
  await work();
  const [row] = await ctx.postgres.rows<{ in_s: number }>(
    `select extract(epoch from due_at - now())::float8 as in_s from jobs where dataset = $1`,
    [dataset],
  );
  expect(row?.in_s).toBeGreaterThan(110);
  expect(await deliver(ctx)).toBe(0);
  expect(heard).toHaveLength(1);
});

test.each([
  ['repeat', 2],
  ['drop', 1],
])(
  'after a lost answer the log says uncertain, and the message is sent again or not: %s',
  async (onUncertain, posts) => {
    const dataset = newDataset();
    await putChannel(ctx, dataset, 'ops', { kind: 'webhook', url, onUncertain });
    answers.push('lost');
    await commit(ctx, dataset, [noticeOf(dataset, 'ops', 'fired')]);
    await work();
    await work();
    expect(heard).toHaveLength(posts);
    expect(new Set(ids()).size).toBe(1);
    const [job] = await messages(dataset);
    expect(job?.state).toBe('done');
    expect(job?.result?.attempts).toMatchObject([{ status: null, uncertain: true }, { status: 200 }].slice(0, posts));
  },
);

test('a channel that is gone is given up and reported to the others, once, until it works again', async () => {
  const dataset = newDataset();
  await putChannel(ctx, dataset, 'gone', { kind: 'webhook', url: `${url}/gone` });
  await putChannel(ctx, dataset, 'ops', { kind: 'webhook', url: `${url}/ops` });
  answers.push(410);
  await commit(ctx, dataset, [noticeOf(dataset, 'gone', 'fired')]);
  await work();
  expect((await messages(dataset))[0]).toMatchObject({ state: 'failed', error: expect.stringContaining('410') });
  await work();
  expect(heard.map(({ path }) => path)).toEqual(['/gone', '/ops']);
  expect(heard[1]?.body).toContain('Channel gone does not accept messages');
  answers.push(404);
  await commit(ctx, dataset, [noticeOf(dataset, 'gone', 'fired', { fingerprint: 'f2' })]);
  await work();
  await work();
  expect(heard.map(({ path }) => path).slice(2)).toEqual(['/gone']);
  await commit(ctx, dataset, [noticeOf(dataset, 'gone', 'fired', { fingerprint: 'f3' })]);
  await work();
  await work();
  expect(heard.map(({ path }) => path).slice(3)).toEqual(['/gone', '/ops']);
  expect(heard[4]?.body).toContain('alert.resolved');
});

test('5,000 alerts are at most 100 messages to a program and one to people, and none is left out', async () => {
  const dataset = newDataset();
  await putChannel(ctx, dataset, 'program', { kind: 'webhook', url: `${url}/program` });
  await putChannel(ctx, dataset, 'people', { kind: 'slack', url: `${url}/people` });
  const storm = (kind: 'fired' | 'resolved') =>
    ['program', 'people'].flatMap((channel) =>
      Array.from({ length: 5_000 }, (_, i) =>
        noticeOf(dataset, channel, kind, { fingerprint: `f${i}`, serviceId: `s${i}` }),
      ),
    );
  for (const kind of ['fired', 'resolved'] as const) {
    heard.length = 0;
    await commit(ctx, dataset, storm(kind));
    for (let n = 0; n < 20 && (await work()) > 0; ) n += 1;
    const programs = heard.filter(({ path }) => path === '/program');
    expect(programs.length).toBeLessThanOrEqual(100);
    const told = programs.flatMap(
      ({ body }) => (JSON.parse(body) as { data: { alerts: { fingerprint: string }[] } }).data.alerts,
    );
    expect(new Set(told.map(({ fingerprint }) => fingerprint)).size).toBe(5_000);
    expect(told).toHaveLength(5_000);
    const people = heard.filter(({ path }) => path === '/people');
    expect(people).toHaveLength(1);
    expect(people[0]?.body).toContain('and 4952 more');
  }
  await commit(ctx, dataset, storm('fired'));
  expect(await work()).toBe(0);
});

test('a look where nothing is due costs one command and no statement', async () => {
  await ctx.redis.del(ctx.keys.noticesDue);
  const quiet = newInstance(own);
  const refuse = () => Promise.reject(new Error('a statement'));
  quiet.postgres = { rows: refuse, transaction: refuse };
  expect(await sendDueGroups(quiet, quiet.now() + 5_000)).toBe(0);
});

test('secrets are in the request and nowhere else', async () => {
  const dataset = newDataset();
  await putChannel(
    ctx,
    dataset,
    'pager',
    { kind: 'pagerduty', routingKey: { secret: 'pager_key' }, url: { secret: 'pager_url' } },
    { pager_key: 'R-secret', pager_url: `${url}/hidden-path` },
  );
  answers.push(500);
  await commit(ctx, dataset, [noticeOf(dataset, 'pager', 'fired')]);
  await work();
  await work();
  expect(heard).toHaveLength(2);
  expect(new Set(heard.map(({ body }) => body)).size).toBe(1);
  expect(JSON.parse(heard[0]?.body ?? '')).toMatchObject({ routing_key: 'R-secret', event_action: 'trigger' });
  const kept = JSON.stringify([await messages(dataset), ctx.events]);
  expect(kept).not.toContain('R-secret');
  expect(kept).not.toContain('hidden-path');
});
