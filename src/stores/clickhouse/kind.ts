import type { Config } from '../../core/config.ts';
import type { ClickHouse, Settings } from './client.ts';

/**
 * `cloud`: ClickHouse Cloud, whose address answers from any replica, each of which sees what others have stored a moment later.
 * `server`: one that has what it answers for by itself, and each node of a cluster of such.
 */
export type Kind = 'server' | 'cloud';

/** What a ClickHouse says of itself. */
export type Described = { kind: Kind; version: string };

const timeout_ms = 5_000;

/** Reads see everything that was stored before they began, whichever replica answers. Inserts reach a quorum there by themselves. */
const cloudSettings: Settings = { select_sequential_consistency: 1 };

/** Of every statement. */
export const settingsOf: Record<Kind, Settings> = { server: {}, cloud: cloudSettings };

/**
 * Finds out what a ClickHouse is: once, unless the configuration says it.
 *
 * @param client without settings that depend on the answer
 */
export function kindFinder(
  { CLICKHOUSE_KIND: told, CLICKHOUSE_CLUSTER: cluster }: Pick<Config, 'CLICKHOUSE_KIND' | 'CLICKHOUSE_CLUSTER'>,
  client: ClickHouse,
): () => Promise<Kind> {
  if (told !== 'auto') return async () => told;
  // Cloud has one address, and no nodes that could be named.
  if (cluster !== undefined) return async () => 'server';
  // Each request finds it out for itself until one has: a Worker's requests cannot wait for each other's answers.
  let found: Kind | undefined;
  return async () => {
    found ??= (await describe(client)).kind;
    return found;
  };
}

/** Throws StoreError, ClickHouseError. */
export async function describe(client: ClickHouse): Promise<Described> {
  const body = `SELECT version(), (SELECT value FROM system.settings WHERE name = 'cloud_mode') FORMAT TSV`;
  const [version = '', mode] = (await client.send({ body, settings: {}, timeout_ms })).trimEnd().split('\t');
  return { kind: mode === '1' || mode === 'true' ? 'cloud' : 'server', version };
}

/**
 * A table of the server's own state, such as `system.mutations`, as all replicas have it: on Cloud each tells its own. Fails where
 * one of them does not answer.
 */
export function everyReplica(kind: Kind, table: `system.${string}`): string {
  return kind === 'cloud' ? `clusterAllReplicas('default', ${table})` : table;
}
