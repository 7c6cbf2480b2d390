import * as z from 'zod';
import { readDatasetLife } from '../../catalog/life.ts';
import { physicalName } from '../../core/identifiers.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { listObjectPages } from '../../stores/s3/list-pages.ts';
import type { OperationDeps } from '../deps.ts';

/** The prefix for objects that users with access to the bucket put there; Timestore never removes them. */
export const importPrefix = 'imports/';

const uploadPrefix = 'uploads/';

/** The folder of files that clients upload to presigned URLs, for one life of a dataset. */
export function uploadFolder(dataset: string, life: number): string {
  return `${uploadPrefix}${physicalName(dataset, life)}/`;
}

/** The key of a new upload. Throws StoreError. */
export async function uploadKey(ctx: OperationDeps, dataset: string, name: string): Promise<string> {
  return `${uploadFolder(dataset, await readDatasetLife(ctx, dataset))}${crypto.randomUUID()}/${name}`;
}

const removeUploadsRow = z.object({ key: z.string() });

/** Removes uploads from before a time, except those of unfinished jobs. Returns the number of removed files. */
export async function removeUploads(ctx: OperationDeps, old_ms: number, objects_max: number): Promise<number> {
  let removed = 0;
  for await (const page of listObjectPages(ctx.objects, uploadPrefix, { objects_max })) {
    const old = page.filter(({ modifiedAt_ms }) => modifiedAt_ms < old_ms).map(({ key }) => key);
    const named = checkRows(
      removeUploadsRow,
      await ctx.postgres.rows(
        `select key from jobs, jsonb_array_elements_text(request->'objects') as key
        where kind in ('import', 'compare') and state in ('queued', 'running', 'failed') and key = any($old)`,
        { old },
      ),
    );
    const kept = new Set(named.map(({ key }) => key));
    for (const key of old.filter((each) => !kept.has(each))) {
      await ctx.objects.remove(key);
      removed += 1;
    }
  }
  return removed;
}
