import {
  type ClickHouseAddress,
  type External,
  externalClickHouse,
  externalPostgres,
  externalRedis,
  externalS3,
  type S3Address,
  withoutLogin,
} from './addresses.ts';
import { clusterName } from './clickhouse/config.ts';
import { localClickHouse } from './clickhouse/engine.ts';
import { local } from './credentials.ts';
import type { EngineName } from './failure.ts';
import type { NodePorts, Ports } from './ports.ts';
import { localPostgresUrl } from './postgres/engine.ts';
import { localRedisUrl } from './redis/engine.ts';
import { localS3 } from './s3/engine.ts';

/** All addresses, known before any engine starts: an engine that needs another one receives an address, not an engine. */
export type Plan = {
  clickhouse: ClickHouseAddress;
  redisUrl: string;
  upstashUrl: string;
  postgresUrl: string;
  neonUrl: string;
  s3: S3Address;
  /** Addresses to show of external engines. */
  externalUrls: Partial<Record<EngineName, string>>;
  /** The ports that local engines listen on. */
  ports: (keyof Ports)[];
};

/** @param nodes of a ClickHouse cluster; empty for a single server */
export function planStack(ports: Ports, external: External, nodes: NodePorts[] = []): Plan {
  const { clickhouseUrl, redisUrl, postgresUrl, s3Endpoint } = external;
  return {
    clickhouse: clickhouseUrl
      ? externalClickHouse(clickhouseUrl)
      : localClickHouse(
          ports.clickhouseHttp,
          nodes.map(({ http }) => http),
        ),
    redisUrl: redisUrl ? externalRedis(redisUrl) : localRedisUrl(ports.redis),
    upstashUrl: `http://127.0.0.1:${ports.upstash}`,
    postgresUrl: postgresUrl ? externalPostgres(postgresUrl) : localPostgresUrl(ports.postgres),
    neonUrl: `http://127.0.0.1:${ports.neon}/sql`,
    s3: s3Endpoint ? externalS3(s3Endpoint) : localS3(ports.s3),
    externalUrls: {
      ...(clickhouseUrl && { clickhouse: withoutLogin(clickhouseUrl) }),
      ...(redisUrl && { redis: withoutLogin(redisUrl) }),
      ...(s3Endpoint && { s3: withoutLogin(s3Endpoint) }),
    },
    ports: [
      ...(clickhouseUrl ? [] : (['clickhouseHttp', 'clickhouseTcp'] as const)),
      ...(redisUrl ? [] : (['redis'] as const)),
      'upstash',
      ...(postgresUrl ? [] : (['postgres'] as const)),
      'neon',
      ...(s3Endpoint ? [] : (['s3'] as const)),
    ],
  };
}

/** Environment variables of the Worker, with the names that a deployment uses. */
export function workerEnv(plan: Plan): Record<string, string> {
  const { clickhouse, s3 } = plan;
  return {
    UPSTASH_REDIS_REST_URL: plan.upstashUrl,
    UPSTASH_REDIS_REST_TOKEN: local.upstash.token,
    DATABASE_URL: plan.postgresUrl,
    NEON_FETCH_ENDPOINT: plan.neonUrl,
    CLICKHOUSE_URL: clickhouse.url,
    CLICKHOUSE_USER: clickhouse.writer.user,
    CLICKHOUSE_PASSWORD: clickhouse.writer.password,
    CLICKHOUSE_READER_USER: clickhouse.reader.user,
    CLICKHOUSE_READER_PASSWORD: clickhouse.reader.password,
    CLICKHOUSE_STORAGE_POLICY: clickhouse.storagePolicy,
    CLICKHOUSE_CLUSTER: clickhouse.shards === undefined ? '' : clusterName,
    CLICKHOUSE_SHARDS: clickhouse.shards?.join(' ') ?? '',
    S3_ENDPOINT: s3.endpoint,
    S3_REGION: s3.region,
    S3_BUCKET: s3.bucket,
    S3_ACCESS_KEY_ID: s3.accessKeyId,
    S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
  };
}
