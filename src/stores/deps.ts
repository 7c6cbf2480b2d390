import type { CoreDeps } from '../core/deps.ts';
import type { Kind } from './clickhouse/kind.ts';
import type { Cluster } from './clickhouse/servers.ts';
import type { Postgres } from './postgres/client.ts';
import type { Redis } from './redis/client.ts';
import type { Keys } from './redis/keys.ts';
import type { Objects } from './s3/client.ts';

/** The hot buffer and the names of its keys. */
export type RedisDeps = CoreDeps & { redis: Redis; keys: Keys };

export type PostgresDeps = CoreDeps & { postgres: Postgres };

export type ObjectDeps = CoreDeps & { objects: Objects };

/** ClickHouse without clients: a `NodeContext` has these, so that every statement names its shard. */
export type ClickHouseDeps = CoreDeps & {
  /** Undefined with one server that has all rows. */
  cluster: Cluster | undefined;
  /** The kind of ClickHouse, detected once. Throws StoreError, ClickHouseError. */
  clickhouseKind(): Promise<Kind>;
};
