import type { NodeContext } from '../stores/clickhouse/servers.ts';
import type { ClickHouseDeps, PostgresDeps, RedisDeps } from '../stores/deps.ts';

/** The catalogue is in Postgres, is cached in Redis and creates tables in ClickHouse. */
export type CatalogDeps = RedisDeps & PostgresDeps & ClickHouseDeps;

/** `CatalogDeps` with the clients of one ClickHouse server. */
export type CatalogNode = NodeContext<CatalogDeps>;
