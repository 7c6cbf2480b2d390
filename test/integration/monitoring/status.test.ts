import { describe, expect } from 'vitest';
import { test as plain } from '../fixtures.ts';
import { useWorker } from '../http/worker.ts';
import { newInstance } from '../support.ts';
import { createStatusTable, sendStatus } from './status-rows.ts';

const prefix = `monitor-status-${process.pid}`;
const call = useWorker({ TIMESTORE_KEY_PREFIX: prefix });
const ctx = newInstance({ TIMESTORE_KEY_PREFIX: prefix });

type Body = Record<string, unknown>;

const test = plain.extend('api', ({ dataset }) => async (path: string, json?: unknown, key?: string) => {
  const [base, query = ''] = path.split('?');
  const method = json === undefined ? 'GET' : 'PUT';
  const response = await call(`/v1/monitor/${base}?dataset=${dataset}&${query}`, {
    ...(json !== undefined && { json }),
    ...(key !== undefined && { key }),
    method,
  });
  const text = await response.text();
  return { status: response.status, text, body: (text.startsWith('{') ? JSON.parse(text) : {}) as Body };
});

const minute_ms = 60_000;
const ago = (minutes: number) => new Date(Date.now() - minutes * minute_ms).toISOString();

describe('the state of services', () => {
  test('a service without rows is unknown, and one that went silent is unknown after three intervals', async ({
    api,
    dataset,
  }) => {
    await createStatusTable(ctx, dataset);
    for (const id of ['well', 'silent', 'new']) await api(`services/${id}`, { label: id, stack: 'shop' });
    await sendStatus(ctx, dataset, [
      { service_id: 'well', timestamp: ago(0), status_code: 1, message: 'slow', response_time_ms: 900 },
      { service_id: 'silent', timestamp: ago(4), status_code: 0, message: 'fine' },
      { service_id: 'not-configured', timestamp: ago(0), status_code: 2 },
    ]);
    const { status, body } = await api('status');
    expect(status).toBe(200);
    expect(body.services).toMatchObject([
      { serviceId: 'new', statusCode: 5, effectiveStatusCode: 5, lastSeenAt: null, message: null },
      { serviceId: 'silent', statusCode: 0, status: 'ok', effectiveStatusCode: 5, message: 'fine' },
      { serviceId: 'well', statusCode: 1, status: 'degraded', effectiveStatusCode: 1, responseTimeMs: 900 },
    ]);
  });

  test('is there as metrics, with active alerts', async ({ api, dataset }) => {
    await createStatusTable(ctx, dataset);
    await api('services/a', { stack: 'sh"op' });
    await api('services/b', {});
    await api('rules/down', { ruleName: 'A is down', serviceId: 'a', condition: 'failures_in_a_row >=', threshold: 2 });
    await sendStatus(ctx, dataset, [{ service_id: 'a', timestamp: ago(1), status_code: 2, response_time_ms: 7 }]);
    for (const [fingerprint, state] of [
      ['1', 'recovering'],
      ['2', 'pending'],
    ]) {
      await ctx.postgres.rows(
        `insert into alert_instances (buffer, dataset, rule_id, fingerprint, service_id, state, instance)
         values ($prefix, $dataset, 'down', $fingerprint, 'a', $state, '{}')`,
        { prefix, dataset, fingerprint, state },
      );
    }
    const { text } = await api('metrics');
    expect(text).toContain('timestore_service_status{service_id="a",stack="sh\\"op"} 2\n');
    expect(text).toContain('timestore_service_status{service_id="b",stack=""} 5\n');
    expect(text).toMatch(/timestore_service_last_seen_seconds\{service_id="a",stack="sh\\"op"\} (?:59|6\d)/);
    expect(text).toContain('timestore_service_response_time_ms{service_id="a",stack="sh\\"op"} 7\n');
    expect(text).not.toContain('timestore_service_response_time_ms{service_id="b"');
    const alert = (state: string) =>
      `ALERTS{alertname="A is down",alertstate="${state}",rule_id="down",service_id="a",severity="error"} 1\n`;
    expect(text).toContain(alert('firing'));
    expect(text).toContain(alert('pending'));
    expect(text.endsWith('# EOF\n')).toBe(true);
  });
});

test('availability and history leave maintenance out, and know what they did not see', async ({ api, dataset }) => {
  await createStatusTable(ctx, dataset);
  await api('services/a', {});
  const hour_ms = 3_600_000;
  const from_ms = Math.floor(Date.now() / hour_ms) * hour_ms - 2 * hour_ms;
  const at = (minute: number) => new Date(from_ms + minute * minute_ms).toISOString();
  // Minutes 0 to 29 with a failure at 3, a maintenance from 10 to 20 with failures, then nothing until the next hour.
  const rows = Array.from({ length: 30 }, (_, n) => {
    return { service_id: 'a', timestamp: at(n), status_code: n === 3 || (n >= 10 && n < 20) ? 2 : 0 };
  });
  await sendStatus(ctx, dataset, rows);
  await api('maintenances/m', { title: 'm', services: ['*'], from: at(10), until: at(20) });
  const range = `from=${at(0)}&until=${at(60)}`;
  const expected = { availability: 95, coverage: 40, good: 19, bad: 1, slots: 50, maintenance: 10 };
  expect((await api(`availability?${range}`)).body.services).toEqual([{ serviceId: 'a', ...expected }]);
  const { body } = await api(`services/a/history?every=30m&${range}`);
  expect(body.parts).toMatchObject([
    { from: at(0), rows: 30, counts: [19, 0, 11, 0, 0, 0], availability: 95, coverage: 100, maintenance: 10 },
    { from: at(30), rows: 0, failureRate: null, availability: null, coverage: 0, slots: 30 },
  ]);
  expect((await api('services/b/history')).status).toBe(404);
  expect((await api(`services/a/history?every=1m&from=2026-01-01T00:00:00Z`)).status).toBe(400);
  expect((await api(`availability?from=${at(60)}&until=${at(0)}`)).status).toBe(400);
});

test('an SLO reports its budget, and burns with three failures in five minutes, not with one', async ({
  api,
  dataset,
}) => {
  await createStatusTable(ctx, dataset);
  for (const id of ['once', 'thrice']) {
    await api(`services/${id}`, {});
    await api(`slos/${id}`, { serviceId: id, target: 99.9, window: '7d' });
  }
  const rows = ['once', 'thrice'].flatMap((service_id) =>
    Array.from({ length: 60 }, (_, n) => {
      const isBad = n === 1 || (service_id === 'thrice' && (n === 2 || n === 3));
      return { service_id, timestamp: ago(n), status_code: isBad ? 2 : 0 };
    }),
  );
  await sendStatus(ctx, dataset, rows);
  const { status, body } = await api('slo');
  expect(status).toBe(200);
  const slos = body.slos as { sloId: string; budget: object; burnRates: { isBurning: boolean; long: object }[] }[];
  expect(slos.map(({ sloId }) => sloId)).toEqual(['once', 'thrice']);
  expect(slos.map(({ burnRates }) => burnRates.map(({ isBurning }) => isBurning))).toEqual([
    [false, false, false],
    [true, true, true],
  ]);
  expect(slos[1]).toMatchObject({ budget: { spent: 3 }, availability: 95 });
  expect(slos[0]?.burnRates[0]?.long).toMatchObject({ window: '1h', bad: 1 });
});

test('a key reads the datasets that it covers', async ({ api, dataset }) => {
  const made = await call('/v1/admin/keys', { json: { name: 'reader', scopes: { query: [dataset] } } });
  const { key } = (await made.json()) as { key: string };
  expect(made.status).toBe(201);
  for (const path of ['status', 'availability', 'slo', 'metrics']) {
    expect((await api(path, undefined, key)).status, path).toBe(200);
    expect((await call(`/v1/monitor/${path}?dataset=other`, { key })).status).toBe(404);
  }
});
