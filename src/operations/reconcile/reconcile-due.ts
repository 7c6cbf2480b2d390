import * as z from 'zod';
import { noteStored, readUsage } from '../../buffer/quota.ts';
import { readTable } from '../../catalog/find-table.ts';
import { requireFirstRow } from '../../core/errors.ts';
import { physicalName } from '../../core/identifiers.ts';
import { describeError } from '../../core/log.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { everyReplica } from '../../stores/clickhouse/kind.ts';
import { everyShard } from '../../stores/clickhouse/servers.ts';
import { askInTurn } from '../../stores/redis/client.ts';
import type { OperationDeps } from '../deps.ts';
import { dropOrphanStaging, dropOrphanTables, removeOrphanObjects } from './orphans.ts';
import { reconcileTable } from './reconcile-table.ts';

const tablesInPass = 500;
/** Lanes in one request to the hot buffer. */
const lanes_max = 1_000;

const reconcileDueRow = z.object({ dataset: z.string(), name: z.string() });

/**
 * Reconciles tables whose last reconciliation is older than the limit `reconcile_every_ms` with ClickHouse, oldest first,
 * until the deadline. Then measures datasets with a storage quota and removes orphans. A failure does not stop the other
 * tasks.
 *
 * @returns the number of reconciled tables
 * @throws StoreError when Postgres is unavailable
 */
export async function reconcileDue(ctx: OperationDeps, deadline_ms: number): Promise<number> {
  const due = checkRows(
    reconcileDueRow,
    await ctx.postgres.rows(
      `select t.dataset, t.name from tables t join datasets d on d.name = t.dataset left join reconciliations r
         on (r.dataset, r.name, r.life) = (t.dataset, t.name, t.life)
      where t.dropped_at is null and 'deleting' not in (t.state, d.state)
        and (r.reconciled_at is null or r.reconciled_at < now() - $reconcile_every_ms * interval '1 millisecond')
      order by r.reconciled_at nulls first limit $tablesInPass`,
      { reconcile_every_ms: ctx.config.limits.reconcile_every_ms, tablesInPass },
    ),
  );
  let reconciled = 0;
  for (const { dataset, name } of due) {
    if (ctx.now() >= deadline_ms) return reconciled;
    const reconcile = async () => {
      const table = await readTable(ctx, dataset, name);
      if (table !== undefined) await reconcileTable(ctx, table);
      reconciled += 1;
    };
    await reconcile().catch((error) => logFailure(ctx, { what: 'table', dataset, table: name }, error));
  }
  await inspectStorage(ctx).catch((error) => logFailure(ctx, { what: 'storage' }, error));
  await dropOrphanTables(ctx).catch((error) => logFailure(ctx, { what: 'orphan-tables' }, error));
  await dropOrphanStaging(ctx).catch((error) => logFailure(ctx, { what: 'orphan-staging' }, error));
  await removeOrphanObjects(ctx).catch((error) => logFailure(ctx, { what: 'orphan-objects' }, error));
  return reconciled;
}

function logFailure(ctx: OperationDeps, where: object, error: unknown): void {
  ctx.log({ event: 'reconcile-failed', ...where, ...describeError(error) });
}

const datasetRow = z.object({ name: z.string() });

const storedBytesRow = z.object({ bytes: z.string() });

/** Measures the disk space in ClickHouse of datasets with a storage quota. */
export async function inspectStorage(ctx: OperationDeps): Promise<void> {
  const limited = checkRows(
    datasetRow,
    await ctx.postgres.rows(`select name from datasets where dropped_at is null and quota ? 'storageBytes'`),
  );
  for (const { name } of limited) {
    // Read before the measurement, which does not include rows that are buffered from now on.
    const before = await readUsage(ctx, name);
    // Pending bytes are read before stored ones: rows of a flush in between are counted twice rather than not at all.
    const pending = await pendingBytes(ctx, name);
    let bytes = 0;
    const parts = everyReplica(await ctx.clickhouseKind(), 'system.parts');
    for (const { clickhouse } of everyShard(ctx)) {
      const held = checkRows(
        storedBytesRow,
        await clickhouse.rows(
          // Replicas have the same parts, some of them a moment later.
          `SELECT max(bytes) AS bytes FROM (SELECT sum(bytes_on_disk) AS bytes FROM ${parts}
          WHERE active AND database = {database:String} GROUP BY hostName())`,
          { database: `ts_${name}` },
        ),
      );
      bytes += Number(requireFirstRow('clickhouse', held).bytes);
    }
    await noteStored(ctx, name, bytes + pending, before);
  }
}

const pendingBytesRow = z.object({ name: z.string(), life: z.number(), lanes: z.number() });

/** Bytes of a dataset in the hot buffer. */
async function pendingBytes(ctx: OperationDeps, dataset: string): Promise<number> {
  const tables = checkRows(
    pendingBytesRow,
    await ctx.postgres.rows(
      `select name, life, (definition->>'readLanes')::int as lanes from tables where dataset = $dataset and dropped_at is null`,
      { dataset },
    ),
  );
  const keys = tables.flatMap(({ name, life, lanes }) => {
    const table = { dataset, physical: physicalName(name, life) };
    return Array.from({ length: lanes }, (_, lane) => ctx.keys.state(table, lane));
  });
  let bytes = 0;
  for (let from = 0; from < keys.length; from += lanes_max) {
    const some = keys.slice(from, from + lanes_max).map((key) => ['HGET', key, 'bytes']);
    // A lane without state has nothing pending.
    for (const held of await askInTurn(ctx.redis, some)) bytes += Number(held ?? 0);
  }
  return bytes;
}
