import * as z from 'zod';
import { auditLine } from '../../catalog/audit-log/statement.ts';
import { notFound } from '../../core/not-found.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs, type Params, type Statement } from '../../stores/postgres/client.ts';
import { listObjectPages } from '../../stores/s3/list-pages.ts';
import type { OperationDeps } from '../deps.ts';
import type { ExportFormat } from './day.ts';

const exportRow: z.ZodType<Export> = z.object({
  n: z.string(),
  id: z.string(),
  dataset: z.string(),
  table: z.string(),
  format: z.enum(['parquet', 'csv', 'ndjson']),
  from_ms: z.number().nullable(),
  to_ms: z.number().nullable(),
  watermark: z.string(),
  columns: z.array(z.object({ name: z.string(), type: z.string() })),
  rows: z.number(),
  bytes: z.number(),
  objects: z.array(
    z.object({ day: z.string(), key: z.string(), rows: z.number(), bytes: z.number(), checksum: z.string() }),
  ),
  actor: z.string(),
  publishedAt_ms: z.number(),
  isOfThisLife: z.boolean(),
});

/** The rows of one day (UTC). */
export type ExportedObject = { day: string; key: string; rows: number; bytes: number; checksum: string };

export type Export = {
  n: string;
  id: string;
  dataset: string;
  table: string;
  format: ExportFormat;
  from_ms: number | null;
  to_ms: number | null;
  /** Watermark token of its cut. */
  watermark: string;
  columns: { name: string; type: string }[];
  rows: number;
  bytes: number;
  objects: ExportedObject[];
  actor: string;
  publishedAt_ms: number;
  /** Whether its dataset is still in the life of the publication. */
  isOfThisLife: boolean;
};

const columnsSql = `n, id, dataset, "table", format, ${epochMs('time_from')} as from_ms, ${epochMs('time_to')} as to_ms, watermark,
  columns, rows::float8 as rows, bytes::float8 as bytes, objects, actor, ${epochMs('published_at')} as "publishedAt_ms",
  dataset_life = life_of_dataset(dataset) as "isOfThisLife"`;

/** The statement that publishes an export. */
export function publishExport(
  job: { id: string; dataset: string; table: string; actor: string; request: { format: ExportFormat } },
  details: Pick<Export, 'watermark' | 'columns' | 'objects' | 'rows' | 'bytes'> & {
    start_ms: number | undefined;
    end_ms: number | undefined;
    life: number;
  },
): Statement {
  const { watermark, columns, objects, rows, bytes, life, start_ms = null, end_ms = null } = details;
  return [
    `insert into exports (id, dataset, "table", format, time_from, time_to, watermark, columns, rows, bytes, objects, actor, life)
     values ($id, $dataset, $table, $format, to_timestamp($start_ms::float8 / 1000), to_timestamp($end_ms::float8 / 1000), $watermark, $columns::jsonb, $rows, $bytes, $objects::jsonb, $actor, $life)
     on conflict (id) do nothing`,
    {
      id: job.id,
      dataset: job.dataset,
      table: job.table,
      format: job.request.format,
      start_ms,
      end_ms,
      watermark,
      columns: JSON.stringify(columns),
      rows,
      bytes,
      objects: JSON.stringify(objects),
      actor: job.actor,
      life,
    },
  ];
}

/** Exports of a table up to one life, including exports without a recorded life. Throws StoreError. */
export async function exportsOfLife(
  ctx: OperationDeps,
  dataset: string,
  table: string,
  life: number,
  limit: number,
): Promise<Export[]> {
  return checkRows(
    exportRow,
    await ctx.postgres.rows(
      `select ${columnsSql} from exports
      where dataset = $dataset and "table" = $table and coalesce(life, 0) <= $life order by n limit $limit`,
      { dataset, table, life, limit },
    ),
  );
}

/** Newest first. `visibleDatasets`: only exports of these datasets, in their current lives. */
export async function listExports(
  ctx: OperationDeps,
  {
    before,
    dataset,
    table,
    visibleDatasets,
  }: {
    before?: number | undefined;
    dataset?: string | undefined;
    table?: string | undefined;
    visibleDatasets?: string[] | undefined;
  },
  limit: number,
): Promise<Export[]> {
  return checkRows(
    exportRow,
    await ctx.postgres.rows(
      `select ${columnsSql} from exports
      where ($before::bigint is null or n < $before) and ($dataset::text is null or dataset = $dataset) and ($table::text is null or "table" = $table)
        and ($datasets::text[] is null or (dataset = any($datasets) and dataset_life = life_of_dataset(dataset)))
      order by n desc limit $limit`,
      {
        before: before ?? null,
        dataset: dataset ?? null,
        table: table ?? null,
        datasets: visibleDatasets ?? null,
        limit,
      },
    ),
  );
}

/** Throws TimestoreError `not-found`; StoreError. */
export async function readExport(ctx: OperationDeps, id: string): Promise<Export> {
  const [found] = checkRows(
    exportRow,
    await ctx.postgres.rows(`select ${columnsSql} from exports where id = $id`, { id }),
  );
  if (found === undefined) throw notFound({ kind: 'Export', id });
  return found;
}

/**
 * Removes the objects of an export, then its record. A call that was interrupted is completed by another one, which lists
 * only the remaining objects. So an export may have more objects than one request can remove.
 *
 * @throws StoreError
 */
export async function removeExport(ctx: OperationDeps, found: Export, folder: string): Promise<void> {
  for await (const page of listObjectPages(ctx.objects, folder))
    for (const { key } of page) await ctx.objects.remove(key);
  const params: Params = { id: found.id };
  const line = auditLine(
    { action: 'export.delete', dataset: found.dataset, table: found.table, detail: { export: found.id } },
    'changed',
    params,
  );
  await ctx.postgres.rows(
    `with changed as (delete from exports where id = $id returning id), line as (${line}) select id from changed`,
    params,
  );
}
