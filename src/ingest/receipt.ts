import { batchIdAt } from '../buffer/batch-at.ts';
import { type LaneSnapshot, snapshotTable } from '../buffer/snapshot.ts';
import type { LaneMark } from '../buffer/watermark-token.ts';
import { findTable } from '../catalog/find-table.ts';
import { haveOvertakenMarks } from '../catalog/rows-beyond.ts';
import { ApiError } from '../core/errors.ts';
import { lifeOf, logicalName } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { type BatchPlace, decodeBatchId } from './batch-id.ts';
import { findBatchManifest } from './batch-manifest.ts';
import type { IngestDeps } from './deps.ts';
import { countRejectedRows } from './rejected-rows.ts';

export type Receipt = {
  batchId: string;
  dataset: string;
  table: string;
  /**
   * `buffered`: acknowledged and in every query result, perhaps not in ClickHouse yet. `flushed`: all rows were counted in
   * ClickHouse. `verified`: the manifest is recorded too. `lost`: a failover of the hot buffer lost the batch, and queries
   * may not return its rows. `unknown`: the hot buffer has lost the lane of the batch.
   */
  state: 'buffered' | 'flushed' | 'verified' | 'lost' | 'unknown';
  /** Id of the manifest that contains the batch. */
  manifest: string | null;
  /** Rows that ClickHouse rejected, now in quarantine; null if unknown. */
  quarantined: number | null;
};

/**
 * The state of a batch. A split request has the id of its first batch.
 *
 * @throws ApiError `not-found` for an unknown id or table; StoreError if Redis is unavailable
 */
export async function readReceipt(ctx: IngestDeps, batchId: string): Promise<Receipt> {
  const place = decodeBatchId(batchId);
  if (place === undefined) throw new ApiError('not-found', 'This is not a batch id.');
  const { dataset, physical } = place.table;
  const name = logicalName(physical);
  // The batch id names the table, so that a receipt is the border of its lookup.
  const table = await findTable(ctx, dataset, name, { life: lifeOf(physical) });
  if (table === undefined || table.physical !== physical) {
    throw new ApiError('not-found', `The table of this batch, ${name} of dataset ${dataset}, does not exist.`);
  }
  const found = { batchId, dataset, table: name };
  const snapshot = await snapshotTable(ctx, table, 'state');
  const lane = snapshot === 'unknown' ? undefined : snapshot.lanes[place.lane];
  const isSameLane = lane?.incarnation === place.incarnation;
  const noManifest = { manifest: null, quarantined: null };
  if (isSameLane && (await isLost(ctx, table, lane, place))) return { ...found, state: 'lost', ...noManifest };
  if (isSameLane && place.seq > lane.watermark) return { ...found, state: 'buffered', ...noManifest };
  const quarantined = await countRejectedRows(ctx, table, [place]).catch(() => null);
  const manifest = await findBatchManifest(ctx, batchId);
  if (manifest !== null) return { ...found, state: 'verified', manifest: manifest.id, quarantined };
  return { ...found, state: isSameLane ? 'flushed' : 'unknown', manifest: null, quarantined };
}

/** Whether a failover of the hot buffer lost an acknowledged batch, or gave its sequence to another batch. */
async function isLost(ctx: IngestDeps, table: Table, lane: LaneSnapshot, place: BatchPlace): Promise<boolean> {
  if (place.seq > lane.seq) return true;
  if (place.seq > lane.watermark) {
    const id = await batchIdAt(ctx, table, place.lane, place.seq);
    // Undefined: a flush may have released the batch meanwhile.
    if (id !== undefined) return id !== place.id;
  }
  if (place.receivedAt_ms === undefined) return false;
  const mark: LaneMark = [place.lane, place.incarnation, place.seq, place.receivedAt_ms];
  return await haveOvertakenMarks(ctx, table, [mark]).catch(() => false);
}
