import { expect, test } from 'vitest';
import { app } from '../../functions/api.ts';
import { classOfHandler } from '../../functions/http/route-class.ts';

test('every route says one kind for metrics, and it is that of its address', () => {
  const routes = Map.groupBy(
    // Those of all methods are on the way to a route.
    app.routes.filter(({ method }) => method !== 'ALL'),
    ({ method, path }) => `${method} ${path}`,
  );
  expect(routes.size).toBeGreaterThan(70);
  const kinds = [...routes].map(([route, handlers]) => {
    return { route, kinds: handlers.flatMap(({ handler }) => classOfHandler(handler) ?? []) };
  });
  expect(kinds.filter((each) => each.kinds.length !== 1)).toEqual([]);
  const of = (kind: string) => kinds.flatMap((each) => (each.kinds[0] === kind ? [each.route] : [])).sort();
  expect(of('other')).toEqual([]);
  expect(of('ingest')).toEqual([
    'GET /ping/:token',
    'GET /ping/:token/:signal',
    'POST /datasets/:dataset/ingest',
    'POST /ping/:token',
    'POST /ping/:token/:signal',
    'POST /v1/datasets/:dataset/ingest',
    'POST /v1/datasets/:dataset/tables/:table/rows',
  ]);
  expect(of('query')).toEqual(['POST /datasets/:dataset/query', 'POST /v1/datasets/:dataset/query']);
  expect(of('receipt')).toEqual(['GET /v1/receipts/:batchId']);
  expect(of('cancel')).toEqual(['DELETE /v1/queries/:id']);
  expect(of('sql').filter((route) => !/^[A-Z]+ (?:\/v1\/sql|\/sql\/read)(?:\/|$)/.test(route))).toEqual([]);
  expect(of('health').filter((route) => !/^GET \/(?:health|ready|metrics|openapi\.json|docs.*)$/.test(route))).toEqual(
    [],
  );
  expect(of('page').filter((route) => !route.startsWith('GET /status/'))).toEqual([]);
  const admin = kinds.filter(({ route }) => /\/(?:admin|v1\/monitor)\//.test(route)).map(({ route }) => route);
  expect(of('admin')).toEqual(admin.sort());
});
