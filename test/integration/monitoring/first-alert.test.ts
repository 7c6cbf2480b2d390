import { afterAll, expect, test } from 'vitest';
import { StoreError } from '../../../src/core/errors.ts';
import type { Context } from '../../../src/create-context.ts';
import { acknowledgeAlert } from '../../../src/monitoring/alerts/acknowledge.ts';
import { evaluateDataset } from '../../../src/monitoring/alerts/evaluate.ts';
import { listActive } from '../../../src/monitoring/alerts/list-alerts.ts';
import { listIncidents } from '../../../src/monitoring/incidents/incident.ts';
import { sendDueGroups } from '../../../src/monitoring/notifications/groups.ts';
import { readConfig } from '../../../src/monitoring/resources/store.ts';
import { newDataset, newInstance } from '../support.ts';
import { evaluate, history, minute_ms, notices, putResource, report } from './evaluation-support.ts';
import { deliver, skipWaits, startReceiver } from './notify-support.ts';

const own = { TIMESTORE_KEY_PREFIX: `evaluation-${process.pid}-${process.env.VITEST_WORKER_ID ?? 0}` };
const ctx = newInstance(own);
const receiver = await startReceiver();
afterAll(receiver.close);

/** A whole minute half an hour ago, so that rows and evaluations can have any time after it. */
const start_ms = Math.floor(Date.now() / minute_ms) * minute_ms - 30 * minute_ms;
const at = (minutes: number, seconds = 0) => start_ms + minutes * minute_ms + seconds * 1_000;

async function newMonitor(rule: object = {}) {
  const dataset = newDataset();
  await putResource(ctx, dataset, 'service', 'api', { label: 'The API' });
  await putResource(ctx, dataset, 'channel', 'ops', { kind: 'webhook', url: receiver.url, groupWait: '5s' });
  await putResource(ctx, dataset, 'rule', 'down', {
    ruleName: 'API down',
    serviceId: '*',
    condition: 'failures_in_a_row >=',
    threshold: 2,
    notificationChannels: ['ops'],
    ...rule,
  });
  return dataset;
}

/** Makes and delivers what is due, without waits. */
async function work(): Promise<void> {
  await skipWaits(ctx);
  await sendDueGroups(ctx, ctx.now() + 20_000);
  await deliver(ctx);
}

test('a service fails twice and recovers: one message at the beginning and one at the end', async () => {
  const dataset = await newMonitor();
  await report(ctx, dataset, [{ at_ms: at(0), code: 2 }]);
  expect(await evaluate(ctx, dataset, at(0, 30))).toBe('unchanged');
  await report(ctx, dataset, [{ at_ms: at(1), code: 2, message: 'refused' }]);
  expect(await evaluate(ctx, dataset, at(1, 30))).toBe('changed');
  await work();
  expect(await evaluate(ctx, dataset, at(2, 30))).toBe('unchanged');
  await report(ctx, dataset, [{ at_ms: at(3), code: 0 }]);
  expect(await evaluate(ctx, dataset, at(3, 30))).toBe('changed');
  await work();
  expect(await evaluate(ctx, dataset, at(4, 30))).toBe('unchanged');
  const events = await history(ctx, dataset);
  expect(events).toMatchObject([
    { id: 'down/api/1/fired', at_ms: at(1, 30), detail: { startsAt_ms: at(0), value: 2 } },
    { id: 'down/api/1/resolved', at_ms: at(3, 30), detail: { endsAt_ms: at(3), value: 0 } },
  ]);
  const bodies = receiver.heard.map(({ body }) => JSON.parse(body) as { type: string });
  expect(bodies.map(({ type }) => type)).toEqual(['alert.fired', 'alert.resolved']);
});

test('late rows count in windows that cover them, and no event is of the past', async () => {
  const dataset = await newMonitor({ condition: 'failure_rate over 5m >', threshold: 30 });
  const ok = [1, 2, 3, 4, 5].map((minute) => ({ at_ms: at(minute), code: 0 }));
  await report(ctx, dataset, ok);
  expect(await evaluate(ctx, dataset, at(5, 5))).toBe('unchanged');
  const late = [2, 3, 4].map((minute) => ({ at_ms: at(minute, 30), code: 2 }));
  await report(ctx, dataset, [...late, { at_ms: at(-10), code: 2 }, { at_ms: at(6), code: 0 }]);
  expect(await evaluate(ctx, dataset, at(6, 5))).toBe('changed');
  await report(ctx, dataset, [
    { at_ms: at(7), code: 0 },
    { at_ms: at(8), code: 0 },
  ]);
  expect(await evaluate(ctx, dataset, at(8, 5))).toBe('changed');
  const events = await history(ctx, dataset);
  expect(events).toMatchObject([
    { id: 'down/api/1/fired', at_ms: at(6, 5), detail: { value: 37.5, startsAt_ms: at(2, 30) } },
    { id: 'down/api/1/resolved', at_ms: at(8, 5) },
  ]);
  expect(events[1]?.detail.value).toBeCloseTo(28.57, 1);
  // It was over before a message about it was made.
  expect(await notices(ctx, dataset)).toEqual([]);
});

test('minutes that could not be evaluated are evaluated afterwards, in their order', async () => {
  const dataset = await newMonitor({ for: '6m' });
  await report(
    ctx,
    dataset,
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map((minute) => ({ at_ms: at(minute), code: 2 })),
  );
  for (const minute of [1, 2, 3]) await evaluate(ctx, dataset, at(minute, 10));
  expect(await evaluate(ctx, dataset, at(11, 10))).toBe('changed');
  expect(await history(ctx, dataset)).toMatchObject([{ id: 'down/api/1/fired', at_ms: at(7, 10) }]);
});

test('a minute in which nothing changes costs no statement in Postgres', async () => {
  const dataset = await newMonitor();
  await report(ctx, dataset, [{ at_ms: at(0), code: 0 }]);
  await evaluate(ctx, dataset, at(0, 30));
  const config = await readConfig(ctx, dataset);
  let statements = 0;
  const counting: Context = {
    ...ctx,
    postgres: {
      rows(...statement) {
        statements += 1;
        return ctx.postgres.rows(...statement);
      },
      transaction(all) {
        statements += all.length;
        return ctx.postgres.transaction(all);
      },
    },
  };
  await report(ctx, dataset, [{ at_ms: at(1), code: 0 }]);
  expect(await evaluateDataset(counting, dataset, config, at(1, 30))).toBe('unchanged');
  expect(statements).toBe(0);
});

test('evaluations at once decide once', async () => {
  const dataset = await newMonitor();
  await report(
    ctx,
    dataset,
    [0, 1].map((minute) => ({ at_ms: at(minute), code: 2 })),
  );
  const others = Array.from({ length: 4 }, () => newInstance(own));
  const ends = await Promise.allSettled(others.map((each) => evaluate(each, dataset, at(1, 30))));
  expect(ends.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0);
  await evaluate(ctx, dataset, at(2, 30));
  expect((await history(ctx, dataset)).map(({ id }) => id)).toEqual(['down/api/1/fired']);
  expect(await notices(ctx, dataset)).toEqual(['ops fired api 1']);
});

test('an alert that is acknowledged is not repeated, and who was notified is notified of that', async () => {
  const dataset = await newMonitor({ repeat: '5m' });
  await report(
    ctx,
    dataset,
    [0, 1, 2, 9, 10, 11].map((minute) => ({ at_ms: at(minute), code: 2 })),
  );
  await evaluate(ctx, dataset, at(1, 30));
  const [alert] = await listActive(ctx, dataset);
  const acked = await acknowledgeAlert(ctx, dataset, 'down', alert?.fingerprint ?? '');
  expect(acked).toMatchObject({ episode: 1 });
  expect(await acknowledgeAlert(ctx, dataset, 'down', alert?.fingerprint ?? '')).toEqual(acked);
  await evaluate(ctx, dataset, at(11, 30));
  expect((await history(ctx, dataset)).map(({ id }) => id)).toEqual(['down/api/1/fired', 'down/api/1/acknowledged']);
  expect(await notices(ctx, dataset)).toEqual(['ops fired api 1', 'ops acknowledged api 1']);
  await expect(acknowledgeAlert(ctx, dataset, 'down', 'other')).rejects.toMatchObject({ code: 'not-found' });
});

test('a channel that wants no ends gets none', async () => {
  const dataset = await newMonitor();
  await putResource(ctx, dataset, 'channel', 'ops', { kind: 'webhook', url: receiver.url, sendResolved: false });
  await report(
    ctx,
    dataset,
    [0, 1].map((minute) => ({ at_ms: at(minute), code: 2 })),
  );
  await evaluate(ctx, dataset, at(1, 30));
  await work();
  await report(ctx, dataset, [{ at_ms: at(2), code: 0 }]);
  expect(await evaluate(ctx, dataset, at(2, 30))).toBe('changed');
  expect((await history(ctx, dataset)).map(({ id }) => id)).toEqual(['down/api/1/fired', 'down/api/1/resolved']);
  expect(await notices(ctx, dataset)).toEqual(['ops fired api 1']);
});

test('a channel that wants no ends gets no message about an alert that was over before its message', async () => {
  const dataset = await newMonitor();
  await putResource(ctx, dataset, 'channel', 'ops', { kind: 'webhook', url: receiver.url, sendResolved: false });
  await report(
    ctx,
    dataset,
    [0, 1].map((minute) => ({ at_ms: at(minute), code: 2 })),
  );
  await evaluate(ctx, dataset, at(1, 30));
  await report(ctx, dataset, [{ at_ms: at(2), code: 0 }]);
  await evaluate(ctx, dataset, at(2, 30));
  expect(await notices(ctx, dataset)).toEqual([]);
});

test('a first rule is not evaluated over the time before it', async () => {
  const dataset = newDataset();
  await putResource(ctx, dataset, 'service', 'api', {});
  const rows = [0, 1, 2, 3].map((minute) => ({ at_ms: at(minute), code: minute < 2 ? 2 : 0 }));
  await report(ctx, dataset, rows);
  for (const minute of [0, 3]) expect(await evaluate(ctx, dataset, at(minute, 30))).toBe('unchanged');
  await putResource(ctx, dataset, 'rule', 'down', {
    ruleName: 'API down',
    serviceId: '*',
    condition: 'failures_in_a_row >=',
    threshold: 2,
  });
  await report(ctx, dataset, [{ at_ms: at(4), code: 0 }]);
  expect(await evaluate(ctx, dataset, at(4, 30))).toBe('unchanged');
  expect(await history(ctx, dataset)).toEqual([]);
});

test('a heartbeat that does not come is a failure from its deadline on', async () => {
  const dataset = await newMonitor({ threshold: 1 });
  const statusConfig = { check: 'heartbeat', period: '10m', grace: '2m' };
  await putResource(ctx, dataset, 'service', 'api', { statusConfig });
  await report(ctx, dataset, [{ at_ms: at(0), code: 0 }]);
  expect(await evaluate(ctx, dataset, at(11, 59))).toBe('unchanged');
  expect(await evaluate(ctx, dataset, at(12, 37))).toBe('changed');
  await report(ctx, dataset, [{ at_ms: at(13), code: 0 }]);
  expect(await evaluate(ctx, dataset, at(13, 30))).toBe('changed');
  expect(await history(ctx, dataset)).toMatchObject([
    { id: 'down/api/1/fired', detail: { startsAt_ms: at(12) } },
    { id: 'down/api/1/resolved' },
  ]);
});

test('services behind one that fails are held back, and share its incident', async () => {
  const dataset = await newMonitor();
  for (const id of ['web', 'db']) await putResource(ctx, dataset, 'service', id, {});
  const needs = (source: string, target: string) => ({ sourceServiceId: source, targetServiceId: target });
  await putResource(ctx, dataset, 'relation', 'web-api', needs('web', 'api'));
  await putResource(ctx, dataset, 'relation', 'api-db', needs('api', 'db'));
  const all = ['web', 'api', 'db'];
  const rows = [0, 1].flatMap((minute) => all.map((service) => ({ at_ms: at(minute), code: 2, service })));
  await report(ctx, dataset, rows);
  await evaluate(ctx, dataset, at(1, 30));
  expect(await notices(ctx, dataset)).toEqual(['ops fired db 1']);
  expect((await history(ctx, dataset)).map(({ id }) => id).sort()).toEqual([
    'down/api/1/fired',
    'down/db/1/fired',
    'down/web/1/fired',
  ]);
  const [incident, ...others] = await listIncidents(ctx, dataset, { limit: 10 });
  expect([incident?.rootService, others]).toEqual(['db', []]);
  await work();
  await report(
    ctx,
    dataset,
    all.map((service) => ({ at_ms: at(2), code: 0, service })),
  );
  await evaluate(ctx, dataset, at(2, 30));
  expect(await notices(ctx, dataset)).toEqual(['ops fired db 1', 'ops resolved db 1']);
  expect(await listIncidents(ctx, dataset, { limit: 10 })).toMatchObject([{ status: 'resolved' }]);
});

test('a commit that fails, or whose answer is lost, decides once', async () => {
  for (const kind of ['fails', 'is lost'] as const) {
    const dataset = await newMonitor();
    await report(
      ctx,
      dataset,
      [0, 1].map((minute) => ({ at_ms: at(minute), code: 2 })),
    );
    const broken: Context = {
      ...ctx,
      postgres: {
        rows: (...statement) => ctx.postgres.rows(...statement),
        async transaction(all) {
          if (kind === 'is lost') await ctx.postgres.transaction(all);
          throw new StoreError('postgres', 'did not answer', new Error('test'));
        },
      },
    };
    await expect(evaluate(broken, dataset, at(1, 30))).rejects.toThrow();
    expect(await evaluate(newInstance(own), dataset, at(2, 30))).toBe(kind === 'fails' ? 'changed' : 'unchanged');
    expect((await history(ctx, dataset)).map(({ id }) => id)).toEqual(['down/api/1/fired']);
    expect(await notices(ctx, dataset)).toEqual(['ops fired api 1']);
    await report(ctx, dataset, [{ at_ms: at(3), code: 0 }]);
    await work();
    expect(await evaluate(ctx, dataset, at(3, 30))).toBe('changed');
    expect(await notices(ctx, dataset)).toEqual(['ops fired api 1', 'ops resolved api 1']);
  }
});
