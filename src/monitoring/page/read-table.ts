import * as z from 'zod';
import { findReadable } from '../../catalog/find-table.ts';
import { assertDefined } from '../../core/assert.ts';
import { quoteName } from '../../core/identifiers.ts';
import { executeRead, type Read } from '../../query/execution/execute-read.ts';
import { mergedTableSql } from '../../query/execution/merged-table-sql.ts';
import { type ReadScope, rowFilterCondition } from '../../query/execution/read-scope.ts';
import { takeReadSnapshot } from '../../query/execution/read-snapshot.ts';
import { readFreshness } from '../../query/freshness/requirement.ts';
import { filterSql } from '../../query/request/filters.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import type { MonitoringDeps } from '../deps.ts';

/** Reads all rows, for answers that show nothing of a row but counts and codes. */
export const allRows: ReadScope = { reads: () => true, rowFilter: null };

export type TableRead<Schema extends z.ZodType> = {
  dataset: string;
  table: string;
  reader: ReadScope;
  /** Columns that `select` uses. Those of the order of rows, `_received_at`, `_lane`, `_seq` and `_row`, are always there. */
  columns: string[];
  /** Conditions on the rows, before the order and the tail are joined. */
  where: string[];
  /** The statement over the rows, a subquery. Parameters are `{name:Type}`, without a leading `_`. */
  select: (rows: string) => string;
  params: Settings;
  schema: Schema;
};

const orderColumns = ['_received_at', '_lane', '_seq', '_row'];

const answer = z.object({ data: z.array(z.unknown()) });

/**
 * Runs a statement over a table merged with its tail. Without rows for a table that does not exist yet.
 *
 * @throws ApiError; StoreError
 */
export async function readTable<Schema extends z.ZodType>(
  ctx: MonitoringDeps,
  { dataset, table: name, reader, columns, where, select, params, schema }: TableRead<Schema>,
): Promise<z.output<Schema>[]> {
  const { limits } = ctx.config;
  const table = reader.reads(dataset) ? await findReadable(ctx, dataset, name) : undefined;
  if (table === undefined) return [];
  const snapshot = await takeReadSnapshot(ctx, table, readFreshness({}, limits));
  const read: Read = {
    snapshots: [snapshot],
    buildStatement: (sources) => {
      const source = assertDefined(sources[0], 'the read has one table');
      const own: Settings = { ...params };
      const condition = rowFilterCondition(reader, source.table);
      const filter = condition === undefined ? [] : filterSql([condition], source.table, limits, own, '_k_');
      const selected = [...columns.map(quoteName), ...orderColumns];
      const rows = mergedTableSql(source, own, { columns: selected, where: [...where, ...filter] });
      return { sql: select(rows), params: own };
    },
    format: 'json',
    rows_max: limits.query_rows_max,
    costKey: `monitor ${dataset}.${table.physical} ${columns.join(' ')}`,
    signal: new AbortController().signal,
  };
  const { chunks } = await executeRead(ctx, read);
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  const { data } = answer.parse(JSON.parse(Buffer.concat(parts).toString()));
  return checkRows(schema, data);
}
