import * as z from 'zod';
import { ApiError } from '../core/errors.ts';
import { type Retention, schemaText, type Table } from '../schema/table.ts';
import { notWritable, states } from '../schema/table-state.ts';
import type { TableSchema } from '../schema/types.ts';
import type { PartitionWindow } from '../schema/window.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { Params } from '../stores/postgres/client.ts';
import { auditLine } from './audit-log/statement.ts';
import { checksumOf } from './checksum.ts';
import type { CatalogDeps } from './deps.ts';
import { readTable } from './find-table.ts';
import type { Lives } from './life.ts';
import { placeLanes } from './place-lanes.ts';
import { quarantineTable } from './quarantine-table.ts';

const datasetRow = z.object({ state: z.enum(states), tables: z.number() });

/** Counts the tables of a dataset (`$dataset`) without the quarantine, including tables that are being deleted. */
const countSql = `select count(*) from tables where dataset = $dataset and dropped_at is null and name <> '${quarantineTable}'`;

export type NewTable = {
  dataset: string;
  /** Title of the dataset, if this creates it. */
  datasetTitle?: string | undefined;
  name: string;
  window: PartitionWindow;
  lanes: number;
  schema: TableSchema;
  /** Default: the retention of the dataset. */
  retention?: Retention | null | undefined;
  /** Create the table only in these lives. Default: in any. */
  lives?: Lives | undefined;
};

/**
 * Records a table and its dataset in the catalogue, unless the name exists. Of several first writers one creates the table, and
 * all use it.
 *
 * @returns the existing table, and whether this call created it
 * @throws ApiError `dataset-frozen` for a dataset that accepts no rows, `limit-exceeded` if the dataset has the maximum of
 *   tables; StoreError if Postgres is unavailable: an unrecorded table cannot accept rows
 */
export async function createTable(ctx: CatalogDeps, table: NewTable): Promise<Table & { isNew: boolean }> {
  const { dataset, datasetTitle = null, name, window, lanes, schema, retention, lives } = table;
  const text = schemaText(schema);
  const shards = placeLanes(ctx, table, [], lanes);
  const params: Params = {
    dataset,
    name,
    definition: JSON.stringify({ window, lanes, readLanes: lanes, shards, retention }),
    version: schema.version,
    text,
    checksum: checksumOf(text),
    datasetTitle,
    datasetLife: lives?.dataset ?? null,
    tableLife: lives?.table ?? null,
    tables_max: name === quarantineTable ? null : ctx.config.limits.dataset_tables_max,
  };
  const detail = { window, lanes, retention, schema: JSON.parse(text) };
  const lines = [
    auditLine({ action: 'dataset.create', dataset, detail: { title: datasetTitle } }, 'd', params),
    auditLine({ action: 'table.create', dataset, table: name, detail }, 't', params),
  ];
  const statement = `with lives as (
       select life_of_dataset($dataset) as dataset, life_of_table($dataset, $name) as life),
     wanted as (
       select life from lives where coalesce($datasetLife::int, dataset) = dataset and coalesce($tableLife::int, life) = life
          and ($tables_max::int is null or (${countSql}) < $tables_max)),
     d as (
       insert into datasets as known (name, title) select $dataset, $datasetTitle from wanted
       on conflict (name) do update
         set title = excluded.title, created_at = now(), dropped_at = null, revision = known.revision + 1
         where known.dropped_at is not null
       returning name),
     t as (
       insert into tables (dataset, name, life, definition, schema_version)
       select $dataset, $name, life, $definition::jsonb, $version from wanted
        where not exists (select from datasets where name = $dataset and state <> 'active')
       on conflict do nothing
       returning dataset, name, life, schema_version),
     line_d as (${lines[0]}),
     line_t as (${lines[1]})
     insert into schema_versions (dataset, name, life, version, schema, checksum)
     select dataset, name, life, schema_version, $text, $checksum from t
     returning life`;
  // The lock serialises concurrent creations, so that each one counts the others.
  const lock = "select pg_advisory_xact_lock(hashtextextended('tables of ' || $dataset, 0))";
  const [, made = []] = await ctx.postgres.transaction([
    [lock, { dataset }],
    [statement, params],
  ]);
  const found = await readTable(ctx, dataset, name);
  if (found !== undefined) return { ...found, isNew: made.length > 0 };
  const [at] = checkRows(
    datasetRow,
    await ctx.postgres.rows(`select state, (${countSql})::int as tables from datasets where name = $dataset`, {
      dataset,
    }),
  );
  if (at !== undefined && at.state !== 'active') throw notWritable(dataset, undefined, at.state);
  const { dataset_tables_max } = ctx.config.limits;
  if (at !== undefined && at.tables >= dataset_tables_max) {
    throw new ApiError(
      'limit-exceeded',
      `Dataset ${dataset} has ${at.tables} tables of at most ${dataset_tables_max} (limit dataset_tables_max): table ${name} ` +
        'was not created. Use an existing table, or delete one.',
    );
  }
  throw new ApiError('conflict', `Table ${name} of dataset ${dataset} was dropped meanwhile. Try again.`);
}
