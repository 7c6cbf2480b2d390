import { StoreError } from '../core/errors.ts';
import { everywhereName, qualifiedName } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { requireShards } from '../stores/clickhouse/failover.ts';
import { atShard, chooseNode, type NodeContext, notConfigured } from '../stores/clickhouse/servers.ts';
import type { CatalogDeps, CatalogNode } from './deps.ts';
import { readTable } from './find-table.ts';

/** The shard that has a lane's rows. Throws StoreError if that shard is unknown or not configured. */
export async function atLane<Deps extends CatalogDeps>(
  ctx: Deps,
  table: Table,
  lane: number,
): Promise<NodeContext<Deps>> {
  if (ctx.cluster === undefined) requireOneServer(table);
  const seen = table.shards[lane];
  if (seen !== undefined) return atShard(ctx, seen);
  // The lane is newer than the definition. Its shard must be read, because a wrong shard would have no rows.
  const newest = await readTable(ctx, table.dataset, table.name);
  const number = newest?.physical === table.physical ? newest.shards[lane] : undefined;
  if (number !== undefined) return atShard(ctx, number);
  throw new StoreError('postgres', `does not know lane ${lane} of table ${table.name}`, undefined);
}

/** The shards of a table with their lanes. */
export function shardsOf<Deps extends CatalogDeps>(
  ctx: Deps,
  table: Table,
): { node: NodeContext<Deps>; lanes: number[] }[] {
  const lanes = Map.groupBy(table.shards.entries(), ([, shard]) => shard);
  return [...lanes].map(([number, entries]) => ({ node: atShard(ctx, number), lanes: entries.map(([lane]) => lane) }));
}

/** A node that can query all rows of some tables, and the names of the tables there. */
export type AllRows<Deps extends CatalogDeps = CatalogDeps> = { node: NodeContext<Deps>; nameOf(table: Table): string };

/**
 * The only shard with rows of the tables, or any node, which queries the others.
 *
 * @param isSure whether the definitions have all lanes
 */
export function atAllRows<Deps extends CatalogDeps>(ctx: Deps, tables: readonly Table[], isSure = true): AllRows<Deps> {
  if (ctx.cluster === undefined) {
    for (const table of tables) requireOneServer(table);
    return { node: atShard(ctx, 1), nameOf: qualifiedName };
  }
  const [number, ...others] = new Set(tables.flatMap(({ shards }) => shards));
  if (isSure && number !== undefined && others.length === 0)
    return { node: atShard(ctx, number), nameOf: qualifiedName };
  const highest = Math.max(0, ...others, number ?? 0);
  if (highest > ctx.cluster.shards.length) throw notConfigured(highest);
  return { node: { ...ctx, ...chooseNode(ctx.cluster, highest), shard: 0 }, nameOf: everywhereName };
}

/** The name of a table with all its rows at a shard. Throws StoreError if that shard does not know all others. */
export async function allRowsName(node: CatalogNode, table: Table): Promise<string> {
  if (table.shards.every((number) => number === node.shard)) return qualifiedName(table);
  await requireShards(node.clickhouse, node.cluster?.name ?? '', Math.max(...table.shards));
  return everywhereName(table);
}

/** Results would lack the rows of lanes on other shards. */
function requireOneServer({ shards }: Table): void {
  const other = shards.find((number) => number !== 1);
  if (other !== undefined) throw notConfigured(other);
}
