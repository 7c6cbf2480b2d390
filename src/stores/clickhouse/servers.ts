import type { Config } from '../../core/config.ts';
import { ApiError, StoreError } from '../../core/errors.ts';
import { describeError } from '../../core/log.ts';
import type { ClickHouseDeps } from '../deps.ts';
import { type ClickHouse, createClickHouse, type Settings } from './client.ts';
import { checkOnce, failOver, requireShardNumber, requireShards, withCheck } from './failover.ts';
import { type Kind, kindFinder, kindSettings } from './kind.ts';

/** Clients of a ClickHouse: one for Timestore itself, one for queries of users. */
export type Server = { clickhouse: ClickHouse; reader: ClickHouse };

/** A shard has the rows of some lanes of every table. It has a client for all replicas, and one for each. */
export type Shard = Server & { number: number; nodes: (Server & { url: string })[] };

/** A cluster of ClickHouse servers. */
export type Cluster = { name: string; shards: Shard[]; isReplicated: boolean };

/** A context with the clients of one ClickHouse server or shard. */
export type NodeContext<Deps extends ClickHouseDeps = ClickHouseDeps> = Deps & Server & { shard: number };

/** Settings of every statement on a cluster: unavailable shards are an error, and lagging replicas do not answer. */
const clusterSettings: Settings = { skip_unavailable_shards: 0 };
const replicaSettings: Settings = {
  insert_quorum: 'auto',
  insert_quorum_parallel: 0,
  select_sequential_consistency: 1,
  fallback_to_stale_replicas_for_distributed_queries: 0,
};

/** Connects the configured servers: the only one, or the nodes of a cluster, any of which can query the others. */
export function connectServers(
  config: Config,
  watch: (client: ClickHouse) => ClickHouse,
): Server & { cluster: Cluster | undefined; clickhouseKind: () => Promise<Kind> } {
  const { CLICKHOUSE_CLUSTER: name, CLICKHOUSE_SHARDS: addresses = [] } = config;
  const isReplicated = addresses.some((nodes) => nodes.length > 1);
  const { CLICKHOUSE_URL, CLICKHOUSE_USER, CLICKHOUSE_PASSWORD } = config;
  const asker = createClickHouse(CLICKHOUSE_URL, CLICKHOUSE_USER, CLICKHOUSE_PASSWORD);
  const clickhouseKind = kindFinder(config, asker);
  const ofCluster = name === undefined ? {} : { ...clusterSettings, ...(isReplicated && replicaSettings) };
  const settings = async () => ({ ...ofCluster, ...kindSettings[await clickhouseKind()] });
  const serverAt = (url: string): Server => ({
    clickhouse: watch(createClickHouse(url, CLICKHOUSE_USER, CLICKHOUSE_PASSWORD, settings)),
    reader: watch(createClickHouse(url, config.CLICKHOUSE_READER_USER, config.CLICKHOUSE_READER_PASSWORD, settings)),
  });
  if (name === undefined) return { ...serverAt(CLICKHOUSE_URL), cluster: undefined, clickhouseKind };
  const shards = addresses.map((urls, i): Shard => {
    const nodes = urls.map((url) => {
      const server = serverAt(url);
      return { url, ...both(server, () => requireShardNumber(server.clickhouse, i + 1)) };
    });
    return { number: i + 1, nodes, ...asOne(nodes) };
  });
  return { ...asOne(shards.flatMap(({ nodes }) => nodes)), cluster: { name, shards, isReplicated }, clickhouseKind };
}

/** Any node that can query all shards up to a number. */
export function chooseNode(cluster: Cluster, highest: number): Server {
  const known = askers.get(cluster) ?? new Map<number, Server>();
  askers.set(cluster, known);
  const nodes = cluster.shards.flatMap((shard) => shard.nodes);
  const found =
    known.get(highest) ??
    asOne(nodes.map((node) => both(node, () => requireShards(node.clickhouse, cluster.name, highest))));
  known.set(highest, found);
  return found;
}

const askers = new WeakMap<Cluster, Map<number, Server>>();

function both({ clickhouse, reader }: Server, find: () => Promise<void>): Server {
  const first = checkOnce(find);
  return { clickhouse: withCheck(clickhouse, first), reader: withCheck(reader, first) };
}

function asOne(servers: Server[]): Server {
  return {
    clickhouse: failOver(servers.map(({ clickhouse }) => clickhouse)),
    reader: failOver(servers.map(({ reader }) => reader)),
  };
}

/** The only server, or any node of a cluster, which has only its own rows. */
export function atAny<Deps extends ClickHouseDeps>(ctx: Deps): NodeContext<Deps> {
  return { ...(ctx as NodeContext<Deps>), shard: 0 };
}

/** The parameters of table engines at a node. */
export function enginePlace({ cluster, shard }: NodeContext): { isReplicated: boolean; shard: number } {
  return { isReplicated: cluster?.isReplicated ?? false, shard };
}

export function atShard<Deps extends ClickHouseDeps>(ctx: Deps, number: number): NodeContext<Deps> {
  if (ctx.cluster === undefined && number === 1) return { ...(ctx as NodeContext<Deps>), shard: 1 };
  const shard = ctx.cluster?.shards[number - 1];
  if (shard === undefined) throw notConfigured(number);
  return { ...ctx, clickhouse: shard.clickhouse, reader: shard.reader, shard: number };
}

/** All shards. */
export function everyShard<Deps extends ClickHouseDeps>(ctx: Deps): NodeContext<Deps>[] {
  if (ctx.cluster === undefined) return [atShard(ctx, 1)];
  return ctx.cluster.shards.map(({ number }) => atShard(ctx, number));
}

/** All servers, including replicas. */
export function everyNode<Deps extends ClickHouseDeps>(ctx: Deps): NodeContext<Deps>[] {
  if (ctx.cluster === undefined) return [atShard(ctx, 1)];
  return ctx.cluster.shards.flatMap(({ number, nodes }) => nodes.map((node) => ({ ...ctx, ...node, shard: number })));
}

export function notConfigured(number: number): StoreError {
  return new StoreError('clickhouse', `has rows on shard ${number}, which CLICKHOUSE_SHARDS does not name`, undefined);
}

/**
 * Runs work on several servers concurrently. An unavailable server is logged, and updated by the next request that needs it.
 *
 * @param needs shards on which at least one server must succeed
 * @throws StoreError, ClickHouseError of a failed shard in `needs`
 */
export async function onEach<Node extends NodeContext>(
  ctx: ClickHouseDeps,
  servers: Node[],
  needs: number[],
  work: (node: Node) => Promise<void>,
) {
  const results = await Promise.allSettled(servers.map(work));
  const done = new Set(servers.flatMap(({ shard }, i) => (results[i]?.status === 'fulfilled' ? [shard] : [])));
  const failed = servers.flatMap(({ shard }, i) =>
    results[i]?.status === 'rejected' ? [{ shard, reason: results[i].reason as unknown }] : [],
  );
  // A rejected statement fails everywhere, so it takes precedence over an unavailable server.
  const refused = failed.find(({ reason }) => !(reason instanceof ApiError));
  if (refused !== undefined) throw refused.reason;
  for (const { shard, reason } of failed) {
    if (needs.includes(shard) && !done.has(shard)) throw reason;
    ctx.log({ event: 'node-away', shard, ...describeError(reason) });
  }
}
