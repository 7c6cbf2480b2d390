import * as z from 'zod';
import type { Table } from '../schema/table.ts';
import { checkRows } from '../stores/check-rows.ts';
import { everyReplica } from '../stores/clickhouse/kind.ts';
import type { CatalogDeps } from './deps.ts';
import { shardsOf } from './lane-location.ts';

const mutationsLeftRow = z.object({ n: z.string(), reason: z.string() });

/**
 * The number of unfinished mutations of a table on all replicas, and their newest failure reasons.
 *
 * @throws StoreError, ClickHouseError
 */
export async function mutationsLeft(ctx: CatalogDeps, table: Table): Promise<{ left: number; reasons: string[] }> {
  const mutations = everyReplica(await ctx.clickhouseKind(), 'system.mutations');
  const found = { left: 0, reasons: [] as string[] };
  for (const { node } of shardsOf(ctx, table)) {
    const [here] = checkRows(
      mutationsLeftRow,
      await node.clickhouse.rows(
        `SELECT count() AS n, max(latest_fail_reason) AS reason FROM ${mutations}
        WHERE database = {database:String} AND table = {table:String} AND NOT is_done AND NOT is_killed`,
        { database: `ts_${table.dataset}`, table: table.physical },
      ),
    );
    found.left += Number(here?.n ?? 0);
    if (here !== undefined && here.reason !== '') found.reasons.push(here.reason);
  }
  return found;
}
