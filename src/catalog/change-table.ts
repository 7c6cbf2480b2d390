import { changeLanes } from '../buffer/change-lanes.ts';
import { applyRetention } from '../clickhouse/table.ts';
import type { Context } from '../context.ts';
import { TimestoreError } from '../errors.ts';
import { noteLanes, readTable } from './find-table.ts';
import { setUpLanes } from './set-up-lanes.ts';
import type { Retention, Table } from './table.ts';

export type TableChange = {
  /** How many lanes writers choose among from now on. */
  lanes?: number | undefined;
  /** Null keeps rows for ever. */
  retention?: Retention | null | undefined;
};

const roundsMax = 5;

/**
 * Changes a table that is there. Each step may be repeated: a change that broke off is completed by asking for it again.
 *
 * @throws TimestoreError `not-found`; StoreError when a store that this needs is away
 */
export async function changeTable(ctx: Context, dataset: string, name: string, change: TableChange): Promise<Table> {
  const table = await recordChange(ctx, dataset, name, change);
  if (change.retention !== undefined) await applyRetention(ctx, table);
  if (change.lanes === undefined) return table;
  // The lanes first, then their number: from that moment on writers and readers use them.
  do await setUpLanes(ctx, table);
  while ((await changeLanes(ctx, table, table.lanes)) === 'unknown');
  return noteLanes(ctx, table, table.lanes, table.readLanes);
}

/** By compare-and-set, so that of two changes at once none is lost. */
async function recordChange(ctx: Context, dataset: string, name: string, change: TableChange): Promise<Table> {
  for (let round = 0; round < roundsMax; round += 1) {
    const table = await readTable(ctx, dataset, name);
    if (table === undefined) throw new TimestoreError('not-found', `There is no table ${name} in dataset ${dataset}.`);
    const lanes = change.lanes ?? table.lanes;
    const readLanes = Math.max(table.readLanes, lanes);
    const retention = change.retention === undefined ? table.retention : (change.retention ?? undefined);
    const changed = await ctx.postgres.rows(
      `update tables set definition = $5::jsonb, revision = revision + 1
        where dataset = $1 and name = $2 and life = $3 and revision = $4 and dropped_at is null returning revision`,
      [
        dataset,
        name,
        table.life,
        table.revision,
        JSON.stringify({ window: table.window, lanes, readLanes, retention }),
      ],
    );
    if (changed.length === 0) continue;
    const newest = await readTable(ctx, dataset, name);
    if (newest !== undefined) return newest;
  }
  throw new TimestoreError('conflict', `Table ${name} of dataset ${dataset} kept changing. Try again.`, {
    retryAfterMs: 500,
  });
}
