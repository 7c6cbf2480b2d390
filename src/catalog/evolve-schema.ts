import { StoreError } from '../core/errors.ts';
import { describeError } from '../core/log.ts';
import { schemaText, type Table } from '../schema/table.ts';
import type { Field } from '../schema/types.ts';
import type { Params } from '../stores/postgres/client.ts';
import { auditLine } from './audit-log/statement.ts';
import { checksumOf } from './checksum.ts';
import type { CatalogDeps } from './deps.ts';
import { readTable } from './find-table.ts';
import { addMissingColumns } from './table-ddl.ts';

/**
 * Adds fields to a table's schema as its next version, by compare-and-set: one of several concurrent writers succeeds, and the
 * others retry with its version.
 *
 * @returns the newest definition, perhaps of another writer: check the rows against it again. A table that accepts no rows gets
 *   no fields
 * @throws StoreError if Postgres is unavailable; rows of a known schema are still accepted
 */
export async function evolveSchema(ctx: CatalogDeps, table: Table, added: Field[]): Promise<Table | undefined> {
  const { schema } = table;
  const version = schema.version + 1;
  const text = schemaText({ ...schema, version, fields: [...schema.fields, ...added] });
  const params: Params = {
    dataset: table.dataset,
    name: table.name,
    life: table.life,
    version: schema.version,
    text,
    checksum: checksumOf(text),
  };
  const { dataset, name } = table;
  const line = auditLine({ action: 'table.add-fields', dataset, table: name, detail: { version, added } }, 't', params);
  const changed = await ctx.postgres.rows(
    `with t as (update tables set schema_version = $version + 1
                 where dataset = $dataset and name = $name and life = $life and schema_version = $version and dropped_at is null
                   and state = 'active' and not exists (select from datasets where name = $dataset and state <> 'active')
             returning dataset, name, life, schema_version),
     line as (${line})
     insert into schema_versions (dataset, name, life, version, schema, checksum)
     select dataset, name, life, schema_version, $text, $checksum from t
     returning version`,
    params,
  );
  const newest = await readTable(ctx, table.dataset, table.name);
  if (changed.length > 0 && newest !== undefined) await tryAddingColumns(ctx, newest);
  return newest;
}

/** Lets queries use the new fields at once. The flush adds columns that are missing after a failure here. */
async function tryAddingColumns(ctx: CatalogDeps, table: Table): Promise<void> {
  try {
    await addMissingColumns(ctx, table);
  } catch (error) {
    const event = error instanceof StoreError ? 'columns-later' : 'columns-refused';
    ctx.log({ event, dataset: table.dataset, table: table.name, ...describeError(error) });
  }
}
