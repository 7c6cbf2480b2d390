import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { metrics } from '../../../src/core/metrics.ts';
import { at, newDataset } from '../support.ts';
import { useWorker } from './worker.ts';

const prefix = `observe-${process.pid}`;
const call = useWorker({ TIMESTORE_KEY_PREFIX: prefix });

/** Samples by name and labels, and the names that have a help line. */
async function scrape(client = call): Promise<{ samples: Map<string, number>; names: string[]; text: string }> {
  const answer = await client('/metrics');
  expect(answer.status).toBe(200);
  const text = await answer.text();
  const samples = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, name, value] = /^([a-z_]+(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
    if (name !== undefined) samples.set(name, value === '+Inf' ? Infinity : Number(value));
  }
  return { samples, names: [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name), text };
}

test('metrics count requests and flushes over all instances, and show pending rows', async () => {
  const dataset = newDataset();
  const rows = (n: number) => Array.from({ length: n }, (_, v) => ({ timestamp: at(1), v }));
  const path = `/v1/datasets/${dataset}/tables/m/rows`;
  await call(path, { json: rows(3), headers: { 'idempotency-key': 'k' } });
  await call(path, { json: rows(3), headers: { 'idempotency-key': 'k' } });
  await call(path, { json: [{ timestamp: at(1), v: 'x' }] });
  await call(`${path}?onError=quarantine`, { json: [{ timestamp: at(1), v: 'x' }] });
  await call(`/v1/datasets/${dataset}/query`, { json: { tableName: 'm' } });
  const before = await scrape();
  const table = `dataset="${dataset}",table="m"`;
  const get = ({ samples }: typeof before, name: string) => samples.get(name);
  expect(get(before, `timestore_ingest_rows_total{dataset="${dataset}"}`)).toBe(3);
  expect(get(before, 'timestore_ingest_replayed_total')).toBe(1);
  expect(get(before, 'timestore_rejected_rows_total{code="rows-refused"}')).toBe(1);
  expect(get(before, `timestore_quarantined_rows_total{dataset="${dataset}",origin="request"}`)).toBe(1);
  expect(get(before, 'timestore_query_total{mode="replica+hot-buffer"}')).toBe(1);
  expect(get(before, 'timestore_query_tail_rows_total')).toBe(3);
  expect(get(before, 'timestore_requests_total{kind="ingest",status="202"}')).toBe(3);
  expect(get(before, 'timestore_problems_total{code="rows-refused"}')).toBe(1);
  expect(get(before, `timestore_hot_tail_rows{${table}}`)).toBe(3);
  expect(get(before, `timestore_replica_age_ms{${table}}`)).toBeGreaterThan(0);
  expect(get(before, 'timestore_store_up{store="clickhouse"}')).toBe(1);
  const histogram = 'timestore_request_duration_ms';
  expect(get(before, `${histogram}_bucket{kind="ingest",le="+Inf"}`)).toBe(4);
  expect(get(before, `${histogram}_count{kind="ingest"}`)).toBe(4);
  expect(get(before, `${histogram}_bucket{kind="ingest",le="30000"}`)).toBe(4);

  await call('/v1/admin/flush', { json: { dataset, table: 'm' } });
  const after = await scrape();
  expect(get(after, `timestore_flush_rows_total{dataset="${dataset}"}`)).toBe(3);
  expect(get(after, 'timestore_flush_total{outcome="ok",trigger="admin"}')).toBe(1);
  expect(get(after, `timestore_hot_tail_rows{${table}}`)).toBeUndefined();
  expect(get(after, 'timestore_store_latency_ms_count{store="clickhouse"}')).toBeGreaterThan(0);
  expect(after.names).toEqual(Object.keys(metrics));
});

describe('while a store is unavailable', () => {
  const noPostgres = useWorker({
    TIMESTORE_KEY_PREFIX: prefix,
    DATABASE_URL: 'postgres://a:b@127.0.0.1:9/x',
    NEON_FETCH_ENDPOINT: 'http://127.0.0.1:9/sql',
  });
  const noRedis = useWorker({ UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:9', TIMESTORE_REDIS_TIMEOUT_MS: '50' });

  test('metrics show which one, and the values of the others', async () => {
    const { samples } = await scrape(noPostgres);
    expect(samples.get('timestore_store_up{store="postgres"}')).toBe(0);
    expect(samples.get('timestore_store_up{store="redis"}')).toBe(1);
    expect(samples.has('timestore_lanes_pending')).toBe(true);
    const other = await scrape(noRedis);
    expect(other.samples.get('timestore_store_up{store="redis"}')).toBe(0);
    expect(other.samples.has('timestore_jobs{state="failed"}')).toBe(true);
    expect(other.samples.has('timestore_lanes_pending')).toBe(false);
  });
});

type Span = {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  status: { code: number };
};
type Otlp = { resourceSpans: { resource: { attributes: unknown[] }; scopeSpans: { spans: Span[] }[] }[] };

describe('traces', () => {
  const got: { path: string | undefined; key: unknown; body: Otlp }[] = [];
  const collector = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(parts).toString()) as Otlp;
      got.push({ path: request.url, key: request.headers['x-key'], body });
      response.end('{}');
    });
  });
  const env: Record<string, string> = { OTEL_EXPORTER_OTLP_HEADERS: 'x-key=a%20b', OTEL_SERVICE_NAME: 'plant' };
  beforeAll(async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    collector.listen(0, '127.0.0.1', resolve);
    await promise;
    env.OTEL_EXPORTER_OTLP_ENDPOINT = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    collector.close();
  });
  const traced = useWorker(env);
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const spansOf = (id: string) =>
    got
      .flatMap(({ body }) => body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)))
      .filter((span) => span.traceId === id);

  test('a request goes on with the trace it is part of, with a span for each call to a store', async () => {
    const dataset = newDataset();
    const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-01` };
    await traced(`/v1/datasets/${dataset}/tables/m/rows`, { json: { timestamp: at(1), v: 1 }, headers });
    await expect.poll(() => spansOf(traceId).length).toBeGreaterThan(2);
    const spans = spansOf(traceId);
    const [root] = spans.filter(({ kind }) => kind === 2);
    expect(root).toMatchObject({ name: 'POST ingest', parentSpanId: 'b7ad6b7169203331', status: { code: 0 } });
    const calls = spans.filter(({ kind }) => kind === 3);
    expect(new Set(calls.map(({ name }) => name.split(' ')[0]))).toEqual(new Set(['redis', 'postgres', 'clickhouse']));
    expect(calls.every(({ parentSpanId }) => parentSpanId === root?.spanId)).toBe(true);
    expect(spans.every(({ startTimeUnixNano: from, endTimeUnixNano: to }) => /^\d{19}$/.test(from) && from <= to)).toBe(
      true,
    );
    expect(got[0]).toMatchObject({ path: '/v1/traces', key: 'a b' });
    expect(JSON.stringify(got[0]?.body)).toContain('"plant"');
    // Nothing of what was sent, and no secret, is in it.
    expect(JSON.stringify(got)).not.toContain('local-admin');
  });

  test('a trace that is not sampled is not exported', async () => {
    const other = '1af7651916cd43dd8448eb211c80319c';
    await traced('/v1/sql/schema', { headers: { traceparent: `00-${other}-b7ad6b7169203331-00` } });
    await traced('/v1/sql/schema', {
      headers: { traceparent: `00-${traceId.replace('0a', '2a')}-b7ad6b7169203331-01` },
    });
    await expect.poll(() => spansOf(traceId.replace('0a', '2a')).length).toBeGreaterThan(0);
    expect(spansOf(other)).toEqual([]);
  });

  test('a malformed traceparent starts a new trace, and an unavailable collector fails no request', async () => {
    const before = got.length;
    const answer = await traced('/v1/sql/schema', { headers: { traceparent: '00-xyz-1-01' } });
    expect(answer.status).toBe(200);
    await expect.poll(() => got.length).toBeGreaterThan(before);
  });
});

describe('with an unavailable collector', () => {
  const alone = useWorker({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' });

  test('requests are answered as ever', async () => {
    expect((await alone('/v1/sql/schema')).status).toBe(200);
  });
});
