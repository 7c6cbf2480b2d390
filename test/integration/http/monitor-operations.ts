/** Operations of service monitoring, in an order in which each one succeeds, for the tests of all operations. */
type Operation = {
  scopes: ('ingest' | 'query' | 'sql' | 'admin')[];
  of: 'names' | 'all' | 'lists';
  request(dataset: string): { path: string; method?: string; json?: unknown };
};

/** A definition of each kind. A later one refers to earlier ones. */
const resources = {
  services: { label: 'x' },
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

function operation(method: string, path: string, json?: unknown): [string, Operation] {
  const named = path.replace(/\/x(?=\/|$)/, path.startsWith('/secrets') ? '/{name}' : '/{id}');
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
  ...['status', 'availability', 'slo', 'metrics'].map((name) => operation('get', `/${name}`)),
  ...[...collections].reverse().map(([name]) => operation('delete', `/${name}/x`)),
]);

/** Runs the examples of the API's description, in an order in which each one succeeds. */
export async function runMonitorExamples(run: (name: string) => Promise<unknown>): Promise<void> {
  const names = Object.keys(monitorOperations);
  const service = `put ${base}/services/{id}`;
  await run(service);
  for (const name of names) {
    // Others use the service of the example.
    if (name !== service) await run(name);
  }
}
