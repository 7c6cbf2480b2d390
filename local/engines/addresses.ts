import { local } from './credentials.ts';
import { EngineFailure, type EngineName } from './failure.ts';

/** External servers that replace local ones. The URL contains the credentials: `http://user:password@host`. */
export type External = {
  /** HTTP(S) interface. Reader and writer are the same user, so the reader's restrictions do not apply. */
  clickhouseUrl?: string;
  /** redis:// or rediss://; the local Upstash front connects to it. */
  redisUrl?: string;
  /** postgresql://user:password@host/database; the local Neon front connects to it. */
  postgresUrl?: string;
  /** The userinfo is access key and secret. `?region=` and `?bucket=` default to `auto` and `timestore`. */
  s3Endpoint?: string;
};

export type ClickHouseAddress = {
  url: string;
  writer: { user: string; password: string };
  reader: { user: string; password: string };
  /** Empty for an external server: its storage policies are unknown. */
  storagePolicy: string;
  /** The URLs of all nodes of a cluster; undefined for a single server. */
  shards: string[] | undefined;
};

export type S3Address = {
  endpoint: string;
  region: string;
  bucket: string;
  accessKeyId: string;
  secretAccessKey: string;
};

export function externalClickHouse(text: string): ClickHouseAddress {
  const url = parseUrl('clickhouse', 'LOCAL_CLICKHOUSE_URL', text, ['http:', 'https:']);
  const login = { user: decodeURIComponent(url.username) || 'default', password: decodeURIComponent(url.password) };
  return { url: withoutLogin(url), writer: login, reader: login, storagePolicy: '', shards: undefined };
}

export function externalRedis(text: string): string {
  return parseUrl('redis', 'LOCAL_REDIS_URL', text, ['redis:', 'rediss:']).href;
}

export function externalPostgres(text: string): string {
  const url = parseUrl('postgres', 'LOCAL_POSTGRES_URL', text, ['postgresql:', 'postgres:']);
  if (url.username === '' || url.pathname.length < 2) {
    throw new EngineFailure('postgres', 'LOCAL_POSTGRES_URL must name a user and a database.');
  }
  return url.href;
}

export function externalS3(text: string): S3Address {
  const url = parseUrl('s3', 'LOCAL_S3_ENDPOINT', text, ['http:', 'https:']);
  const region = url.searchParams.get('region') ?? local.s3.region;
  const bucket = url.searchParams.get('bucket') ?? local.s3.bucket;
  const [accessKeyId, secretAccessKey] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  url.search = '';
  return { endpoint: withoutLogin(url), region, bucket, accessKeyId, secretAccessKey };
}

/** The address without credentials, which must not be shown or logged. */
export function withoutLogin(address: string | URL): string {
  const url = new URL(address);
  url.username = '';
  url.password = '';
  return url.href.replace(/\/$/, '');
}

function parseUrl(engine: EngineName, variable: string, text: string, protocols: string[]): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && protocols.includes(url.protocol)) return url;
  throw new EngineFailure(engine, `${variable} must be a URL that starts with ${protocols.join('// or ')}//.`);
}
