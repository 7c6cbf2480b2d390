import { expect, inject } from 'vitest';
import { datasetGone } from '../../../src/catalog/drop-table.ts';
import { forgetMonitoring } from '../../../src/catalog/monitoring-copies.ts';
import { applySet } from '../../../src/monitoring/changes/apply.ts';
import { currentConfig, monitoredDatasets } from '../../../src/monitoring/config-cache.ts';
import { serviceDefinition } from '../../../src/monitoring/resources/service.ts';
import { readConfig } from '../../../src/monitoring/resources/store.ts';
import { test as plain } from '../fixtures.ts';
import { useWorker } from '../http/worker.ts';
import { newInstance } from '../support.ts';

const prefix = `monitor-${process.pid}`;
const call = useWorker({ TIMESTORE_KEY_PREFIX: prefix });
const ctx = newInstance({ TIMESTORE_KEY_PREFIX: prefix });

type Answer = { status: number; etag: string | null; body: Record<string, unknown>; text: string };
type Api = (method: string, path: string, json?: unknown, headers?: Record<string, string>) => Promise<Answer>;

const test = plain.extend(
  'api',
  ({ dataset }): Api =>
    async (method, path, json, headers) => {
      const [base, query = ''] = path.split('?');
      const response = await call(`/v1/monitor/${base}?dataset=${dataset}&${query}`, {
        json,
        method,
        ...(headers !== undefined && { headers }),
      });
      const text = await response.text();
      return {
        status: response.status,
        etag: response.headers.get('etag'),
        text,
        body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
      };
    },
);

const http = (url: string, more: object = {}) => ({ statusConfig: { check: 'http', url, ...more } });
const rule = { ruleName: 'down', serviceId: 'api', condition: 'failures_in_a_row >=', threshold: 2 };

test('a service is created, read, listed, changed and deleted', async ({ api, dataset }) => {
  const made = await api('PUT', 'services/api', { label: 'API', ...http('https://api.example.com/health') });
  expect(made).toMatchObject({ status: 200, etag: '"1"', body: { id: 'api', revision: 1, changedBy: 'admin' } });
  expect(made.body.definition).toMatchObject({ label: 'API', enabled: true, statusConfig: { interval: '1m' } });
  expect(await api('GET', 'services/api')).toMatchObject({ status: 200, etag: '"1"', body: made.body });
  const patched = await api('PATCH', 'services/api', { statusConfig: { interval: '5m' }, label: null });
  expect(patched).toMatchObject({ status: 200, etag: '"2"' });
  expect(patched.body.definition).toMatchObject({ statusConfig: { interval: '5m', timeout: '10s' } });
  expect(patched.body.definition).not.toHaveProperty('label');
  await api('PUT', 'services/B', {});
  await api('PUT', 'services/c', {});
  const first = await api('GET', 'services?limit=2');
  expect(first.body).toMatchObject({ services: [{ id: 'B' }, { id: 'api' }], next: 'api' });
  expect((await api('GET', 'services?limit=2&cursor=api')).body).toMatchObject({ services: [{ id: 'c' }], next: null });
  const config = await readConfig(ctx, dataset);
  expect(config.revision).toBe(4);
  expect([...config.services.keys()]).toEqual(['B', 'api', 'c']);
  expect(await api('DELETE', 'services/c')).toMatchObject({ status: 204 });
  expect(await api('DELETE', 'services/c')).toMatchObject({ status: 404 });
  expect(await api('GET', 'services/c')).toMatchObject({ status: 404 });
});

test('a repetition of a request changes no revision and writes no audit line', async ({ api, dataset }) => {
  const definition = { label: 'API', ...http('https://api.example.com/?token=abc') };
  for (let i = 0; i < 3; i += 1) expect(await api('PUT', 'services/api', definition)).toMatchObject({ etag: '"1"' });
  const lines = await ctx.postgres.rows<{ action: string }>('select action from audit_log where dataset = $dataset', {
    dataset,
  });
  expect(lines).toEqual([{ action: 'service.create' }]);
  expect(await readConfig(ctx, dataset)).toMatchObject({ revision: 1 });
});

test('of two writers with one ETag, one is refused', async ({ api }) => {
  await api('PUT', 'services/api', { label: 'first' });
  const writers = Array.from({ length: 6 }, (_, i) =>
    api('PATCH', 'services/api', { label: `writer ${i}` }, { 'if-match': '"1"' }),
  );
  const answers = await Promise.all(writers);
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 412, 412, 412, 412, 412]);
  const [won] = answers.filter(({ status }) => status === 200);
  expect(await api('GET', 'services/api')).toMatchObject({ etag: '"2"', body: { definition: won?.body.definition } });
  expect(await api('PUT', 'services/other', {}, { 'if-match': '"1"' })).toMatchObject({ status: 412 });
  expect(await api('DELETE', 'services/api', undefined, { 'if-match': '"1"' })).toMatchObject({ status: 412 });
});

test('concurrent changes of different resources are all kept, and none closes a cycle', async ({ api, dataset }) => {
  const ids = Array.from({ length: 8 }, (_, i) => `s${i}`);
  const made = await Promise.all(ids.map((id) => api('PUT', `services/${id}`, {})));
  expect(made.map(({ status }) => status)).toEqual(ids.map(() => 200));
  // A ring: each relation is allowed as long as one of the others is missing.
  const ring = await Promise.all(
    ids.map((id, i) =>
      api('PUT', `relations/r${i}`, { sourceServiceId: id, targetServiceId: ids[(i + 1) % ids.length] }),
    ),
  );
  expect(ring.filter(({ status }) => status === 200)).toHaveLength(7);
  const [refused] = ring.filter(({ status }) => status !== 200);
  expect(refused).toMatchObject({ status: 409, body: { type: 'urn:timestore:inconsistent-change' } });
  expect(refused?.body.detail).toMatch(/cycle: s0 → s1 → s2 → s3 → s4 → s5 → s6 → s7 → s0\.$/);
  expect((await readConfig(ctx, dataset)).relations).toHaveLength(7);
});

test('a cycle through three services and one onto itself are refused; a disabled one and parts of a whole are not', async ({
  api,
}) => {
  for (const id of ['a', 'b', 'c']) await api('PUT', `services/${id}`, {});
  const relate = (id: string, sourceServiceId: string, targetServiceId: string, more: object = {}) =>
    api('PUT', `relations/${id}`, { sourceServiceId, targetServiceId, ...more });
  await relate('ab', 'a', 'b');
  await relate('bc', 'b', 'c', { relationType: 'runs_on' });
  expect(await relate('ca', 'c', 'a')).toMatchObject({ status: 409, body: { cycle: ['a', 'b', 'c', 'a'] } });
  expect(await relate('aa', 'a', 'a')).toMatchObject({ status: 409, body: { cycle: ['a', 'a'] } });
  expect(await relate('part', 'c', 'a', { relationType: 'part_of' })).toMatchObject({ status: 200 });
  expect(await relate('ca', 'c', 'a', { enabled: false })).toMatchObject({ status: 200 });
  expect(await api('PATCH', 'relations/ca', { enabled: true })).toMatchObject({ status: 409 });
});

test('a definition names what exists, and what is named cannot be deleted', async ({ api }) => {
  expect(await api('PUT', 'rules/down', { ...rule, notificationChannels: ['ops'] })).toMatchObject({
    status: 400,
    body: {
      problems: [
        { path: 'serviceId', message: 'Service api does not exist' },
        { path: 'notificationChannels.0', message: 'Channel ops does not exist' },
      ],
    },
  });
  await api('PUT', 'services/api', {});
  await api('PUT', 'channels/ops', { kind: 'slack', url: 'https://hooks.example.com/T0/B0/x' });
  expect(await api('PUT', 'rules/down', { ...rule, notificationChannels: ['ops'] })).toMatchObject({ status: 200 });
  await api('PUT', 'pages/p', { title: 'P', components: [{ id: 'c', label: 'C', services: ['api', 'stack:x'] }] });
  await api('PUT', 'slos/s', { serviceId: 'api', target: 99.9 });
  expect(await api('DELETE', 'services/api')).toMatchObject({
    status: 409,
    body: { usedBy: ['rule down', 'page p', 'slo s'].sort(), retryable: false },
  });
  expect(await api('DELETE', 'channels/ops')).toMatchObject({ status: 409, body: { usedBy: ['rule down'] } });
  for (const path of ['slos/s', 'pages/p', 'rules/down', 'channels/ops', 'services/api'])
    expect(await api('DELETE', path)).toMatchObject({ status: 204 });
  expect((await api('GET', 'secrets')).body).toEqual({ secrets: [], next: null });
});

test('the condition of a rule is parsed', async ({ api }) => {
  expect(await api('PUT', 'rules/r', { ...rule, serviceId: '*', condition: 'errors >' })).toMatchObject({
    status: 400,
    body: { problems: [{ path: 'condition', message: expect.stringContaining('errors is unknown') }] },
  });
});

test('a set is applied as a whole: planned, checked, pruned, or nothing', async ({ api, dataset }) => {
  const resources = {
    services: { api: { label: 'API' }, db: {} },
    relations: { r: { sourceServiceId: 'api', targetServiceId: 'db' } },
    rules: { down: rule },
  };
  const dry = await api('POST', 'apply', { resources, dryRun: true });
  expect(dry.body.changes).toMatchObject([
    { action: 'create', kind: 'service', id: 'api' },
    { action: 'create', kind: 'service', id: 'db' },
    { action: 'create', kind: 'relation', id: 'r' },
    { action: 'create', kind: 'rule', id: 'down' },
  ]);
  expect(await readConfig(ctx, dataset)).toMatchObject({ revision: 0 });
  const done = await api('POST', 'apply', { resources }, { 'if-match': dry.etag ?? '' });
  expect(done).toMatchObject({ status: 200, etag: '"1"', body: { changes: dry.body.changes, unchanged: 0 } });
  expect((await api('POST', 'apply', { resources })).body).toMatchObject({ changes: [], unchanged: 4, revision: 1 });
  // The configuration has changed since the plan.
  expect(await api('POST', 'apply', { resources }, { 'if-match': '"0"' })).toMatchObject({ status: 412 });

  const broken = {
    resources: { services: { web: {} }, rules: { down: { ...rule, threshold: 5, serviceId: 'nothing' } } },
  };
  expect(await api('POST', 'apply', broken)).toMatchObject({
    status: 400,
    body: { problems: [{ path: 'resources.rules.down.serviceId', message: 'Service nothing does not exist' }] },
  });
  expect(await api('GET', 'services/web')).toMatchObject({ status: 404 });

  await api('PUT', 'silences/s', {
    matchers: [{ label: 'service_id', value: 'db' }],
    from: '2026-05-01T10:00:00Z',
    until: '2026-05-01T11:00:00Z',
  });
  // The relation keeps the service that the set does not have.
  const pruned = { resources: { services: { api: { label: 'API!' } }, rules: { down: rule } }, prune: true };
  expect((await api('POST', 'apply', pruned)).body.changes).toEqual([
    { action: 'change', kind: 'service', id: 'api', members: [{ member: 'label', before: 'API', after: 'API!' }] },
    { action: 'remove', kind: 'service', id: 'db', members: [] },
    { action: 'remove', kind: 'relation', id: 'r', members: [] },
  ]);
  expect(await api('GET', 'silences/s')).toMatchObject({ status: 200 });
  await api('POST', 'apply', { resources: { ...pruned.resources, silences: {} }, prune: true });
  expect(await api('GET', 'silences/s')).toMatchObject({ status: 404 });
  const { services, relations, rules } = await readConfig(ctx, dataset);
  expect({ services: [...services.keys()], relations, rules: rules.length }).toEqual({
    services: ['api'],
    relations: [],
    rules: 1,
  });
});

test('secrets are in no answer, error, audit line or definition', async ({ api, dataset }) => {
  const values = ['abc-query', 'T0/B0/hook-path', 'R0UT1NG', 'bearer-xyz', 'pw-in-url', 'set-by-name', 'second-value'];
  const answers = [
    await api(
      'PUT',
      'services/api',
      http('https://user:pw-in-url@x.example.com/?token=abc-query', {
        headers: { authorization: 'Bearer bearer-xyz', accept: 'text/plain' },
      }),
    ),
    await api('PUT', 'channels/slack', { kind: 'slack', url: 'https://hooks.example.com/services/T0/B0/hook-path' }),
    await api('PUT', 'channels/pager', { kind: 'pagerduty', routingKey: 'R0UT1NG' }),
    await api('PUT', 'secrets/OWN', { value: 'set-by-name' }),
    await api('PUT', 'services/named', http('https://x.example.com/', { headers: { 'x-key': { secret: 'OWN' } } })),
    await api('GET', 'services'),
    await api('GET', 'channels'),
    await api('GET', 'secrets'),
    // Refused: the values are those of the request.
    await api('PUT', 'channels/slack', { kind: 'slack', url: 'http://10.0.0.1/services/T0/B0/hook-path' }),
    await api('PUT', 'channels/slack', { kind: 'slack', url: 'hook-path T0/B0/hook-path' }),
    await api('PUT', 'channels/pager', { kind: 'pagerduty', routingKey: ['R0UT1NG'] }),
    await api('PUT', 'secrets/OWN', { value: 'set-by-name', more: 'set-by-name' }),
    await api('PUT', 'secrets/OWN', { value: 'set-by-name\nx: y' }),
    await api('DELETE', 'secrets/OWN'),
    await api('POST', 'apply', {
      resources: { channels: { slack: { kind: 'slack', url: 'https://hooks.example.com/services/second-value' } } },
      secrets: { OWN: 'second-value' },
    }),
    await api('GET', 'channels/slack'),
  ];
  expect(answers.map(({ status }) => status)).toEqual([
    200, 200, 200, 204, 200, 200, 200, 200, 400, 400, 400, 400, 400, 409, 200, 200,
  ]);
  expect(answers[0]?.body.definition).toMatchObject({
    statusConfig: {
      url: { secret: 'service.api.url' },
      headers: { authorization: { secret: 'service.api.header-authorization' }, accept: 'text/plain' },
    },
  });
  expect(answers[14]?.body.changes).toEqual([
    { action: 'change', kind: 'secret', id: 'OWN', members: [] },
    { action: 'change', kind: 'channel', id: 'slack', members: [{ member: 'url', isSecret: true }] },
  ]);
  const { buffer } = { buffer: prefix };
  const stored = await ctx.postgres.rows(
    `select (select jsonb_agg(a) from audit_log a where dataset = $dataset) as lines,
            (select jsonb_agg(r) from monitor_resources r where dataset = $dataset and buffer = $buffer) as resources`,
    { dataset, buffer },
  );
  const audit = await (await call(`/v1/admin/audit-log?dataset=${dataset}`)).text();
  const shown = [...answers.map(({ text }) => text), JSON.stringify(stored), audit].join('\n');
  expect(audit).toContain('channel.create');
  for (const value of values) expect(shown, value).not.toContain(value);
  const secrets = await ctx.postgres.rows<{ name: string; value: string }>(
    'select name, value from monitor_secrets where dataset = $dataset and buffer = $buffer order by name',
    { dataset, buffer },
  );
  expect(secrets).toEqual([
    { name: 'OWN', value: 'second-value' },
    { name: 'channel.pager.routingKey', value: 'R0UT1NG' },
    { name: 'channel.slack.url', value: 'https://hooks.example.com/services/second-value' },
    { name: 'service.api.header-authorization', value: 'Bearer bearer-xyz' },
    { name: 'service.api.url', value: 'https://user:pw-in-url@x.example.com/?token=abc-query' },
  ]);
});

test('a secret that no definition uses any more is removed with the member that held it', async ({ api }) => {
  const names = async () => ((await api('GET', 'secrets')).body.secrets as { name: string }[]).map(({ name }) => name);
  await api('PUT', 'services/api', http('https://x.example.com/?token=abc'));
  expect(await names()).toEqual(['service.api.url']);
  // What an answer says can be sent back.
  const { body } = await api('GET', 'services/api');
  expect(await api('PUT', 'services/api', body.definition)).toMatchObject({ etag: '"1"' });
  await api('PUT', 'services/other', http('https://x.example.com/', { headers: { x: { secret: 'service.api.url' } } }));
  await api('PATCH', 'services/api', { statusConfig: { url: 'https://x.example.com/' } });
  expect(await names()).toEqual(['service.api.url']);
  await api('PATCH', 'services/other', { statusConfig: { headers: null } });
  await api('PUT', 'services/api', http('https://x.example.com/?token=abc'));
  expect(await api('DELETE', 'services/api')).toMatchObject({ status: 204 });
  expect(await names()).toEqual([]);
  expect(await api('PUT', 'services/api', http('https://x.example.com/', { body: { secret: 'none' } }))).toMatchObject({
    status: 400,
    body: { problems: [{ path: 'statusConfig.body', message: 'Secret none does not exist' }] },
  });
});

test('a change is refused beyond the number of resources and the size of a definition', async ({ dataset }) => {
  const of = (some: object = {}) => serviceDefinition.parse(some);
  const small = newInstance({
    TIMESTORE_KEY_PREFIX: prefix,
    TIMESTORE_MONITOR_SERVICES_MAX: '2',
    TIMESTORE_MONITOR_DEFINITION_BYTES_MAX: '2000',
  });
  const rest = { secrets: {}, prune: false, dryRun: false, revision: undefined };
  await applySet(small, dataset, { services: { a: of(), b: of() } }, rest);
  await expect(applySet(small, dataset, { services: { c: of() } }, rest)).rejects.toMatchObject({
    code: 'limit-exceeded',
  });
  await applySet(small, dataset, { services: { a: of({ label: 'still allowed' }) } }, rest);
  const large = of({ metricConfig: { text: 'x'.repeat(2_000) } });
  await expect(applySet(small, dataset, { services: { a: large } }, rest)).rejects.toMatchObject({
    code: 'limit-exceeded',
    message: expect.stringContaining('TIMESTORE_MONITOR_DEFINITION_BYTES_MAX'),
  });
});

test('the next life of a dataset has nothing of the configuration and the state before it', async ({
  api,
  dataset,
}) => {
  await api('PUT', 'services/api', http('https://x.example.com/?token=abc'));
  await ctx.postgres.transaction(datasetGone(dataset));
  for (const name of ['monitor_resources', 'monitor_secrets', 'monitor_datasets']) {
    const left = await ctx.postgres.rows(`select from ${name} where dataset = $dataset`, { dataset });
    expect([name, left]).toEqual([name, []]);
  }
  expect(await readConfig(ctx, dataset)).toMatchObject({ revision: 0, services: new Map() });
});

test('copies in the hot buffer do not bring the monitoring of a dropped dataset back', async ({ api, dataset }) => {
  await api('PUT', 'services/api', {});
  // As if the change were long ago: now readers use the copy.
  await ctx.redis.hset(ctx.keys.monitorMarks, { [dataset]: 'dirty 1 then' });
  expect((await currentConfig(ctx, dataset)).services.size).toBe(1);
  expect((await currentConfig(newInstance({ TIMESTORE_KEY_PREFIX: prefix }), dataset)).services.size).toBe(1);
  await forgetMonitoring(ctx, dataset);
  await ctx.postgres.transaction(datasetGone(dataset));
  expect((await currentConfig(ctx, dataset)).services.size).toBe(0);
  await ctx.redis.hset(ctx.keys.monitorMarks, { [dataset]: 'dirty 1 then' });
  expect((await currentConfig(ctx, dataset)).services.size).toBe(0);
  expect((await monitoredDatasets(ctx)).has(dataset)).toBe(false);
  // The next life has the same revision as the one before, and another configuration.
  await api('PUT', 'services/web', {});
  await ctx.redis.hset(ctx.keys.monitorMarks, { [dataset]: 'dirty 1 then' });
  for (const _ of [1, 2]) expect([...(await currentConfig(ctx, dataset)).services.keys()]).toEqual(['web']);
});

test('every table of monitoring is among those that the drop of a dataset empties', async () => {
  const tables = await ctx.postgres.rows<{ name: string }>(
    `select table_name as name from information_schema.columns
      where column_name = 'dataset' and table_name ~ '^(monitor|alert|incident|notification)'`,
  );
  expect(tables.length).toBeGreaterThan(10);
  const statements = datasetGone('x').map(([text]) => text);
  expect(tables.filter(({ name }) => !statements.includes(`delete from ${name} where dataset = $dataset`))).toEqual([]);
});

test('deployments that share a database have a configuration each', async ({ api, dataset }) => {
  await api('PUT', 'services/api', {});
  const other = newInstance({ TIMESTORE_KEY_PREFIX: inject('env').TIMESTORE_KEY_PREFIX ?? 'other' });
  expect(await readConfig(other, dataset)).toMatchObject({ revision: 0, services: new Map() });
});
