import * as z from 'zod';
import type { Dropped } from '../../catalog/drop-table.ts';
import { physicalName } from '../../core/identifiers.ts';
import { payloadFolder } from '../../ingest/quarantine.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { listObjectPages } from '../../stores/s3/list-pages.ts';
import type { OperationDeps } from '../deps.ts';
import { exportFolder } from '../export/export.ts';
import { exportsOfLife, removeExport } from '../export/published.ts';
import { uploadFolder } from '../import/uploads.ts';

const removeObjectsOfRow = z.object({ id: z.string() });

/**
 * Removes the objects of a table that is being dropped: its exports, including unpublished ones, and payloads of quarantined
 * rows. All keys belong to this life of the table, so a late call removes nothing of the next table.
 *
 * @returns whether all objects are removed; false when the deadline has passed
 * @throws StoreError
 */
export async function removeObjectsOf(ctx: OperationDeps, table: Dropped, deadline_ms: number): Promise<boolean> {
  const { dataset, name, life } = table;
  for (;;) {
    const [found] = await exportsOfLife(ctx, dataset, name, life, 1);
    if (found === undefined) break;
    if (ctx.now() >= deadline_ms) return false;
    await removeExport(ctx, found, exportFolder(found.dataset, found.table, found.id));
  }
  const unpublished = checkRows(
    removeObjectsOfRow,
    await ctx.postgres.rows(
      `select id from jobs where kind = 'export' and dataset = $dataset and "table" = $name and (progress->>'life')::int = $life
        and state <> 'done'`,
      { dataset, name, life },
    ),
  );
  const folders = unpublished.map(({ id }) => exportFolder(dataset, name, id));
  // Earlier versions stored the payloads of every life in the folder of the first one.
  for (const physical of new Set([name, physicalName(name, life)])) folders.push(payloadFolder(dataset, physical));
  for (const folder of folders) if (!(await removeFolder(ctx, folder, deadline_ms))) return false;
  return true;
}

/** Removes the uploads of a dataset. Returns false when the deadline has passed. Throws StoreError. */
export async function removeUploadsOf(
  ctx: OperationDeps,
  dataset: string,
  life: number,
  deadline_ms: number,
): Promise<boolean> {
  return await removeFolder(ctx, uploadFolder(dataset, life), deadline_ms);
}

async function removeFolder(ctx: OperationDeps, folder: string, deadline_ms: number): Promise<boolean> {
  for await (const page of listObjectPages(ctx.objects, folder)) {
    for (const { key } of page) {
      if (ctx.now() >= deadline_ms) return false;
      await ctx.objects.remove(key);
    }
  }
  return true;
}
