import type { Table } from '../schema/table.ts';
import { everyShard, onEach } from '../stores/clickhouse/servers.ts';
import type { CatalogDeps } from './deps.ts';
import { dropStored } from './drop-table.ts';
import { LifeEndedError, requireCurrentLife } from './life.ts';
import { applyRetentionAt, makeTable } from './table-ddl.ts';

/**
 * Makes the table in ClickHouse with all fields of its schema, or brings the one that is there to it; but not one whose
 * life is over, which nobody would drop again. Additive, and safe to repeat.
 *
 * @param needs the shards of a cluster that must have it: those with its lanes; others get it as soon as they are there
 * @param from `restore`: into a table that is hidden until all of a backup is there
 * @throws LifeEndedError; StoreError, ClickHouseError
 */
export async function ensureTable(
  ctx: CatalogDeps,
  table: Table,
  needs: number[] = table.shards,
  from?: 'restore',
): Promise<void> {
  await requireCurrentLife(ctx, table, from);
  await makeTable(ctx, table, needs);
  try {
    await requireCurrentLife(ctx, table, from);
  } catch (error) {
    // It was dropped between the two looks. Whoever dies here leaves an empty table, which the reconciler drops.
    if (error instanceof LifeEndedError && (await isRecordedAsDropped(ctx, table))) await dropStored(ctx, table);
    throw error;
  }
}

/** Absence from the catalogue proves nothing: it may have been set back to an earlier time. */
async function isRecordedAsDropped(ctx: CatalogDeps, { dataset, name, life }: Table): Promise<boolean> {
  const [found] = await ctx.postgres.rows(
    'select from tables where dataset = $dataset and name = $name and life = $life and dropped_at is not null',
    { dataset, name, life },
  );
  return found !== undefined;
}

/** Makes ClickHouse keep rows for as long as the policy says. Rows that are there already go when their parts are merged. */
export async function applyRetention(ctx: CatalogDeps, table: Table): Promise<void> {
  await ensureTable(ctx, table);
  await onEach(ctx, everyShard(ctx), table.shards, (node) => applyRetentionAt(node, table));
}
