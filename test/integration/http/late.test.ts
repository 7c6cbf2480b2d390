import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type CountingProxy, startCountingProxy } from '../../bench/counting-proxy.ts';
import { at, newDataset } from '../support.ts';
import { useWorker } from './worker.ts';

let held = Promise.resolve();
let clickhouse: CountingProxy;
const env: Record<string, string> = { TIMESTORE_QUERY_TIMEOUT_MS: '500' };
beforeAll(async () => {
  clickhouse = await startCountingProxy(inject('env').CLICKHOUSE_URL ?? '', () => held);
  env.CLICKHOUSE_URL = clickhouse.url;
});
afterAll(() => clickhouse.stop());
const call = useWorker(env);

test('a query that ClickHouse does not answer in time may be sent again', async () => {
  const dataset = newDataset();
  await call(`/v1/datasets/${dataset}/tables/m/rows?ack=flushed`, { json: { timestamp: at(1), v: 1 } });
  const hold = Promise.withResolvers<void>();
  held = hold.promise;
  for (const [path, json] of [
    [`/v1/datasets/${dataset}/query`, { tableName: 'm' }],
    ['/v1/sql', { dataset, sql: 'SELECT count() AS n FROM m' }],
  ] as const) {
    const answer = await call(path, { json });
    expect([answer.status, await answer.json()]).toMatchObject([503, { type: 'urn:timestore:unavailable' }]);
  }
  hold.resolve();
  const answer = await call(`/v1/datasets/${dataset}/query`, { json: { tableName: 'm' } });
  expect(await answer.json()).toMatchObject({ rows: [{ v: 1 }] });
});
