import * as z from 'zod';
import { readDatasetLife } from '../../src/catalog/life.ts';
import { ApiError } from '../../src/core/errors.ts';
import type { Context as AppContext } from '../../src/create-context.ts';
import { exportFormat } from '../../src/operations/export/day.ts';
import { exportPrefix } from '../../src/operations/export/export.ts';
import type { ImportFormat } from '../../src/operations/import/read-object.ts';
import { objectKey } from '../../src/operations/import/read-objects.ts';
import { importPrefix, uploadFolder } from '../../src/operations/import/uploads.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { renameForm } from '../../src/schema/rename.ts';
import { fieldType, timestampPrecision } from '../../src/schema/types.ts';
import type { Caller } from './auth.ts';

export const importBody = z.strictObject({
  format: exportFormat.optional().meta({ description: 'by default, the format that the names of the objects end in' }),
  objects: z.array(objectKey).min(1).meta({
    description:
      'keys in the bucket, all of one format; names that end in .gz or .zst are compressed with gzip or zstd',
  }),
  timeRange: queryBody.shape.timeRange,
  columns: queryBody.shape.columns.meta({
    description: 'columns of the objects, by the names of their fields; all by default',
  }),
  rename: renameForm.optional().meta({
    description:
      'maps names in the objects to names in the table, such as `{"_time": "timestamp"}`; every object must contain every mapped ' +
      'name, and no other column may have the new name',
  }),
  fields: z
    .array(z.strictObject({ name: z.string(), type: fieldType }))
    .max(10_000)
    .optional()
    .meta({ description: 'types of new fields; by default, the types in the objects' }),
  missingOnly: z
    .boolean()
    .optional()
    .meta({ description: 'skips rows that the table contains already; of equal rows, as many as the table contains' }),
  timestampColumn: z.string().optional().meta({ description: 'of a table that the import creates' }),
  timestampPrecision: timestampPrecision.optional().meta({ description: 'of a table that the import creates' }),
  keyFields: z.array(z.string()).max(16).optional().meta({ description: 'of a table that the import creates' }),
});

/** Throws ApiError `forbidden` where a key of some datasets names objects of others. */
export async function requireOwnObjects(
  ctx: AppContext,
  key: Caller,
  dataset: string,
  objects: string[],
): Promise<void> {
  if (key.coversAll('admin')) return;
  const uploads = uploadFolder(dataset, await readDatasetLife(ctx, dataset));
  const own = [`${importPrefix}${dataset}/`, `${exportPrefix}${dataset}/`, uploads];
  const other = objects.find((object) => !own.some((prefix) => object.startsWith(prefix)));
  if (other === undefined) return;
  throw new ApiError(
    'forbidden',
    `objects: ${other} is outside of ${own.join(', ')}. A key for some datasets can use no other objects.`,
  );
}

/** The format that all names agree on. Throws ApiError `invalid-request` where they do not. */
export function requireFormat(objects: string[]): ImportFormat {
  const found = new Set(objects.map((key) => /\.(parquet|csv|ndjson|jsonl)(?:\.(?:gz|zst))?$/.exec(key)?.[1]));
  const [format, ...others] = [...found];
  if (format !== undefined && others.length === 0) return format === 'jsonl' ? 'ndjson' : (format as ImportFormat);
  throw new ApiError(
    'invalid-request',
    'format: required, because the names of the objects do not agree on one of .parquet, .csv, .ndjson, .jsonl (.gz, .zst).',
  );
}
