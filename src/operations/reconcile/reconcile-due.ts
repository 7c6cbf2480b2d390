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
/** Asked of the hot buffer in one request. */
const lanesAtOnce = 1_000;

const reconcileDueRow = z.object({ dataset: z.string(), name: z.string() });

/**
 * Compares the tables that nobody has looked at for the limit `reconcile_every_ms` with ClickHouse, the oldest look first,
 * until the deadline; looks what datasets with a quota of storage hold; and removes what nothing names any more. What
 * fails holds up nothing else.
 *
 * @returns how many tables were compared
 * @throws StoreError when Postgres is away
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
  let looked = 0;
  for (const { dataset, name } of due) {
    if (ctx.now() >= deadline_ms) return looked;
    const look = async () => {
      const table = await readTable(ctx, dataset, name);
      if (table !== undefined) await reconcileTable(ctx, table);
      looked += 1;
    };
    await look().catch((error) => failed(ctx, { what: 'table', dataset, table: name }, error));
  }
  await inspectStorage(ctx).catch((error) => failed(ctx, { what: 'storage' }, error));
  await dropOrphanTables(ctx).catch((error) => failed(ctx, { what: 'orphan-tables' }, error));
  await dropOrphanStaging(ctx).catch((error) => failed(ctx, { what: 'orphan-staging' }, error));
  await removeOrphanObjects(ctx).catch((error) => failed(ctx, { what: 'orphan-objects' }, error));
  return looked;
}

function failed(ctx: OperationDeps, where: object, error: unknown): void {
  ctx.log({ event: 'reconcile-failed', ...where, ...describeError(error) });
}

const inspectStorageRow = z.object({ name: z.string() });

const inspectStorageRow2 = z.object({ bytes: z.string() });

/** What datasets with a quota of storage hold on ClickHouse's disks. */
export async function inspectStorage(ctx: OperationDeps): Promise<void> {
  const limited = checkRows(
    inspectStorageRow,
    await ctx.postgres.rows(`select name from datasets where dropped_at is null and quota ? 'storageBytes'`),
  );
  for (const { name } of limited) {
    // Before the look: what is buffered from now on is not in it.
    const before = await readUsage(ctx, name);
    // And what waits before what is stored: a flush between the two counts twice then, not at all otherwise.
    const pending = await pendingBytes(ctx, name);
    let bytes = 0;
    const parts = everyReplica(await ctx.clickhouseKind(), 'system.parts');
    for (const { clickhouse } of everyShard(ctx)) {
      const held = checkRows(
        inspectStorageRow2,
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

/** Of what was buffered before the look, that which is not on the disks yet. */
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
  for (let from = 0; from < keys.length; from += lanesAtOnce) {
    const some = keys.slice(from, from + lanesAtOnce).map((key) => ['HGET', key, 'bytes']);
    // A lane without state has nothing pending.
    for (const held of await askInTurn(ctx.redis, some)) bytes += Number(held ?? 0);
  }
  return bytes;
}
