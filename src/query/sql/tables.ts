import * as z from 'zod';
import { clickhouseType, type FieldType, type TableSchema } from '../../schema/types.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { QueryDeps } from '../deps.ts';
import { columnType } from './sent-rows.ts';

export type TableListing = {
  dataset: string;
  table: string;
  /** Null for a table whose rows have no time of their own. */
  timestampColumn: string | null;
  columns: { name: string; type: FieldType; clickhouseType: string }[];
};

const listed_max = 1_000;

const listTablesRow = z.object({ dataset: z.string(), name: z.string(), schema: z.string().nullable() });

/**
 * The tables that a key can query with SQL, with their columns, by name.
 *
 * @param after lists the tables after this `dataset.table`, at most 1,000
 * @param of the datasets that the key may read; undefined for all
 * @throws StoreError when the catalogue is unavailable
 */
export async function listTables(
  ctx: QueryDeps,
  { dataset, after, of }: { dataset: string | undefined; after: string | undefined; of: string[] | undefined },
): Promise<{ tables: TableListing[]; next: string | null }> {
  const own = await ctx.ownTables.list(ctx, { dataset, of });
  const rows = checkRows(
    listTablesRow,
    await ctx.postgres.rows(
      `with catalogued as (
         select t.dataset, t.name, s.schema
           from tables t
           join datasets d on d.name = t.dataset and 'deleting' not in (t.state, d.state)
           join schema_versions s on (s.dataset, s.name, s.life, s.version) = (t.dataset, t.name, t.life, t.schema_version)
          where t.dropped_at is null and ($dataset::text is null or t.dataset = $dataset) and ($datasets::text[] is null or t.dataset = any($datasets))),
       others as (
         select o.dataset, o.name, null::text as schema
           from jsonb_to_recordset($own::jsonb) as o(dataset text, name text)
           join datasets d on d.name = o.dataset and d.state <> 'deleting' and d.dropped_at is null
          where not exists (select from tables t where t.dataset = o.dataset and t.name = o.name and t.dropped_at is null))
       select * from (select * from catalogued union all select * from others) as found
        where $after::text is null or dataset || '.' || name > $after
        order by dataset || '.' || name limit ${listed_max + 1}`,
      {
        dataset: dataset ?? null,
        after: after ?? null,
        datasets: of ?? null,
        own: JSON.stringify(own.map((each) => ({ dataset: each.dataset, name: each.name }))),
      },
    ),
  );
  const shown = rows.slice(0, listed_max);
  const last = shown.at(-1);
  const tables = shown.map((row) => {
    if (row.schema === null) {
      const fields = own.find((each) => each.dataset === row.dataset && each.name === row.name)?.fields ?? [];
      const columns = fields.map((field) => ({
        name: field.name,
        type: field.type,
        clickhouseType: columnType(field),
      }));
      return { dataset: row.dataset, table: row.name, timestampColumn: null, columns };
    }
    const schema = JSON.parse(row.schema) as TableSchema;
    const columns = schema.fields.map((field) => {
      return { name: field.name, type: field.type, clickhouseType: clickhouseType(field, schema) };
    });
    return { dataset: row.dataset, table: row.name, timestampColumn: schema.timestampColumn, columns };
  });
  return { tables, next: rows.length > listed_max && last !== undefined ? `${last.dataset}.${last.name}` : null };
}
