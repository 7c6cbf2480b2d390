import { markChange } from '../../buffer/mark-change.ts';
import { mutationsLeft } from '../../catalog/mutations.ts';
import type { Table } from '../../schema/table.ts';
import { askInTurn } from '../../stores/redis/client.ts';
import type { OperationDeps } from '../deps.ts';

/** A mark for a change of stored rows whose job has ended. */
export type StaleMark = { job: string; isReleased: boolean };

/**
 * Releases the mark of a job that has ended: a failover of the hot buffer restored the mark, a late step set it, or the job
 * failed. While the mark is set, queries of further pages are rejected. It stays while ClickHouse still has mutations.
 *
 * @throws StoreError, ClickHouseError
 */
export async function releaseStaleMark(ctx: OperationDeps, table: Table): Promise<StaleMark | undefined> {
  const [by] = await askInTurn(ctx.redis, [['HGET', ctx.keys.state(table, 0), 'changing']]);
  if (typeof by !== 'string') return undefined;
  const [active] = await ctx.postgres.rows("select from jobs where id = $by and state in ('queued', 'running')", {
    by,
  });
  if (active !== undefined) return undefined;
  const { left } = await mutationsLeft(ctx, table);
  if (left > 0) return { job: by, isReleased: false };
  await markChange(ctx, table, 'release', by);
  return { job: by, isReleased: true };
}
