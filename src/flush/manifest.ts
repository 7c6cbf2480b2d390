import { createHash } from 'node:crypto';
import type { Seal } from '../buffer/seal.ts';
import { skippedRows } from '../buffer/skip.ts';
import type { Manifest } from '../catalog/manifest.ts';
import type { Table } from '../schema/table.ts';
import type { Moved } from './move-seal.ts';
import { type PartitionCount, sumRows } from './row-count.ts';

type Recorded = Pick<Manifest, 'lane' | 'incarnation' | 'token' | 'seq_from' | 'seq_to' | 'trigger'> &
  Partial<Pick<Manifest, 'epoch' | 'bytes' | 'schema_version' | 'quarantined' | 'expired' | 'inserts' | 'batches'>>;

/**
 * The manifest of counted rows. What a caller does not record is as for rows that were inserted once, outside a flush.
 *
 * @param incarnation empty for an import, whose token is unique without it
 */
export function buildManifest(
  table: Table,
  { lane, incarnation, token, trigger, ...recorded }: Recorded,
  counted: PartitionCount[],
  now_ms: number,
): Manifest {
  return {
    id: [table.dataset, table.physical, incarnation, token].filter((part) => part !== '').join('/'),
    dataset: table.dataset,
    table: table.name,
    physical_table: table.physical,
    lane,
    incarnation,
    token,
    epoch: recorded.epoch ?? 0,
    seq_from: recorded.seq_from,
    seq_to: recorded.seq_to,
    rows: sumRows(counted),
    bytes: recorded.bytes ?? 0,
    schema_version: recorded.schema_version ?? table.schema.version,
    checksum: computeChecksum(counted),
    trigger,
    quarantined: recorded.quarantined ?? 0,
    expired: recorded.expired ?? 0,
    inserts: recorded.inserts ?? 1,
    batches: recorded.batches ?? [],
    flushed_at: new Date(now_ms).toISOString(),
    partitions: listPartitions(counted),
  };
}

export function buildSealManifest(
  table: Table,
  lane: number,
  { seal, counted, expired, inserts }: Moved,
  { trigger, now_ms, metaBytesMax }: { trigger: string; now_ms: number; metaBytesMax: number },
): Manifest {
  const recorded: Recorded = {
    lane,
    incarnation: seal.incarnation,
    token: seal.token,
    epoch: seal.epoch,
    seq_from: seal.from,
    seq_to: seal.to,
    bytes: seal.bytes,
    schema_version: newestVersion(seal),
    trigger,
    quarantined: skippedRows(seal.skip),
    expired,
    inserts: inserts + seal.timesTaken - 1,
    batches: collectMeta(seal, metaBytesMax),
  };
  return buildManifest(table, recorded, counted, now_ms);
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
function computeChecksum(partitions: { partition: string; checksum: string }[]): string {
  const text = partitions.map(({ partition, checksum }) => `${partition}:${checksum}`).join();
  return createHash('sha256').update(text).digest('hex');
}

function listPartitions(counted: PartitionCount[]): Manifest['partitions'] {
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
