import { type Config, readConfig } from './core/config.ts';
import type { InstanceMemory } from './core/instance-memory.ts';
import { type Log, logToConsole } from './core/log.ts';
import { Room } from './core/memory-budget.ts';
import type { ClickHouse } from './stores/clickhouse/client.ts';
import type { Kind } from './stores/clickhouse/kind.ts';
import { type Cluster, type Server, serversOf } from './stores/clickhouse/servers.ts';
import { countEvent } from './stores/count-event.ts';
import { Counters } from './stores/counters.ts';
import { watched } from './stores/instrument.ts';
import { createPostgres, type Postgres } from './stores/postgres/client.ts';
import { Redis } from './stores/redis/client.ts';
import { type Keys, keysOf } from './stores/redis/keys.ts';
import { createObjects, type Objects } from './stores/s3/client.ts';

/** What everything here works with: the configuration, the clients, and what this instance remembers. */
export type Context = {
  config: Config;
  keys: Keys;
  redis: Redis;
  /** Undefined where one server has everything. Who asks ClickHouse says of what, and is told where that is. */
  cluster: Cluster | undefined;
  /** What ClickHouse is. Found out once. Throws StoreError, ClickHouseError. */
  clickhouseKind(): Promise<Kind>;
  postgres: Postgres;
  objects: Objects;
  /** What has happened here and is not in the shared sums yet. */
  counters: Counters;
  /** What this instance remembers, see `inEachInstance`. */
  memory: InstanceMemory;
  /** What bodies and flushes may take of this instance's memory. */
  room: Room;
  log: Log;
  /** Milliseconds since 1970 by this machine's clock, for ages in caches; what matters uses the stores' clocks. */
  now(): number;
};

/** The one place where clients are made. Throws ConfigError. */
export function createContext(env: Record<string, unknown>): Context & Server {
  const config = readConfig(env);
  const counters = new Counters();
  const watch = (client: ClickHouse) => watched('clickhouse', client, counters);
  return {
    config,
    keys: keysOf(config.TIMESTORE_KEY_PREFIX),
    redis: watched('redis', new Redis(config), counters),
    ...serversOf(config, watch),
    postgres: watched('postgres', createPostgres(config), counters),
    objects: watched('s3', createObjects(config), counters),
    counters,
    memory: new Map(),
    room: new Room(config.limits.instance_bytes_max),
    log(event) {
      countEvent(counters, event);
      logToConsole(event);
    },
    now: Date.now,
  };
}
