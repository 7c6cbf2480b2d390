import { afterAll, expect } from 'vitest';
import { listIncidents } from '../../../src/monitoring/incidents/incident.ts';
import { type IncidentAlert, incidentStatements } from '../../../src/monitoring/incidents/statements.ts';
import { test } from '../fixtures.ts';
import { useWorker } from '../http/worker.ts';
import { newInstance } from '../support.ts';
import { putChannel, startReceiver } from './notify-support.ts';

const prefix = `incidents-${process.pid}`;
const call = useWorker({ TIMESTORE_KEY_PREFIX: prefix });
const ctx = newInstance({ TIMESTORE_KEY_PREFIX: prefix });
const receiver = await startReceiver();
afterAll(receiver.close);

const start_ms = Date.UTC(2026, 4, 1, 10);
const minute_ms = 60_000;

function alertOf(serviceId: string, more: Partial<IncidentAlert> = {}): IncidentAlert {
  return {
    ruleId: `${serviceId}-down`,
    fingerprint: 'f',
    episode: 1,
    serviceId,
    rootServiceId: serviceId,
    severity: 'critical',
    title: `${serviceId} fails`,
    isNotified: true,
    ...more,
  };
}

async function commit(dataset: string, minute: number, begun: IncidentAlert[], ended: IncidentAlert[] = []) {
  const statements = incidentStatements(ctx, dataset, { begun, ended }, start_ms + minute * minute_ms);
  if (statements.length > 0) await ctx.postgres.transaction(statements);
}

test('an incident opens with its cause, holds its dependents, and ends with the last of them', async ({ dataset }) => {
  const [db, web] = [alertOf('db'), alertOf('web', { rootServiceId: 'db', isNotified: false })];
  await commit(dataset, 0, [web]);
  expect(await listIncidents(ctx, dataset, { limit: 10 })).toEqual([]);
  await commit(dataset, 1, [db, web]);
  await commit(dataset, 1, [db, web]);
  const [opened, ...others] = await listIncidents(ctx, dataset, { limit: 10 });
  expect(others).toEqual([]);
  expect(opened).toMatchObject({
    title: 'db fails',
    impact: 'critical',
    status: 'investigating',
    rootService: 'db',
    openedAt_ms: start_ms + minute_ms,
    updates: [{ status: 'investigating', body: 'db fails', actor: 'cron' }],
  });
  expect(opened?.alerts.map(({ ruleId }) => ruleId)).toEqual(['db-down', 'web-down']);
  await commit(dataset, 5, [], [db]);
  expect((await listIncidents(ctx, dataset, { isOpen: true, limit: 10 })).length).toBe(1);
  await commit(dataset, 6, [], [web]);
  const [over] = await listIncidents(ctx, dataset, { isOpen: false, limit: 10 });
  expect(over).toMatchObject({ status: 'resolved', resolvedAt_ms: start_ms + 6 * minute_ms });
  expect(over?.updates.map(({ status }) => status)).toEqual(['investigating', 'resolved']);

  const again = alertOf('db', { episode: 2 });
  await commit(dataset, 20, [again]);
  const [reopened, ...more] = await listIncidents(ctx, dataset, { limit: 10 });
  expect(more).toEqual([]);
  expect(reopened).toMatchObject({ id: over?.id, status: 'investigating', resolvedAt_ms: null });
  expect(reopened?.updates).toHaveLength(3);
  await commit(dataset, 21, [], [again]);
  await commit(dataset, 37, [alertOf('db', { episode: 3 })]);
  expect(await listIncidents(ctx, dataset, { limit: 10 })).toHaveLength(2);
});

test('alerts of little severity open no incident, and two evaluations at once open one', async ({ dataset }) => {
  await commit(dataset, 0, [alertOf('a', { severity: 'warning' })]);
  expect(await listIncidents(ctx, dataset, { limit: 10 })).toEqual([]);
  await Promise.all([
    commit(dataset, 1, [alertOf('a', { fingerprint: 'f1' })]),
    commit(dataset, 1, [alertOf('a', { fingerprint: 'f2' })]),
    commit(dataset, 1, [alertOf('a', { fingerprint: 'f3' })]),
  ]);
  const [one, ...others] = await listIncidents(ctx, dataset, { limit: 10 });
  expect(others).toEqual([]);
  expect(one?.alerts).toHaveLength(3);
  expect(one?.updates).toHaveLength(1);
});

test('people open, change and resolve incidents; a change needs the revision that it saw', async ({ dataset }) => {
  const api = async (method: string, path: string, json?: unknown, headers: Record<string, string> = {}) => {
    const response = await call(`/v1/monitor/${path}?dataset=${dataset}`, { method, json, headers });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const made = await api('POST', 'incidents', { title: 'Payments fail', impact: 'major', body: 'We look into it.' });
  expect(made).toMatchObject({ status: 201, body: { status: 'investigating', isAutomatic: false, isPublic: true } });
  const at = `incidents/${made.body.id}`;
  expect(await api('POST', `${at}/updates`, { status: 'identified', body: 'A full disk.' })).toMatchObject({
    status: 201,
  });
  expect(await api('PATCH', at, { impact: 'minor' }, { 'if-match': '"1"' })).toMatchObject({ status: 412 });
  expect(await api('PATCH', at, { impact: 'minor' }, { 'if-match': '"2"' })).toMatchObject({
    body: { impact: 'minor' },
  });
  const over = await api('POST', `${at}/updates`, { status: 'resolved', body: 'Done.' });
  expect(over.body.updates).toMatchObject([{ body: 'We look into it.' }, { body: 'A full disk.' }, { body: 'Done.' }]);
  expect(over.body.resolvedAt).not.toBeNull();
  expect(await api('GET', 'incidents')).toMatchObject({ body: { incidents: [{ id: made.body.id }], next: null } });
  expect(await api('GET', 'incidents/other')).toMatchObject({ status: 404 });
});

test('a test message is sent at once, and the log of deliveries shows its try', async ({ dataset }) => {
  await putChannel(
    ctx,
    dataset,
    'ops',
    { kind: 'webhook', url: { secret: 'hook' } },
    { hook: `${receiver.url}/hidden` },
  );
  const response = await call(`/v1/monitor/channels/ops/test?dataset=${dataset}`, { method: 'POST' });
  expect(response.status).toBe(202);
  const { id } = (await response.json()) as { id: string };
  await expect.poll(() => receiver.heard.length).toBe(1);
  expect(receiver.heard[0]?.headers['webhook-id']).toBe(id);
  await expect
    .poll(async () => {
      const log = await call(`/v1/monitor/deliveries?dataset=${dataset}`);
      const text = await log.text();
      expect(text).not.toContain('hidden');
      return JSON.parse(text) as object;
    })
    .toMatchObject({ deliveries: [{ id, state: 'done', isTest: true, tries: 1, attempts: [{ status: 200 }] }] });
  expect((await call(`/v1/monitor/channels/none/test?dataset=${dataset}`, { method: 'POST' })).status).toBe(404);
});
