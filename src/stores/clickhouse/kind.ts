import type { Config } from '../../core/config.ts';
import type { ClickHouse, Settings } from './client.ts';

/**
 * `cloud`: ClickHouse Cloud. Any replica can answer, and each one sees the rows of the others a moment later. `server`: one
 * server, or each node of a cluster.
 */
export type Kind = 'server' | 'cloud';

/** Kind and version of a ClickHouse. */
export type Described = { kind: Kind; version: string };

const timeout_ms = 5_000;

/** Reads see all rows stored before they began, on any replica. Cloud inserts reach a quorum by default. */
const cloudSettings: Settings = { select_sequential_consistency: 1 };

/** Settings of every statement. */
export const kindSettings: Record<Kind, Settings> = { server: {}, cloud: cloudSettings };

/**
 * Detects the kind of a ClickHouse once, unless it is configured.
 *
 * @param client a client without settings that depend on the kind
 */
export function kindFinder(
  { CLICKHOUSE_KIND: configured, CLICKHOUSE_CLUSTER: cluster }: Pick<Config, 'CLICKHOUSE_KIND' | 'CLICKHOUSE_CLUSTER'>,
  client: ClickHouse,
): () => Promise<Kind> {
  if (configured !== 'auto') return async () => configured;
  // Cloud has one address and no cluster of named nodes.
  if (cluster !== undefined) return async () => 'server';
  // Concurrent requests detect it independently, because a request in Workers cannot await a promise of another request.
  let found: Kind | undefined;
  return async () => {
    found ??= (await describeServer(client)).kind;
    return found;
  };
}

/** Throws StoreError, ClickHouseError. */
export async function describeServer(client: ClickHouse): Promise<Described> {
  const body = `SELECT version(), (SELECT value FROM system.settings WHERE name = 'cloud_mode') FORMAT TSV`;
  const [version = '', mode] = (await client.send({ body, settings: {}, timeout_ms })).trimEnd().split('\t');
  return { kind: mode === '1' || mode === 'true' ? 'cloud' : 'server', version };
}

/**
 * A system table of all replicas, such as `system.mutations`: on Cloud each replica has its own. The query fails if a replica
 * does not answer.
 */
export function everyReplica(kind: Kind, table: `system.${string}`): string {
  return kind === 'cloud' ? `clusterAllReplicas('default', ${table})` : table;
}
