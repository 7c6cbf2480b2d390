import * as z from 'zod';
import { type Manifest, manifestJson, manifestSchema } from '../catalog/manifest.ts';
import { StoreError } from '../core/errors.ts';
import { checkRows } from '../stores/check-rows.ts';
import { decodeBatchId } from './batch-id.ts';
import type { IngestDeps } from './deps.ts';

const manifestRow = z.object({ manifest: manifestSchema });

/** The manifest of a flush, for clients. */
export type BatchManifest = {
  id: string;
  rows: number;
  bytes: number;
  checksum: string;
  schemaVersion: number;
  sequences: { from: number; to: number };
  flushedAt: string;
  partitions: { partition: string; rows: number; timeFrom: string; timeTo: string }[];
};

/** The manifest that contains a batch. Null while it waits in the outbox, or while Postgres is unavailable. */
export async function findBatchManifest(ctx: IngestDeps, batchId: string): Promise<BatchManifest | null> {
  const place = decodeBatchId(batchId);
  if (place === undefined) return null;
  try {
    const [row] = checkRows(
      manifestRow,
      await ctx.postgres.rows(
        `select ${manifestJson} as manifest
         from manifests m
        where m.dataset = $dataset and m.physical_table = $physical and m.lane = $lane and m.incarnation = $incarnation
          and $seq between m.seq_from and m.seq_to
        -- The newest: after a failover of the hot buffer another batch may have had the sequence before.
        order by m.flushed_at desc limit 1`,
        {
          dataset: place.table.dataset,
          physical: place.table.physical,
          lane: place.lane,
          incarnation: place.incarnation,
          seq: place.seq,
        },
      ),
    );
    return row === undefined ? null : renderForClients(row.manifest);
  } catch (error) {
    if (error instanceof StoreError) return null;
    throw error;
  }
}

function renderForClients({ id, rows, bytes, checksum, ...manifest }: Manifest): BatchManifest {
  return {
    id,
    rows,
    bytes,
    checksum,
    schemaVersion: manifest.schema_version,
    sequences: { from: manifest.seq_from, to: manifest.seq_to },
    flushedAt: manifest.flushed_at,
    partitions: manifest.partitions.map(({ partition, rows, time_from, time_to }) => ({
      partition,
      rows,
      timeFrom: time_from,
      timeTo: time_to,
    })),
  };
}
