import { createHash } from 'node:crypto';
import type { Seal } from '../buffer/seal.ts';
import type { Table } from '../catalog/table.ts';
import type { PartitionCount } from './count.ts';

/** The record of what a flush put where; the columns of `manifests`, and its partitions. */
export type Manifest = {
  id: string;
  dataset: string;
  table: string;
  physical_table: string;
  lane: number;
  incarnation: string;
  token: string;
  epoch: number;
  seq_from: number;
  seq_to: number;
  rows: number;
  bytes: number;
  schema_version: number;
  checksum: string;
  trigger: string;
  flushed_at: string;
  partitions: {
    partition: string;
    rows: number;
    seq_from: number;
    seq_to: number;
    time_from: string;
    time_to: string;
    checksum: string;
  }[];
};

export function manifestOf(
  table: Table,
  lane: number,
  seal: Seal,
  counted: PartitionCount[],
  { trigger, now_ms }: { trigger: string; now_ms: number },
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
    rows: seal.rows,
    bytes: seal.bytes,
    schema_version: newestVersion(seal),
    checksum: createHash('sha256')
      .update(counted.map((part) => `${part.partition}:${part.checksum}`).join())
      .digest('hex'),
    trigger,
    flushed_at: new Date(now_ms).toISOString(),
    partitions: counted.map((part) => ({
      partition: part.partition,
      rows: part.rows,
      seq_from: part.seqFrom,
      seq_to: part.seqTo,
      time_from: new Date(part.timeFrom_ms).toISOString(),
      time_to: new Date(part.timeTo_ms).toISOString(),
      checksum: part.checksum,
    })),
  };
}

/** The schema version that a seal's rows need. */
export function newestVersion(seal: Seal): number {
  return Math.max(...seal.batches.map((batch) => batch.schemaVersion));
}
