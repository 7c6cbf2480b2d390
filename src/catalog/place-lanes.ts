import { createHash } from 'node:crypto';
import type { Table } from '../schema/table.ts';
import type { CatalogDeps } from './deps.ts';

/**
 * The shard of each lane of a table. Placed lanes stay; each new lane goes to the shard with the fewest lanes. Tables begin on
 * different shards, so that tables with one lane are spread too.
 */
export function placeLanes(
  ctx: CatalogDeps,
  { dataset, name }: { dataset: string; name: string },
  placed: readonly number[],
  lanes: number,
): number[] {
  const count = ctx.cluster?.shards.length ?? 1;
  const first = createHash('sha256').update(`${dataset}.${name}`).digest().readUInt32BE(0) % count;
  const order = Array.from({ length: count }, (_, i) => 1 + ((first + i) % count));
  const shards = [...placed];
  while (shards.length < lanes) {
    const uses = (number: number) => shards.filter((each) => each === number).length;
    const fewest = Math.min(...order.map(uses));
    shards.push(order.find((number) => uses(number) === fewest) ?? 1);
  }
  return shards;
}

/** The minimum number of lanes that covers every shard, never fewer than the table has. */
export function spreadLanes(ctx: CatalogDeps, table: Table): { lanes: number; shards: number[] } {
  const count = ctx.cluster?.shards.length ?? 1;
  let { lanes, shards } = table;
  while (new Set(shards.slice(0, lanes)).size < count) {
    lanes += 1;
    shards = placeLanes(ctx, table, shards, lanes);
  }
  return { lanes, shards };
}
