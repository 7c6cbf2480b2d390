import type { NodeContext } from '../stores/clickhouse/servers.ts';
import type { ClickHouseDeps, PostgresDeps, RedisDeps } from '../stores/deps.ts';

/** The catalogue is in Postgres, is cached in Redis and makes tables in ClickHouse. */
export type CatalogDeps = RedisDeps & PostgresDeps & ClickHouseDeps;

/** The same at a ClickHouse server: every statement asks this one. */
export type CatalogNode = NodeContext<CatalogDeps>;
