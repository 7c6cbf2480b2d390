import { createHash } from 'node:crypto';
import type { Seal } from '../buffer/seal.ts';
import { skippedRows } from '../buffer/skip.ts';
import type { Manifest } from '../catalog/manifest.ts';
import type { Table } from '../schema/table.ts';
import type { Moved } from './move-seal.ts';
import { type PartitionCount, sumRows } from './row-count.ts';

export function buildManifest(
  table: Table,
  lane: number,
  { seal, counted, expired, inserts }: Moved,
  { trigger, now_ms, metaBytesMax }: { trigger: string; now_ms: number; metaBytesMax: number },
): Manifest {
  return {
    id: `${table.dataset}/${table.physical}/${seal.incarnation}/${seal.token}`,
    dataset: table.dataset,
    table: table.name,
    physical_table: table.physical,
    lane,
    incarnation: seal.incarnation,
    token: seal.token,
    epoch: seal.epoch,
    seq_from: seal.from,
    seq_to: seal.to,
    rows: sumRows(counted),
    bytes: seal.bytes,
    schema_version: newestVersion(seal),
    checksum: computeChecksum(counted),
    trigger,
    quarantined: skippedRows(seal.skip),
    expired,
    inserts: inserts + seal.timesTaken - 1,
    batches: collectMeta(seal, metaBytesMax),
    flushed_at: new Date(now_ms).toISOString(),
    partitions: listPartitions(counted),
  };
}

/**
 * The metadata of the batches of a seal. A seal of other limits can have more than fits into a request to the hot buffer: the
 * last entries are omitted then, because the seal could not be published otherwise.
 */
function collectMeta({ batches }: Seal, bytesMax: number): Manifest['batches'] {
  const entries: Manifest['batches'] = [];
  let bytes = 0;
  for (const { seq, meta } of batches) {
    if (meta === '') continue;
    bytes += Buffer.byteLength(meta) + 32;
    if (bytes > bytesMax && entries.length > 0) break;
    entries.push({ seq, meta: JSON.parse(meta) });
  }
  return entries;
}

/** The checksum of a manifest, from the checksums of its partitions. */
export function computeChecksum(partitions: { partition: string; checksum: string }[]): string {
  const text = partitions.map(({ partition, checksum }) => `${partition}:${checksum}`).join();
  return createHash('sha256').update(text).digest('hex');
}

export function listPartitions(counted: PartitionCount[]): Manifest['partitions'] {
  return counted.map((part) => ({
    partition: part.partition,
    rows: part.rows,
    seq_from: part.seqFrom,
    seq_to: part.seqTo,
    time_from: new Date(part.timeFrom_ms).toISOString(),
    time_to: new Date(part.timeTo_ms).toISOString(),
    checksum: part.checksum,
  }));
}

/** The schema version that a seal's rows need. */
export function newestVersion(seal: Seal): number {
  return Math.max(...seal.batches.map((batch) => batch.schemaVersion));
}
