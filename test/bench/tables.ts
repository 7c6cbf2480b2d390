import { setTimeout as delay } from 'node:timers/promises';
import { Timestore, TimestoreError } from '../../src/client/index.ts';
import type { Context } from '../../src/create-context.ts';
import type { NodeContext } from '../../src/stores/clickhouse/servers.ts';
import { adminKey, peersDir, type Running, type World } from './world.ts';

export const dataset = 'bench';
export const headers = { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' };
export const rowsPath = (table = 'readings') => `/v1/datasets/${dataset}/tables/${table}/rows`;

/** The peers' table has the same fields, partitions and order, and nothing that guards against loss or doubles. */
export async function createPeerTable(ctx: NodeContext<Context>, name: string): Promise<string> {
  await ctx.clickhouse.command('CREATE DATABASE IF NOT EXISTS ts_peer');
  await ctx.clickhouse.command(`DROP TABLE IF EXISTS ts_peer.${name} SYNC`);
  await ctx.clickhouse.command(
    `CREATE TABLE ts_peer.${name} (timestamp DateTime64(3, 'UTC'), device Nullable(String), region Nullable(String),
       celsius Nullable(Float64), humidity Nullable(Float64), n Nullable(Float64), ok Nullable(Bool))
     ENGINE = MergeTree PARTITION BY toDate(timestamp) ORDER BY timestamp`,
  );
  return `ts_peer.${name}`;
}

const asyncSettings = 'async_insert=1&wait_for_async_insert=1';

export const asyncVariants = {
  'as it comes': asyncSettings,
  /** Waits 10 ms for more rows instead of up to 200. */
  tuned: `${asyncSettings}&async_insert_use_adaptive_busy_timeout=0&async_insert_busy_timeout_max_ms=10`,
} as const;

export function insertUrl(world: World, table: string, settings: string): string {
  const query = encodeURIComponent(`INSERT INTO ${table} FORMAT JSONEachRow`);
  return `${world.env.CLICKHOUSE_URL}/?query=${query}&date_time_input_format=best_effort&${settings}`;
}

export async function startPeer(world: World, main: string, more: Record<string, string> = {}): Promise<Running> {
  const { env } = world;
  const names = ['CLICKHOUSE_URL', 'CLICKHOUSE_USER', 'CLICKHOUSE_PASSWORD'];
  const stores = [...names, 'UPSTASH_REDIS_REST_URL', 'UPSTASH_REDIS_REST_TOKEN'].map((name) => [
    name,
    env[name] ?? '',
  ]);
  return await world.start({
    build: peersDir,
    main,
    bindings: { KEY: adminKey, ...Object.fromEntries(stores), ...more },
  });
}

export async function post(url: string, body: unknown): Promise<Response> {
  const answer = await fetch(url, {
    method: 'POST',
    headers,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${(await answer.text()).slice(0, 500)}`);
  return answer;
}

/**
 * Timestore as programs have it. Each request is sent once, so that what is measured is one; loads of many connections are
 * `applyLoad`'s, which is the same for all that are compared.
 */
export function clientOf({ url }: Pick<Running, 'url'>): Timestore {
  return new Timestore({ url, key: adminKey, attempts: 1, compress: false, timeoutMs: 600_000 });
}

/** Until everything acknowledged is in ClickHouse. */
export async function flushAll({ timestore }: World): Promise<void> {
  const client = clientOf(timestore);
  for (;;) {
    try {
      await client.call('POST', '/v1/admin/flush');
      return;
    } catch (error) {
      // More was pending than one call moves.
      if (!(error instanceof TimestoreError) || error.status !== 503) throw error;
    }
  }
}

/** Until ClickHouse has done what the load before has left to it: many small parts are merged long after they were inserted. */
export async function mergesEnd({ ctx }: World): Promise<void> {
  const until = performance.now() + 60_000;
  for (let quiet = 0; quiet < 5 && performance.now() < until; ) {
    const [found] = await ctx.clickhouse.rows<{ n: string }>('SELECT count() AS n FROM system.merges');
    quiet = found?.n === '0' ? quiet + 1 : 0;
    await delay(50);
  }
}
