import { Refusals } from './audit-log/refusals.ts';
import { KeptTails } from './buffer/kept-tails.ts';
import { type Keys, keysOf } from './buffer/keys.ts';
import { Redis } from './buffer/redis.ts';
import type { Table } from './catalog/table.ts';
import type { ClickHouse } from './clickhouse/client.ts';
import { type Cluster, type Server, serversOf } from './clickhouse/cluster.ts';
import type { Kind } from './clickhouse/kind.ts';
import { type Config, readConfig } from './config.ts';
import type { SeenKey } from './keys/find-key.ts';
import { type Log, logToConsole } from './log.ts';
import type { Reads } from './migration/reads.ts';
import { createObjects, type Objects } from './objects/client.ts';
import { Counters } from './observe/counters.ts';
import { countEvent } from './observe/from-events.ts';
import { watched } from './observe/watch.ts';
import { createPostgres, type Postgres } from './postgres/client.ts';
import type { CompiledSql } from './query/sql/compile.ts';
import type { SavedQuery } from './query/sql/saved.ts';
import { Recent } from './recent.ts';
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
  /** Definitions of tables that this instance has seen, under `<dataset>.<name>`. */
  tables: Recent<{ table: Table; seenAt_ms: number }>;
  /** The batches of tails that this instance has seen. */
  tails: KeptTails;
  /** The schema version that a shard's table has for certain, under `<shard> <dataset>.<physical>`. */
  columnsAdded: Recent<number>;
  /** The schema version that a query has brought ClickHouse's table to, under `<dataset>.<physical>`. */
  columnsLooked: Recent<{ version: number; at_ms: number }>;
  /** What reads were seen to cost: rows read, and whether their answers are too long to be held. */
  readCosts: Recent<{ rows: number; isLong: boolean }>;
  /** SQL that was found to read nothing but its tables; its text alone decides that. */
  checkedSql: Recent<CompiledSql>;
  /** Saved queries that this instance has run, under `<dataset>.<name>`. */
  savedQueries: Recent<{ query: SavedQuery; seenAt_ms: number }>;
  /** Keys that this instance was sent, those that there are not among them. */
  apiKeys: Recent<SeenKey>;
  /** Who answers the queries of datasets that this instance has seen. */
  reads: Recent<{ reads: Reads; seenAt_ms: number }>;
  /** What has happened here and is not in the shared sums yet. */
  counters: Counters;
  /** Refused accesses that are not on record yet. */
  refusals: Refusals;
  /** What runs for each key on this instance: requests, and queries among them. Entries leave with their requests. */
  running: Map<string, number>;
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
  const { limits } = config;
  const watch = (client: ClickHouse) => watched('clickhouse', client, counters);
  return {
    config,
    keys: keysOf(config.TIMESTORE_KEY_PREFIX),
    redis: watched('redis', new Redis(config), counters),
    ...serversOf(config, watch),
    postgres: watched('postgres', createPostgres(config), counters),
    objects: watched('s3', createObjects(config), counters),
    counters,
    tables: new Recent(limits.kept_fields_max, ({ table }) => 1 + table.schema.fields.length),
    tails: new KeptTails(limits.kept_tails_chars_max),
    columnsAdded: new Recent(limits.kept_names_max),
    columnsLooked: new Recent(limits.kept_names_max),
    readCosts: new Recent(limits.read_costs_max),
    checkedSql: new Recent(limits.checked_sql_chars_max, (_, sql) => sql.length),
    savedQueries: new Recent(limits.saved_sql_chars_max, ({ query }) => JSON.stringify(query).length),
    apiKeys: new Recent(limits.kept_names_max),
    reads: new Recent(limits.kept_names_max),
    refusals: new Refusals(),
    running: new Map(),
    room: new Room(config.limits.instance_bytes_max),
    log(event) {
      countEvent(counters, event);
      logToConsole(event);
    },
    now: Date.now,
  };
}
