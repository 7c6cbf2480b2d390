import * as z from 'zod';
import { StoreError } from '../core/errors.ts';
import { checkRows } from '../stores/check-rows.ts';
import { decodeBatchId } from './batch-id.ts';
import type { IngestDeps } from './deps.ts';

const batchManifestRow: z.ZodType<{ manifest: BatchManifest }> = z.object({
  manifest: z.object({
    id: z.string(),
    rows: z.number(),
    bytes: z.number(),
    checksum: z.string(),
    schemaVersion: z.number(),
    sequences: z.object({ from: z.number(), to: z.number() }),
    flushedAt: z.string(),
    partitions: z.array(
      z.object({ partition: z.string(), rows: z.number(), timeFrom: z.string(), timeTo: z.string() }),
    ),
  }),
});

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
      batchManifestRow,
      await ctx.postgres.rows(
        `select jsonb_build_object(
                'id', m.id, 'rows', m.rows, 'bytes', m.bytes, 'checksum', m.checksum, 'schemaVersion', m.schema_version,
                'sequences', jsonb_build_object('from', m.seq_from, 'to', m.seq_to),
                'flushedAt', to_char(m.flushed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                'partitions', coalesce((
                  select jsonb_agg(jsonb_build_object('partition', p.partition, 'rows', p.rows,
                           'timeFrom', to_char(p.time_from at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                           'timeTo', to_char(p.time_to at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
                         order by p.partition)
                    from manifest_partitions p where p.manifest_id = m.id), '[]')) as manifest
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
    return row?.manifest ?? null;
  } catch (error) {
    if (error instanceof StoreError) return null;
    throw error;
  }
}
