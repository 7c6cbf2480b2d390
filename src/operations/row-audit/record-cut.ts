import * as z from 'zod';
import type { LanePositions } from '../../buffer/lane-positions.ts';
import { snapshotTable } from '../../buffer/snapshot.ts';
import { drainManifestOutbox } from '../../catalog/manifest-outbox.ts';
import { restoreLanes } from '../../catalog/provision-lanes.ts';
import { catchUpLanes } from '../../flush/catch-up.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs } from '../../stores/postgres/client.ts';
import type { OperationDeps } from '../deps.ts';
import { rebuildDisplaced } from './rebuild-displaced.ts';
import { rebuildManifests } from './rebuild-manifests.ts';

/** A batch with a reused sequence may be flushed this late. An audit finds the displaced batch only after that. */
const waiting_ms = 3_600_000;

/**
 * Records the manifests of all rows of a flushed cut, including rows that the hot buffer has forgotten in a failover.
 *
 * @returns false while a lane with forgotten rows has pending batches: the rows are visible again after their flush
 * @throws StoreError, ClickHouseError
 */
export async function recordCut(ctx: OperationDeps, table: Table, until: LanePositions): Promise<boolean> {
  const readLanes = async () => {
    const snapshot = await snapshotTable(ctx, table, 'state');
    return snapshot === 'unknown' ? [] : snapshot.lanes;
  };
  await restoreLanes(ctx, table);
  await catchUpLanes(ctx, table, await readLanes());
  const lanes = await readLanes();
  const isBehind = lanes.some(({ lane, seq, watermark }) => {
    return seq > watermark && until.some((end) => end.lane === lane && end.seq > watermark);
  });
  if (isBehind) return false;
  await drainManifestOutbox(ctx);
  const since_ms = await auditedAt_ms(ctx, table);
  for (const lane of lanes) {
    await rebuildManifests(ctx, table, lane);
    await rebuildDisplaced(ctx, table, lane, since_ms - waiting_ms);
  }
  return true;
}

const auditedAt_msRow = z.object({ at_ms: z.number() });

/** Time of the newest audit, which recorded all earlier batches; 0 without an audit. */
async function auditedAt_ms(ctx: OperationDeps, { dataset, name, life }: Table): Promise<number> {
  const [audit] = checkRows(
    auditedAt_msRow,
    await ctx.postgres.rows(
      `select ${epochMs('audited_at')} as at_ms from audits where dataset = $dataset and name = $name and life = $life`,
      { dataset, name, life },
    ),
  );
  return audit?.at_ms ?? 0;
}
