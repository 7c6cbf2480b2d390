import { type Keys, keysOf } from './buffer/keys.ts';
import { Redis } from './buffer/redis.ts';
import type { ClickHouse } from './clickhouse/client.ts';
import type { Kind } from './clickhouse/kind.ts';
import { type Cluster, type Server, serversOf } from './clickhouse/servers.ts';
import { type Config, readConfig } from './config.ts';
import type { InstanceMemory } from './instance-memory.ts';
import { type Log, logToConsole } from './log.ts';
import { createObjects, type Objects } from './objects/client.ts';
import { Counters } from './observe/counters.ts';
import { countEvent } from './observe/from-events.ts';
import { watched } from './observe/watch.ts';
import { createPostgres, type Postgres } from './postgres/client.ts';
import { Room } from './room.ts';

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
