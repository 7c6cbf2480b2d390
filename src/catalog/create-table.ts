import { createHash } from 'node:crypto';
import type { Context } from '../context.ts';
import { TimestoreError } from '../errors.ts';
import type { TableSchema } from '../schema/types.ts';
import type { PartitionWindow } from '../schema/window.ts';
import { readTable } from './find-table.ts';
import { schemaText, type Table } from './table.ts';

export type NewTable = {
  dataset: string;
  /** What people call the dataset, if this makes it. */
  datasetTitle?: string | undefined;
  name: string;
  window: PartitionWindow;
  lanes: number;
  schema: TableSchema;
};

/**
 * Records a table, and its dataset, in the catalogue, unless there is one of that name: of several first writers one
 * makes it and all go on with what it made.
 *
 * @throws StoreError when Postgres is away: a table that nobody has on record cannot take rows
 */
export async function createTable(ctx: Context, table: NewTable): Promise<Table> {
  const { dataset, datasetTitle = null, name, window, lanes, schema } = table;
  const text = schemaText(schema);
  await ctx.postgres.rows(
    `with d as (insert into datasets (name, title) values ($1, $7) on conflict do nothing),
          t as (insert into tables (dataset, name, life, definition, schema_version)
                select $1, $2, 1 + count(*), $3::jsonb, $4 from tables where dataset = $1 and name = $2
                on conflict do nothing
                returning dataset, name, life, schema_version)
     insert into schema_versions (dataset, name, life, version, schema, checksum)
     select dataset, name, life, schema_version, $5, $6 from t`,
    [
      dataset,
      name,
      JSON.stringify({ window, lanes, readLanes: lanes }),
      schema.version,
      text,
      checksumOf(text),
      datasetTitle,
    ],
  );
  const made = await readTable(ctx, dataset, name);
  if (made === undefined) {
    throw new TimestoreError('conflict', `Table ${name} of dataset ${dataset} was dropped meanwhile. Try again.`);
  }
  return made;
}

export function checksumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
