import * as z from 'zod';
import { checkRows } from '../stores/check-rows.ts';
import { epochMs } from '../stores/postgres/client.ts';
import type { CatalogDeps } from './deps.ts';

const manifestRow: z.ZodType<ManifestRecord> = z.object({
  at: z.string(),
  id: z.string(),
  lane: z.number(),
  incarnation: z.string(),
  token: z.string(),
  epoch: z.string(),
  seq_from: z.string(),
  seq_to: z.string(),
  rows: z.string(),
  bytes: z.string(),
  schema_version: z.number(),
  checksum: z.string(),
  trigger: z.string(),
  quarantined: z.string(),
  expired: z.string(),
  inserts: z.number(),
  batches: z.array(z.object({ seq: z.number(), meta: z.unknown() })),
  flushedAt_ms: z.number(),
  partitions: z.array(
    z.object({
      partition: z.string(),
      rows: z.number(),
      timeFrom_ms: z.number(),
      timeTo_ms: z.number(),
      checksum: z.string(),
    }),
  ),
});

export type ManifestRecord = {
  /** The position in the list, for the next page. */
  at: string;
  id: string;
  lane: number;
  incarnation: string;
  token: string;
  epoch: string;
  seq_from: string;
  seq_to: string;
  rows: string;
  bytes: string;
  schema_version: number;
  checksum: string;
  trigger: string;
  quarantined: string;
  expired: string;
  inserts: number;
  batches: { seq: number; meta: unknown }[];
  flushedAt_ms: number;
  partitions: { partition: string; rows: number; timeFrom_ms: number; timeTo_ms: number; checksum: string }[];
};

/** Manifests of a table, newest first, after a position in the list. Throws StoreError. */
export async function listManifests(
  ctx: CatalogDeps,
  { dataset, physical }: { dataset: string; physical: string },
  { after, limit }: { after: string | undefined; limit: number },
): Promise<ManifestRecord[]> {
  const [time, id] = after?.split(' ') ?? [];
  return checkRows(
    manifestRow,
    await ctx.postgres.rows(
      `select (extract(epoch from flushed_at) * 1000000)::bigint || ' ' || id as at, id, lane, incarnation, token, epoch, seq_from, seq_to, rows, bytes,
            schema_version, checksum, trigger, quarantined, expired, inserts, batches,
            ${epochMs('flushed_at')} as "flushedAt_ms",
            (select coalesce(jsonb_agg(jsonb_build_object('partition', partition, 'rows', p.rows,
                      'timeFrom_ms', ${epochMs('time_from')}, 'timeTo_ms', ${epochMs('time_to')}, 'checksum', p.checksum)
                      order by partition), '[]')
               from manifest_partitions p where p.manifest_id = m.id) as partitions
       from manifests m
      where dataset = $dataset and physical_table = $physical and ($time::text is null or (flushed_at, id) < (timestamptz 'epoch' + $time::bigint * interval '1 microsecond', $id))
      order by flushed_at desc, id desc limit $limit`,
      { dataset, physical, time: time ?? null, id: id ?? null, limit },
    ),
  );
}
