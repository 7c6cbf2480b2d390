import * as z from 'zod';
import type { Field, TableSchema } from '../schema/types.ts';
import { checkRows } from '../stores/check-rows.ts';
import { epochMs } from '../stores/postgres/client.ts';
import type { CatalogDeps } from './deps.ts';

export type SchemaChange = {
  version: number;
  checksum: string;
  createdAt_ms: number;
  schema: TableSchema;
  /** Fields added since the previous version; fields are never removed. */
  added: Field[];
};

const schemaHistoryRow = z.object({
  version: z.number(),
  checksum: z.string(),
  createdAt_ms: z.number(),
  schema: z.string(),
});

/** The schema versions of a table before a version, newest first. Throws StoreError. */
export async function schemaHistory(
  ctx: CatalogDeps,
  table: { dataset: string; name: string; life: number },
  { before, limit }: { before: number | undefined; limit: number },
): Promise<SchemaChange[]> {
  // One more, for the difference of the last one.
  const rows = checkRows(
    schemaHistoryRow,
    await ctx.postgres.rows(
      `select version, checksum, ${epochMs('created_at')} as "createdAt_ms", schema from schema_versions
      where dataset = $dataset and name = $name and life = $life and ($before::bigint is null or version < $before)
      order by version desc limit $limit`,
      { dataset: table.dataset, name: table.name, life: table.life, before: before ?? null, limit: limit + 1 },
    ),
  );
  const versions = rows.map((row) => ({ ...row, schema: JSON.parse(row.schema) as TableSchema }));
  return versions.slice(0, limit).map((version, i) => {
    const known = new Set(versions[i + 1]?.schema.fields.map(({ name }) => name));
    return { ...version, added: version.schema.fields.filter(({ name }) => !known.has(name)) };
  });
}
