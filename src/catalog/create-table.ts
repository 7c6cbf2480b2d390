import { createHash } from 'node:crypto';
import { auditLine } from '../audit-log/line.ts';
import type { Context } from '../context.ts';
import { TimestoreError } from '../errors.ts';
import type { TableSchema } from '../schema/types.ts';
import type { PartitionWindow } from '../schema/window.ts';
import { readTable } from './find-table.ts';
import { placeLanes } from './place-lanes.ts';
import { notWritable, type State } from './state.ts';
import { type Retention, schemaText, type Table } from './table.ts';

export type NewTable = {
  dataset: string;
  /** What people call the dataset, if this makes it. */
  datasetTitle?: string | undefined;
  name: string;
  window: PartitionWindow;
  lanes: number;
  schema: TableSchema;
  /** Its own; its dataset's if left out. */
  retention?: Retention | null | undefined;
};

/**
 * Records a table, and its dataset, in the catalogue, unless there is one of that name: of several first writers one
 * makes it and all go on with what it made.
 *
 * @returns the table that is there now, and whether this made it
 * @throws TimestoreError `dataset-frozen` for a dataset that takes no rows; StoreError when Postgres is away: a table that
 *   nobody has on record cannot take rows
 */
export async function createTable(ctx: Context, table: NewTable): Promise<Table & { isNew: boolean }> {
  const { dataset, datasetTitle = null, name, window, lanes, schema, retention } = table;
  const text = schemaText(schema);
  const shards = placeLanes(ctx, table, [], lanes);
  const params: unknown[] = [
    ...[dataset, name, JSON.stringify({ window, lanes, readLanes: lanes, shards, retention }), schema.version, text],
    ...[checksumOf(text), datasetTitle],
  ];
  const detail = { window, lanes, retention, schema: JSON.parse(text) };
  const lines = [
    auditLine({ action: 'dataset.create', dataset, detail: { title: datasetTitle } }, 'd', params),
    auditLine({ action: 'table.create', dataset, table: name, detail }, 't', params),
  ];
  const made = await ctx.postgres.rows(
    `with d as (
       insert into datasets as known (name, title) values ($1, $7)
       on conflict (name) do update
         set title = excluded.title, created_at = now(), dropped_at = null, revision = known.revision + 1
         where known.dropped_at is not null
       returning name),
     t as (
       insert into tables (dataset, name, life, definition, schema_version)
       select $1, $2, 1 + (select count(*) from tables where dataset = $1 and name = $2), $3::jsonb, $4
        where not exists (select from datasets where name = $1 and state <> 'active')
       on conflict do nothing
       returning dataset, name, life, schema_version),
     line_d as (${lines[0]}),
     line_t as (${lines[1]})
     insert into schema_versions (dataset, name, life, version, schema, checksum)
     select dataset, name, life, schema_version, $5, $6 from t
     returning life`,
    params,
  );
  const found = await readTable(ctx, dataset, name);
  if (found !== undefined) return { ...found, isNew: made.length > 0 };
  const [at] = await ctx.postgres.rows<{ state: State }>('select state from datasets where name = $1', [dataset]);
  if (at !== undefined && at.state !== 'active') throw notWritable(dataset, undefined, at.state);
  throw new TimestoreError('conflict', `Table ${name} of dataset ${dataset} was dropped meanwhile. Try again.`);
}

export function checksumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
