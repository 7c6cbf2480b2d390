import { afterAll, beforeAll, expect, test } from 'vitest';
import { builtWorker } from '../built-worker.ts';
import { useCli } from '../cli/support.ts';
import { startMiniflare } from '../integration/http/miniflare.ts';
import { at } from '../integration/support.ts';
import { useCluster } from './support.ts';

const { env, without } = useCluster();
const cli = useCli();
let miniflare: ReturnType<typeof startMiniflare>;
let base: URL;
beforeAll(async () => {
  miniflare = startMiniflare({ build: await builtWorker(), bindings: env() });
  base = await miniflare.ready;
});
afterAll(() => miniflare?.dispose());

const headers = { authorization: 'Bearer local-admin', 'content-type': 'application/json' };
async function call(method: string, path: string, body?: unknown) {
  const answer = await fetch(new URL(path, base), {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}
const run = (...args: string[]) => {
  return cli.run([...args, '--json'], { TIMESTORE_URL: String(base), TIMESTORE_KEY: 'local-admin' });
};

test('tables are given lanes on every shard over HTTP and from the command line, and are asked as a whole', async () => {
  const tables = '/v1/admin/datasets/plant/tables';
  await call('POST', '/v1/datasets/plant/tables/readings/rows', { timestamp: at(1), v: 1 });
  expect(await call('PATCH', `${tables}/readings`, { lanes: 'spread' })).toMatchObject({ status: 200 });
  const { body: readings } = await call('GET', `${tables}/readings`);
  expect((readings.shards as number[]).slice(0, readings.lanes as number).sort()).toEqual([1, 2, 3]);
  await call('POST', '/v1/datasets/plant/tables/sites/rows', { timestamp: at(1), v: 1 });
  // One that is on its way out stays as it is, and stops nothing.
  await call('POST', '/v1/datasets/plant/tables/gone/rows', { timestamp: at(1), v: 1 });
  expect(await call('DELETE', `${tables}/gone`)).toMatchObject({ status: 202 });
  const spread = await run('datasets', 'spread', 'plant');
  expect([spread.code, spread.stderr]).toEqual([0, '']);
  const shown = JSON.parse(spread.stdout) as { name: string; shards: number[] }[];
  expect(shown.map(({ name }) => name)).toEqual(['readings', 'sites']);
  expect(shown.map(({ shards }) => new Set(shards).size)).toEqual([3, 3]);
  const changed = await run('tables', 'change', 'plant.sites', '--lanes', 'spread');
  expect(JSON.parse(changed.stdout)).toMatchObject({ shards: shown[1]?.shards });

  for (let id = 0; id < 30; id += 1) {
    const rows = { timestamp: at(id), v: id };
    expect((await call('POST', '/v1/datasets/plant/tables/readings/rows', rows)).status).toBe(202);
  }
  const count = { dataset: 'plant', sql: 'SELECT count() AS n, sum(v) AS s FROM readings' };
  expect((await call('POST', '/v1/sql', count)).body.rows).toEqual([{ n: 31, s: 436 }]);
  expect((await call('POST', '/v1/admin/flush')).status).toBe(200);
  expect((await call('POST', '/v1/sql', count)).body.rows).toEqual([{ n: 31, s: 436 }]);
});

test('with a node down the deployment says that it is degraded, and which node it is', async () => {
  const before = await call('GET', '/ready');
  expect(before).toMatchObject({ status: 200, body: { status: 'ok' } });
  const targets = async () => {
    const { stdout } = await run('storage');
    const all = JSON.parse(stdout) as { kind: string; shard: number | null; available: boolean }[];
    return all.filter(({ kind }) => kind === 'clickhouse').map(({ shard, available }) => [shard, available]);
  };
  expect(await targets()).toEqual([1, 2, 3].map((shard) => [shard, true]));
  await without([2], async () => {
    expect(await targets()).toEqual([1, 2, 3].map((shard) => [shard, shard !== 2]));
    await expect.poll(async () => (await call('GET', '/ready')).body).toMatchObject({ status: 'degraded' });
    const count = { dataset: 'plant', sql: 'SELECT count() AS n FROM readings' };
    const answer = await call('POST', '/v1/sql', count);
    expect(answer).toMatchObject({ status: 503, body: { type: 'urn:timestore:unavailable' } });
    expect(answer.body.detail).toMatch(/a shard that does not answer/);
    expect(JSON.stringify(answer.body)).not.toMatch(/127\.0\.0\.1/);
  });
});
