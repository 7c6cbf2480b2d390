import type { newInstance } from '../support.ts';

/** Operations of service monitoring, in an order in which each one succeeds, for the tests of all operations. */
type Operation = {
  scopes: ('ingest' | 'query' | 'sql' | 'admin')[];
  of: 'names' | 'all' | 'lists';
  request(dataset: string): { path: string; method?: string; json?: unknown };
};

/** A definition of each kind. A later one refers to earlier ones. */
const resources = {
  services: { label: 'x', statusConfig: { check: 'tcp', host: '127.0.0.1', port: 9 } },
  channels: { kind: 'slack', url: 'https://hooks.example.com/x' },
  relations: { sourceServiceId: 'other', targetServiceId: 'x' },
  rules: { ruleName: 'x', serviceId: 'x', condition: 'no_data >', threshold: 60 },
  silences: {
    matchers: [{ label: 'service_id', value: 'x' }],
    from: '2026-05-01T10:00:00Z',
    until: '2026-05-01T12:00:00Z',
  },
  maintenances: { title: 'x', services: ['*'], from: '2026-05-01T10:00:00Z', until: '2026-05-01T12:00:00Z' },
  pages: { title: 'x', components: [] },
  slos: { serviceId: 'x', target: 99 },
};

const reading: Operation['scopes'] = ['query', 'sql', 'admin'];
const base = '/v1/monitor';

/** An open alert and an incident, which only an evaluation or an answer can name. */
const [openRule, openFingerprint, openIncident] = ['api-down', '9f8c2a7d5e6b1c30', 'inc_5f0c3a1b9d2e4f6a8b7c6d5e'];

/** Puts them into a dataset, before anything reads its alerts. */
export async function openAlert({ postgres }: ReturnType<typeof newInstance>, buffer: string, dataset: string) {
  const at_ms = Date.UTC(2026, 4, 1, 10);
  const machine = {
    state: 'firing',
    reason: 'breach',
    since_ms: at_ms,
    startsAt_ms: at_ms,
    firedAt_ms: at_ms,
    episode: 1,
    held_ms: 0,
    bad_ms: 0,
    lastInput: 'breach',
    lastBreachAt_ms: at_ms,
    successAt_ms: null,
    successes: 0,
    flaps: 0,
    value: 3,
    firedValue: 3,
    ackedBy: null,
    revision: 1,
  };
  const identity = { ruleId: openRule, fingerprint: openFingerprint, serviceId: 'api', labels: { service_id: 'api' } };
  await postgres.rows('insert into alert_states (buffer, dataset, version) values ($1, $2, 1)', [buffer, dataset]);
  await postgres.rows(
    `insert into alert_instances (buffer, dataset, rule_id, fingerprint, service_id, state, instance)
     values ($1, $2, $3, $4, 'api', 'firing', $5)`,
    [buffer, dataset, openRule, openFingerprint, JSON.stringify({ ...identity, machine, told: {} })],
  );
  await postgres.rows(
    `insert into incidents (buffer, dataset, id, title, impact, status, is_automatic, is_public, opened_at)
     values ($1, $2, $3, 'x', 'major', 'investigating', false, false, now())`,
    [buffer, dataset, openIncident],
  );
}

function operation(method: string, path: string, json?: unknown): [string, Operation] {
  const named = path
    .replace(/\/x(?=\/|$)/, path.startsWith('/secrets') ? '/{name}' : '/{id}')
    .replace(openIncident, '{id}')
    .replace(`${openRule}/${openFingerprint}`, '{rule}/{fingerprint}');
  return [
    `${method} ${base}${named}`,
    {
      scopes: method === 'get' ? reading : ['admin'],
      of: 'names',
      request: (dataset) => ({
        path: `${base}${path}?dataset=${dataset}`,
        method: method.toUpperCase(),
        ...(json !== undefined && { json }),
      }),
    },
  ];
}

const collections = Object.entries(resources);

export const monitorOperations: Record<string, Operation> = Object.fromEntries([
  operation('post', '/setup'),
  operation('get', '/schema'),
  operation('get', '/storage'),
  operation('post', '/apply', { resources: { services: { other: {} } } }),
  ...collections.map(([name, definition]) => operation('put', `/${name}/x`, definition)),
  ...collections.flatMap(([name]) => [operation('get', `/${name}`), operation('get', `/${name}/x`)]),
  operation('patch', '/services/x', { stack: 'y' }),
  operation('patch', '/channels/x', { groupWait: '30s' }),
  operation('patch', '/relations/x', { enabled: false }),
  operation('patch', '/rules/x', { threshold: 90 }),
  operation('patch', '/silences/x', { comment: 'y' }),
  operation('patch', '/maintenances/x', { title: 'y' }),
  operation('patch', '/pages/x', { title: 'y' }),
  operation('patch', '/slos/x', { target: 98 }),
  operation('put', '/secrets/x', { value: 'y' }),
  operation('get', '/secrets'),
  operation('delete', '/secrets/x'),
  operation('get', '/services/x/history'),
  operation('post', '/services/x/check'),
  operation('post', '/services/x/ping-token'),
  operation('post', '/channels/x/test'),
  ...['alerts', 'alert-events', 'deliveries', 'incidents'].map((name) => operation('get', `/${name}`)),
  operation('post', `/alerts/${openRule}/${openFingerprint}/ack`),
  operation('post', '/incidents', { title: 'x', impact: 'minor', body: 'y' }),
  operation('get', `/incidents/${openIncident}`),
  operation('patch', `/incidents/${openIncident}`, { isPublic: true }),
  operation('post', `/incidents/${openIncident}/updates`, { status: 'identified', body: 'y' }),
  ...['status', 'availability', 'slo', 'metrics'].map((name) => operation('get', `/${name}`)),
  ...[...collections].reverse().map(([name]) => operation('delete', `/${name}/x`)),
]);

/** Runs the examples of the API's description, in an order in which each one succeeds, after `openAlert`. */
export async function runMonitorExamples(
  run: (name: string, ids?: Record<string, string>) => Promise<Record<string, unknown>>,
): Promise<void> {
  const service = `put ${base}/services/{id}`;
  await run(service);
  for (const name of Object.keys(monitorOperations)) {
    // Others use the service of the example.
    if (name === service) continue;
    const answer = await run(name);
    if (name !== `post ${base}/services/{id}/ping-token`) continue;
    const ids = { token: String(answer.token) };
    for (const method of ['get', 'post']) {
      await run(`${method} /ping/{token}/{signal}`, ids);
      await run(`${method} /ping/{token}`, ids);
    }
  }
}
