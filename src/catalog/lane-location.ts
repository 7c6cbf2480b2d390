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
  // A lane that came after this instance has seen the table: never to be looked for anywhere else than where it is.
  const newest = await readTable(ctx, table.dataset, table.name);
  const number = newest?.physical === table.physical ? newest.shards[lane] : undefined;
  if (number !== undefined) return atShard(ctx, number);
  throw new StoreError('postgres', `does not know lane ${lane} of table ${table.name}`, undefined);
}

/** Each shard that has lanes of a table, with these. */
export function shardsOf<Deps extends CatalogDeps>(
  ctx: Deps,
  table: Table,
): { node: NodeContext<Deps>; lanes: number[] }[] {
  const lanes = Map.groupBy(table.shards.entries(), ([, shard]) => shard);
  return [...lanes].map(([number, of]) => ({ node: atShard(ctx, number), lanes: of.map(([lane]) => lane) }));
}

/** Where all rows of some tables can be asked for, and what the tables are called there. */
export type AllRows<Deps extends CatalogDeps = CatalogDeps> = { node: NodeContext<Deps>; nameOf(table: Table): string };

/**
 * The shard that has all of them, or else any node, which asks the others.
 *
 * @param isSure whether the tables have no lanes but those of their definitions
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

/** What a table with all its rows is called at a shard. Throws StoreError where that does not ask all others. */
export async function allRowsName(node: CatalogNode, table: Table): Promise<string> {
  if (table.shards.every((number) => number === node.shard)) return qualifiedName(table);
  await requireShards(node.clickhouse, node.cluster?.name ?? '', Math.max(...table.shards));
  return everywhereName(table);
}

/** Rows of a table whose lanes are on other shards would be in no answer. */
function requireOneServer({ shards }: Table): void {
  const other = shards.find((number) => number !== 1);
  if (other !== undefined) throw notConfigured(other);
}
