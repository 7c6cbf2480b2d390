import { readConfig } from './core/config.ts';
import { logToConsole } from './core/log.ts';
import { MemoryBudget } from './core/memory-budget.ts';
import { monitorTables } from './monitoring/dataset/sql-tables.ts';
import type { ClickHouse } from './stores/clickhouse/client.ts';
import { connectServers, type Server } from './stores/clickhouse/servers.ts';
import { countEvent } from './stores/count-event.ts';
import { Counters } from './stores/counters.ts';
import { instrument } from './stores/instrument.ts';
import { createPostgres } from './stores/postgres/client.ts';
import { Redis } from './stores/redis/client.ts';
import { redisKeys } from './stores/redis/keys.ts';
import { createObjects } from './stores/s3/client.ts';
import type { TelemetryDeps } from './telemetry/deps.ts';

/** Dependencies of one instance: configuration, store clients and caches. Each layer takes the part that its `deps.ts` names. */
export type Context = TelemetryDeps;

/** Composition root: the only place that makes clients. Throws ConfigError. */
export function createContext(env: Record<string, unknown>): Context & Server {
  const config = readConfig(env);
  const counters = new Counters();
  const watch = (client: ClickHouse) => instrument('clickhouse', client, counters);
  return {
    config,
    keys: redisKeys(config.TIMESTORE_KEY_PREFIX),
    redis: instrument('redis', new Redis(config), counters),
    ...connectServers(config, watch),
    postgres: instrument('postgres', createPostgres(config), counters),
    objects: instrument('s3', createObjects(config), counters),
    counters,
    ownTables: monitorTables,
    memory: new Map(),
    memoryBudget: new MemoryBudget(config.limits.instance_bytes_max),
    log(event) {
      countEvent(counters, event);
      logToConsole(event);
    },
    now: Date.now,
  };
}
