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
  /** Against the version before: fields are only ever added. */
  added: Field[];
};

const schemaHistoryRow = z.object({
  version: z.number(),
  checksum: z.string(),
  createdAt_ms: z.number(),
  schema: z.string(),
});

/** The versions of a table's schema, the newest first, before the one given. Throws StoreError. */
export async function schemaHistory(
  ctx: CatalogDeps,
  table: { dataset: string; name: string; life: number },
  { before, limit }: { before: number | undefined; limit: number },
): Promise<SchemaChange[]> {
  // One more, which the last is compared with.
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
