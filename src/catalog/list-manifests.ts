import * as z from 'zod';
import { checkRows } from '../stores/check-rows.ts';
import type { CatalogDeps } from './deps.ts';
import { type Manifest, manifestJson, manifestSchema } from './manifest.ts';

/** `at`: the position in the list, for the next page. */
const listedRow = z.object({ at: z.string(), manifest: manifestSchema });

/** Manifests of a table, newest first, after a position in the list. Throws StoreError. */
export async function listManifests(
  ctx: CatalogDeps,
  { dataset, physical }: { dataset: string; physical: string },
  { after, limit }: { after: string | undefined; limit: number },
): Promise<{ at: string; manifest: Manifest }[]> {
  const [time, id] = after?.split(' ') ?? [];
  return checkRows(
    listedRow,
    await ctx.postgres.rows(
      `select (extract(epoch from flushed_at) * 1000000)::bigint || ' ' || id as at, ${manifestJson} as manifest
         from manifests m
        where dataset = $dataset and physical_table = $physical
          and ($time::text is null or (flushed_at, id) < (timestamptz 'epoch' + $time::bigint * interval '1 microsecond', $id))
        order by flushed_at desc, id desc limit $limit`,
      { dataset, physical, time: time ?? null, id: id ?? null, limit },
    ),
  );
}
