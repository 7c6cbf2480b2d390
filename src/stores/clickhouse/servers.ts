import type { Config } from '../../core/config.ts';
import { ApiError, StoreError } from '../../core/errors.ts';
import { describeError } from '../../core/log.ts';
import type { ClickHouseDeps } from '../deps.ts';
import { type ClickHouse, createClickHouse, type Settings } from './client.ts';
import { assuredNode, failOver, onceAssured, requireNumber, requireShards } from './failover.ts';
import { type Kind, kindFinder, settingsOf } from './kind.ts';

/** A ClickHouse, for what Timestore does and for what its readers ask. */
export type Server = { clickhouse: ClickHouse; reader: ClickHouse };

/** Rows of some lanes of every table: its replicas as one server, and each one by itself. */
export type Shard = Server & { number: number; nodes: (Server & { url: string })[] };

/** Several ClickHouse servers that share the rows. */
export type Cluster = { name: string; shards: Shard[]; isReplicated: boolean };

/** At a ClickHouse: what is asked for is what this one has. */
export type NodeContext<Deps extends ClickHouseDeps = ClickHouseDeps> = Deps & Server & { shard: number };

/** Of every statement on a cluster: nothing is left out without a word, and a replica that lags does not answer. */
const clusterSettings: Settings = { skip_unavailable_shards: 0 };
const replicaSettings: Settings = {
  insert_quorum: 'auto',
  insert_quorum_parallel: 0,
  select_sequential_consistency: 1,
  fallback_to_stale_replicas_for_distributed_queries: 0,
};

/** The servers of a configuration: the one, or any node of a cluster, which asks the others; and each shard. */
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
  const settings = async () => ({ ...ofCluster, ...settingsOf[await clickhouseKind()] });
  const serverAt = (url: string): Server => ({
    clickhouse: watch(createClickHouse(url, CLICKHOUSE_USER, CLICKHOUSE_PASSWORD, settings)),
    reader: watch(createClickHouse(url, config.CLICKHOUSE_READER_USER, config.CLICKHOUSE_READER_PASSWORD, settings)),
  });
  if (name === undefined) return { ...serverAt(CLICKHOUSE_URL), cluster: undefined, clickhouseKind };
  const shards = addresses.map((urls, i): Shard => {
    const nodes = urls.map((url) => {
      const server = serverAt(url);
      return { url, ...both(server, () => requireNumber(server.clickhouse, i + 1)) };
    });
    return { number: i + 1, nodes, ...asOne(nodes) };
  });
  return { ...asOne(shards.flatMap(({ nodes }) => nodes)), cluster: { name, shards, isReplicated }, clickhouseKind };
}

/** Any node, for questions that it asks all shards up to a number. */
export function anyNodeOf(cluster: Cluster, highest: number): Server {
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
  const first = onceAssured(find);
  return { clickhouse: assuredNode(clickhouse, first), reader: assuredNode(reader, first) };
}

function asOne(servers: Server[]): Server {
  return {
    clickhouse: failOver(servers.map(({ clickhouse }) => clickhouse)),
    reader: failOver(servers.map(({ reader }) => reader)),
  };
}

/** The one server; of a cluster, any node: what it has by itself says nothing of the others. */
export function atAny<Deps extends ClickHouseDeps>(ctx: Deps): NodeContext<Deps> {
  return { ...(ctx as NodeContext<Deps>), shard: 0 };
}

/** Whether tables have replicas, and which shard they are on, for their engines. */
export function placeOf({ cluster, shard }: NodeContext): { isReplicated: boolean; shard: number } {
  return { isReplicated: cluster?.isReplicated ?? false, shard };
}

export function atShard<Deps extends ClickHouseDeps>(ctx: Deps, number: number): NodeContext<Deps> {
  if (ctx.cluster === undefined && number === 1) return { ...(ctx as NodeContext<Deps>), shard: 1 };
  const shard = ctx.cluster?.shards[number - 1];
  if (shard === undefined) throw notConfigured(number);
  return { ...ctx, clickhouse: shard.clickhouse, reader: shard.reader, shard: number };
}

/** Every shard there is. */
export function everyShard<Deps extends ClickHouseDeps>(ctx: Deps): NodeContext<Deps>[] {
  if (ctx.cluster === undefined) return [atShard(ctx, 1)];
  return ctx.cluster.shards.map(({ number }) => atShard(ctx, number));
}

/** Every server there is, replicas among them. */
export function everyNode<Deps extends ClickHouseDeps>(ctx: Deps): NodeContext<Deps>[] {
  if (ctx.cluster === undefined) return [atShard(ctx, 1)];
  return ctx.cluster.shards.flatMap(({ number, nodes }) => nodes.map((node) => ({ ...ctx, ...node, shard: number })));
}

export function notConfigured(number: number): StoreError {
  return new StoreError(
    'clickhouse',
    `has a shard ${number} with rows, which CLICKHOUSE_SHARDS of this deployment does not name`,
    undefined,
  );
}

/**
 * Does something at several servers at once. A server that is unavailable is logged, and brought up to date by whoever
 * needs it next. It fails where a shard that `needs` it has no server that did it.
 *
 * @throws StoreError, ClickHouseError of such a shard
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
  // An error of the statement occurs everywhere, and says more than a server that is unavailable.
  const refused = failed.find(({ reason }) => !(reason instanceof ApiError));
  if (refused !== undefined) throw refused.reason;
  for (const { shard, reason } of failed) {
    if (needs.includes(shard) && !done.has(shard)) throw reason;
    ctx.log({ event: 'node-away', shard, ...describeError(reason) });
  }
}
