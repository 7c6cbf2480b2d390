/** The record of a flush: columns of `manifests`, and its partitions. */
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
  /** Rows of the seal that ClickHouse rejected, and rows past their retention. */
  quarantined: number;
  expired: number;
  inserts: number;
  /** Metadata of batches. */
  batches: { seq: number; meta: unknown }[];
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
