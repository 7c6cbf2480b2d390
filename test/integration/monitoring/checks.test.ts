import { expect } from 'vitest';
import { runShard } from '../../../src/monitoring/checks/run-shard.ts';
import { connectFromWorker } from '../../../src/monitoring/checks/tcp.ts';
import { readConfig } from '../../../src/monitoring/resources/store.ts';
import { test as plain } from '../fixtures.ts';
import { useWorker } from '../http/worker.ts';
import { newInstance } from '../support.ts';
import { useTargets } from './targets.ts';

const settings = {
  TIMESTORE_KEY_PREFIX: `checks-${process.pid}`,
  // No test asks a server outside of this machine.
  TIMESTORE_MONITOR_RESOLVERS: 'http://127.0.0.1:9/dns-query',
  TIMESTORE_MONITOR_ANCHORS: 'http://127.0.0.1:9/,http://127.0.0.1:9/second',
};
const call = useWorker(settings);
const targets = useTargets();

type Result = { status: number; body: Record<string, unknown>; text: string };
type Api = (method: string, path: string, json?: unknown) => Promise<Result>;

const test = plain
  .extend(
    'api',
    ({ dataset }): Api =>
      async (method, path, json) => {
        const response = await call(`/v1/monitor/${path}?dataset=${dataset}`, { method, json });
        const text = await response.text();
        return {
          status: response.status,
          text,
          body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
        };
      },
  )
  /** Writes a service with a check, and runs it in the runtime of the Worker. */
  .extend('run', ({ api }) => async (check: object) => {
    const statusConfig = { timeout: '1s', attemptPause: '10ms', attempts: 1, ...check };
    const put = await api('PUT', 'services/one', { statusConfig });
    expect(put.status, put.text).toBe(200);
    const { status, text, body } = await api('POST', 'services/one/check');
    expect(status, text).toBe(200);
    return body as {
      status: string;
      reason: string | null;
      details: Record<string, unknown>;
      responseTimeMs: number | null;
    };
  });

const http = (path: string, more: object = {}) => ({ check: 'http', url: targets.url(path), ...more });

test('an answer that meets the conditions is ok', async ({ run }) => {
  const conditions = ['[STATUS] == 200', '[BODY].items[0].id == 7', '[RESPONSE_TIME] < 900'];
  expect(await run(http('/json', { conditions }))).toMatchObject({ status: 'ok', reason: null, message: 'OK' });
  const result = await run(http('/json', { conditions: ['[BODY].status == DOWN'] }));
  expect(result).toMatchObject({ status: 'failed', reason: 'conditions' });
  expect(result.details.conditions).toEqual([{ condition: '[BODY].status == DOWN' }]);
  const shown = await run(http('/json', { conditions: ['[BODY].status == DOWN'], showValues: true }));
  expect(shown.details.conditions).toEqual([{ condition: '[BODY].status == DOWN', value: 'UP' }]);
  expect(await run(http('/slow', { degraded: ['[RESPONSE_TIME] < 20'] }))).toMatchObject({
    status: 'degraded',
    reason: 'slow',
  });
});

test('each way to fail has a reason', async ({ run }) => {
  const body = { conditions: ['[BODY] == pat(*)'] };
  const found: Record<string, string | null> = {};
  for (const [path, more] of Object.entries({
    '/hang': {},
    '/reset': {},
    '/lies': body,
    '/drip': { ...body, timeout: '500ms' },
    '/522': {},
    '/530': {},
    '/503': {},
    '/to-nowhere': { followRedirects: 2 },
    '/to-itself': { followRedirects: 2 },
    '/to-private': { followRedirects: 2 },
  })) {
    const { status, reason } = await run(http(path, more));
    found[path] = `${status}: ${reason}`;
  }
  expect(found).toEqual({
    '/hang': 'failed: timeout',
    '/reset': 'failed: connection',
    '/lies': 'failed: connection',
    '/drip': 'failed: timeout',
    '/522': 'failed: timeout',
    '/530': 'failed: dns',
    '/503': 'failed: conditions',
    '/to-nowhere': 'failed: redirects',
    '/to-itself': 'failed: redirects',
    '/to-private': 'unknown: refused-target',
  });
});

test('a closed port fails, and a body without an end is read up to its limit', async ({ run }) => {
  const closed = { check: 'http', url: `http://127.0.0.1:${targets.ports.closed}/` };
  expect(await run(closed)).toMatchObject({ status: 'failed', reason: expect.stringMatching(/refused|connection/) });
  const endless = await run(http('/endless', { conditions: ['len([BODY]) == 65536'] }));
  expect(endless).toMatchObject({ status: 'ok', details: { bodyCut: true } });
});

test('redirects are followed as far as allowed, and credentials stay at their origin', async ({ run }) => {
  expect(await run(http('/to-ok'))).toMatchObject({ status: 'ok', details: { status: 302 } });
  expect(await run(http('/to-ok', { followRedirects: 1 }))).toMatchObject({ status: 'ok', details: { status: 200 } });
  targets.received.length = 0;
  const headers = { authorization: 'Bearer tell-nobody', 'x-key': 'secret too', accept: 'text/plain' };
  expect(await run(http('/to-other', { followRedirects: 1, headers }))).toMatchObject({ status: 'ok' });
  expect(targets.received.map(({ headers: sent }) => [sent.authorization, sent['x-key'], sent.accept])).toEqual([
    ['Bearer tell-nobody', 'secret too', 'text/plain'],
    [undefined, undefined, 'text/plain'],
  ]);
  const posted = await run(http('/to-other', { followRedirects: 1, method: 'POST', body: 'text' }));
  expect(posted).toMatchObject({ status: 'unknown', reason: 'refused-target' });
});

test('a second attempt can succeed, and both are in the details', async ({ run }) => {
  const result = await run(http('/flaky', { attempts: 2 }));
  expect(result).toMatchObject({ status: 'ok', details: { attempts: [{ reason: 'conditions' }, { reason: null }] } });
});

test('secrets of a check are in no answer', async ({ run, api }) => {
  targets.received.length = 0;
  const result = await run(http('/503?token=hidden-token', { headers: { authorization: 'Bearer hidden-header' } }));
  expect(targets.received[0]?.path).toBe('/503?token=hidden-token');
  expect(targets.received[0]?.headers.authorization).toBe('Bearer hidden-header');
  expect(JSON.stringify(result)).not.toMatch(/hidden|127\.0\.0\.1/);
  expect((await api('GET', 'services/one')).text).not.toContain('hidden');
});

test('TCP: open, closed, and more checks than an invocation has connections', async ({ run, api }) => {
  const { tcp, closed } = targets.ports;
  for (let i = 0; i < 8; i += 1) {
    expect(await run({ check: 'tcp', host: '127.0.0.1', port: tcp })).toMatchObject({ status: 'ok', reason: null });
  }
  expect(await run({ check: 'tcp', host: '127.0.0.1', port: closed })).toMatchObject({
    status: 'failed',
    reason: expect.stringMatching(/refused|connection/),
  });
  const isClosed = { check: 'tcp', host: '127.0.0.1', port: closed, conditions: ['[CONNECTED] == false'] };
  expect(await run(isClosed)).toMatchObject({ status: 'ok' });
  const refused = await api('PUT', 'services/two', { statusConfig: { check: 'tcp', host: '10.0.0.1', port: 80 } });
  expect(refused.status).toBe(400);
  expect(refused.text).toContain('not public');
});

test('the end of a certificate is read; a server with TLS 1.3 only is unsupported', async ({ run }) => {
  const { tls12, tls13, tcp } = targets.ports;
  const certificate = (port: number, more: object = {}) => ({ check: 'certificate', host: 'localhost', port, ...more });
  const good = await run(certificate(tls12, { conditions: ['[CERTIFICATE_EXPIRATION] > 48h'] }));
  expect(good).toMatchObject({ status: 'ok' });
  const { expiresAt, fingerprint } = good.details.certificate as { expiresAt: string; fingerprint: string };
  expect(Math.round((Date.parse(expiresAt) - Date.now()) / 86_400_000)).toBe(29);
  expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
  expect(await run(certificate(tls12, { conditions: ['[CERTIFICATE_EXPIRATION] > 720h'] }))).toMatchObject({
    status: 'failed',
  });
  expect(await run(certificate(tls13))).toMatchObject({ status: 'unknown', reason: 'unsupported' });
  expect(await run(certificate(tcp))).toMatchObject({ status: 'failed', reason: 'timeout' });
  expect(await run(certificate(targets.ports.http))).toMatchObject({ status: 'failed', reason: 'tls' });
});

test('a bad condition is refused when it is written', async ({ api }) => {
  const bad = await api('PUT', 'services/one', {
    statusConfig: http('/ok', { conditions: ['[STATUS] == 200', '[IP] == 1'] }),
  });
  expect(bad.status).toBe(400);
  expect(bad.text).toContain('conditions.1');
  expect(bad.text).toContain('[IP] is unknown');
});

test('a shard with hanging targets: the others are measured, and a repetition stores nothing', async ({
  api,
  dataset,
}) => {
  expect((await api('POST', 'setup')).status).toBe(200);
  const slow = Array.from(
    { length: 3 },
    (_, i) => [`hang${i}`, http('/hang', { timeout: '2s', attempts: 1 })] as const,
  );
  const quick = Array.from({ length: 20 }, (_, i) => [`ok${i}`, http('/slow')] as const);
  for (const [id, statusConfig] of [...slow, ...quick]) await api('PUT', `services/${id}`, { statusConfig });
  const ctx = { ...newInstance(settings), connect: connectFromWorker };
  const config = await readConfig(ctx, dataset);
  const tick = Math.floor(Date.now() / 60_000);
  const shard = { dataset, tick, services: [...slow, ...quick].map(([id]) => id) };
  const runs = await Promise.all([1, 2, 3].map(() => runShard(ctx, config, shard, { until_ms: ctx.now() + 20_000 })));
  expect(runs.map(({ isRepeat }) => isRepeat).sort()).toEqual([false, true, true]);
  const response = await call('/v1/sql', {
    json: {
      dataset,
      sql: "SELECT startsWith(service_id, 'hang') AS h, count() AS n, uniqExact(service_id) AS u, groupUniqArray(status_code) AS c, max(response_time_ms) AS t FROM service_status GROUP BY h ORDER BY h",
    },
  });
  const { rows } = (await response.json()) as { rows: { n: number; u: number; c: number[]; t: number | null }[] };
  expect(rows).toMatchObject([
    { n: 20, u: 20, c: [0] },
    { n: 3, u: 3, c: [2], t: null },
  ]);
  expect(rows[0]?.t).toBeLessThan(1_000);
});

test('what did not begin in time is unknown, and so is everything when the network of the checker fails', async ({
  api,
  dataset,
}) => {
  await api('POST', 'setup');
  for (const i of [0, 1, 2]) {
    const url = `http://host${i}.localhost:${targets.ports.closed}/`;
    await api('PUT', `services/s${i}`, { statusConfig: { check: 'http', url, attempts: 1 } });
  }
  const ctx = { ...newInstance(settings), connect: connectFromWorker };
  const config = await readConfig(ctx, dataset);
  const services = ['s0', 's1', 's2'];
  await runShard(ctx, config, { dataset, tick: 1, services }, { until_ms: ctx.now() + 10_000 });
  await runShard(ctx, config, { dataset, tick: 2, services }, { until_ms: ctx.now() });
  const online = {
    ...newInstance({ ...settings, TIMESTORE_MONITOR_ANCHORS: targets.url('/ok') }),
    connect: connectFromWorker,
  };
  await runShard(online, config, { dataset, tick: 3, services }, { until_ms: ctx.now() + 10_000 });
  const sql =
    "SELECT status_code AS code, JSONExtractString(toString(details), 'reason') AS reason, count() AS n FROM service_status GROUP BY code, reason ORDER BY code, reason";
  const response = await call('/v1/sql', { json: { dataset, sql } });
  const text = await response.text();
  expect(response.status, text).toBe(200);
  const { rows } = JSON.parse(text) as { rows: { code: number; reason: string; n: number }[] };
  expect(rows.map(({ code, n }) => [code, n])).toEqual([
    [2, 3],
    [5, 3],
    [5, 3],
  ]);
  expect(rows.slice(1).map(({ reason }) => reason)).toEqual(['checker', 'not-run']);
});

test('the schedule runs what is due, in an invocation of its own', async ({ api, dataset }) => {
  await api('POST', 'setup');
  await api('PUT', 'services/due', { statusConfig: http('/json') });
  await api('PUT', 'services/off', { enabled: false, statusConfig: http('/json') });
  const cron = call.fireCron('*/1 * * * *', new Date());
  const count = async () => {
    const response = await call('/v1/sql', {
      json: { dataset, sql: 'SELECT service_id, status_code FROM service_status' },
    });
    return ((await response.json()) as { rows: unknown[] }).rows;
  };
  await expect.poll(count).toEqual([{ service_id: 'due', status_code: 0 }]);
  await cron;
});

test('pings are rows, and repetitions of a run count once', async ({ api, dataset }) => {
  await api('POST', 'setup');
  await api('PUT', 'services/job', { stack: 'night', statusConfig: { check: 'heartbeat', period: '1h' } });
  const made = await api('POST', 'services/job/ping-token');
  expect(made.status, made.text).toBe(200);
  const token = String(made.body.token);
  const ping = async (rest: string, init: RequestInit = {}) => {
    const response = await call(`/ping/${token}${rest}`, { key: null, ...init });
    return [response.status, await response.text()];
  };
  expect(await ping('/start?rid=a')).toEqual([200, 'OK']);
  expect(await ping('?rid=a')).toEqual([200, 'OK']);
  expect(await ping('?rid=a')).toEqual([200, 'OK']);
  expect(await ping('', { method: 'HEAD' })).toEqual([200, '']);
  expect(await ping('/3', { method: 'POST', body: `disk full ${'x'.repeat(20_000)}` })).toEqual([200, 'OK']);
  expect(await ping('/0')).toEqual([200, 'OK']);
  expect(await ping('/log', { method: 'POST', body: 'hello' })).toEqual([200, 'OK']);
  expect((await ping('/256'))[0]).toBe(404);
  expect((await ping('?rid=a%20b'))[0]).toBe(400);
  expect((await call('/ping/AAAAAAAAAAAAAAAAAAAAAA', { key: null })).status).toBe(404);
  const read = async (sql: string) => {
    const response = await call('/v1/sql', { json: { dataset, sql } });
    return ((await response.json()) as { rows: unknown[] }).rows;
  };
  expect(
    await read('SELECT status_code AS code, count() AS n FROM service_status GROUP BY code ORDER BY code'),
  ).toEqual([
    { code: 0, n: 3 },
    { code: 2, n: 1 },
    { code: 3, n: 1 },
  ]);
  expect(await read('SELECT log_level, length(message) AS length FROM service_logs ORDER BY length')).toEqual([
    { log_level: 'INFO', length: 5 },
    { log_level: 'ERROR', length: 10_240 },
  ]);
  const again = await api('POST', 'services/job/ping-token');
  expect(again.body.token).not.toBe(token);
  expect(JSON.stringify(await api('GET', 'services/job'))).not.toContain(token);
});
