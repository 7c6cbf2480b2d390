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
import { countSkipped } from './rejected-rows.ts';

export type Receipt = {
  batchId: string;
  dataset: string;
  table: string;
  /**
   * `buffered`: acknowledged, in every answer, not in ClickHouse for certain. `flushed`: all its rows were counted in
   * ClickHouse. `verified`: and its manifest is on record. `lost`: the hot buffer failed over and has lost it; its rows
   * are in no answer, or no longer for certain. `unknown`: the hot buffer has lost the lane it was in.
   */
  state: 'buffered' | 'flushed' | 'verified' | 'lost' | 'unknown';
  /** The manifest that has it. */
  manifest: string | null;
  /** Rows of it that ClickHouse refused and that are in quarantine; null while that is unknown. */
  quarantined: number | null;
};

/**
 * How far a batch is. For a request that was cut in chunks: its first.
 *
 * @throws TimestoreError `not-found` for an id of nothing that is there; StoreError when Redis is away
 */
export async function readReceipt(ctx: IngestDeps, batchId: string): Promise<Receipt> {
  const place = decodeBatchId(batchId);
  if (place === undefined) throw new ApiError('not-found', 'This is not the id of a batch.');
  const { dataset, physical } = place.table;
  const name = logicalName(physical);
  const table = await findTable(ctx, dataset, name, { life: lifeOf(physical) });
  if (table === undefined || table.physical !== physical) {
    throw new ApiError('not-found', `The table of this batch, ${name} of dataset ${dataset}, is not there.`);
  }
  const found = { batchId, dataset, table: name };
  const snapshot = await snapshotTable(ctx, table, 'state');
  const lane = snapshot === 'unknown' ? undefined : snapshot.lanes[place.lane];
  const isHere = lane?.incarnation === place.incarnation;
  const nothing = { manifest: null, quarantined: null };
  if (isHere && (await isLost(ctx, table, lane, place))) return { ...found, state: 'lost', ...nothing };
  if (isHere && place.seq > lane.watermark) return { ...found, state: 'buffered', ...nothing };
  const quarantined = await countSkipped(ctx, table, [place]).catch(() => null);
  const manifest = await findBatchManifest(ctx, batchId);
  if (manifest !== null) return { ...found, state: 'verified', manifest: manifest.id, quarantined };
  return { ...found, state: isHere ? 'flushed' : 'unknown', manifest: null, quarantined };
}

/** Whether the hot buffer has gone back behind a batch that it had acknowledged, or has given its sequence to another. */
async function isLost(ctx: IngestDeps, table: Table, lane: LaneSnapshot, place: BatchPlace): Promise<boolean> {
  if (place.seq > lane.seq) return true;
  if (place.seq > lane.watermark) {
    const id = await batchIdAt(ctx, table, place.lane, place.seq);
    // It may have been flushed meanwhile.
    if (id !== undefined) return id !== place.id;
  }
  if (place.receivedAt_ms === undefined) return false;
  const mark: LaneMark = [place.lane, place.incarnation, place.seq, place.receivedAt_ms];
  return await haveOvertakenMarks(ctx, table, [mark]).catch(() => false);
}
