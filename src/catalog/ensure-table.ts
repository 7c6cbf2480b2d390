import type { Table } from '../schema/table.ts';
import { everyShard, onEach } from '../stores/clickhouse/servers.ts';
import type { CatalogDeps } from './deps.ts';
import { dropStored } from './drop-table.ts';
import { LifeEndedError, requireCurrentLife } from './life.ts';
import { applyRetentionAt, makeTable } from './table-ddl.ts';

/**
 * Creates the table in ClickHouse or adds missing columns. Fails for an ended life, whose table nothing would drop again.
 * Additive and idempotent.
 *
 * @param needs shards that must have the table: those with its lanes; others get it when they are available
 * @param from `restore`: allows a table that is hidden during a restore
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
    // The table was dropped between the two checks. After a crash here the reconciler drops the empty table.
    if (error instanceof LifeEndedError && (await isRecordedAsDropped(ctx, table))) await dropStored(ctx, table);
    throw error;
  }
}

/** Requires a drop record, because absence proves nothing: the catalogue may be restored from an older state. */
async function isRecordedAsDropped(ctx: CatalogDeps, { dataset, name, life }: Table): Promise<boolean> {
  const [found] = await ctx.postgres.rows(
    'select from tables where dataset = $dataset and name = $name and life = $life and dropped_at is not null',
    { dataset, name, life },
  );
  return found !== undefined;
}

/** Applies the retention in ClickHouse. Existing rows beyond it are dropped when their parts are merged. */
export async function applyRetention(ctx: CatalogDeps, table: Table): Promise<void> {
  await ensureTable(ctx, table);
  await onEach(ctx, everyShard(ctx), table.shards, (node) => applyRetentionAt(node, table));
}
