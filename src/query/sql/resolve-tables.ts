import { findReadable } from '../../catalog/find-table.ts';
import { quarantineTable } from '../../catalog/quarantine-table.ts';
import { slugPattern } from '../../core/identifiers.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import { notFound } from '../../core/not-found.ts';
import type { Table } from '../../schema/table.ts';
import type { QueryDeps } from '../deps.ts';
import { type ReadScope, rowFilterCondition } from '../execution/read-scope.ts';
import type { OwnRows, OwnView } from '../own-tables.ts';
import type { CompiledSql } from './compile.ts';

/** What the name of a table stands for. */
export type Resolved = { kind: 'table'; table: Table } | { kind: 'view'; table: Table; view: OwnView } | OwnRows;

/**
 * The table of each use, one object a table. Undefined for an operand of IN that is not a table.
 *
 * @throws ApiError `not-found` for a table that does not exist or that the key may not read, `forbidden`, `invalid-request`,
 *   `limit-exceeded`; StoreError
 */
export async function resolveTables(
  ctx: QueryDeps,
  reader: ReadScope,
  defaultDataset: string | undefined,
  { uses }: CompiledSql,
): Promise<(Resolved | undefined)[]> {
  const found = new Map<string, Promise<Resolved | undefined>>();
  const named = uses.map(({ parts }) => {
    const [name = '', dataset] = [...parts].reverse();
    return { name, dataset: dataset ?? defaultDataset, parts };
  });
  const distinct = new Set(named.map(({ name, dataset }) => `${dataset}.${name}`));
  if (distinct.size > ctx.config.limits.sql_tables_max) {
    throw limitExceeded(
      `sql: the statement uses more than ${ctx.config.limits.sql_tables_max} tables (limit sql_tables_max)`,
    );
  }
  const tables = new Map<string, Promise<Table | undefined>>();
  const lookUp = (dataset: string, name: string) => {
    const key = `${dataset}.${name}`;
    const known = tables.get(key) ?? findReadable(ctx, dataset, name);
    tables.set(key, known);
    return known;
  };
  return await Promise.all(
    named.map(async ({ name, dataset, parts }, n) => {
      const isOptional = uses[n]?.place === 'in' && parts.length === 1 && !name.includes('.');
      if (dataset === undefined) {
        if (isOptional) return undefined;
        throw invalidRequest(
          `sql: the dataset of table ${name} is missing; set the member dataset, or write dataset.${name}`,
        );
      }
      const key = `${dataset}.${name}`;
      const mayExist = parts.length <= 2 && slugPattern.test(dataset) && isTableName(name) && reader.reads(dataset);
      const resolving =
        found.get(key) ?? (mayExist ? resolve(ctx, reader, lookUp, dataset, name) : Promise.resolve(undefined));
      found.set(key, resolving);
      const table = await resolving;
      // A table that the key may not read gives the same error as a missing one.
      if (table === undefined && !isOptional) {
        throw notFound(parts.length > 1 ? { kind: 'Table', id: parts.join('.') } : { dataset, table: name });
      }
      return table;
    }),
  );
}

async function resolve(
  ctx: QueryDeps,
  reader: ReadScope,
  lookUp: (dataset: string, name: string) => Promise<Table | undefined>,
  dataset: string,
  name: string,
): Promise<Resolved | undefined> {
  const table = await lookUp(dataset, name);
  if (table !== undefined) return { kind: 'table', table };
  const own = name === quarantineTable ? undefined : await ctx.ownTables.find(ctx, dataset, name);
  if (own === undefined) return undefined;
  if (own.kind === 'rows') return visibleRows(reader, own);
  return resolveView(own, await lookUp(dataset, own.of));
}

/** The rows that the key may read. Throws ApiError `forbidden`, as for a table of the catalogue. */
function visibleRows(reader: ReadScope, own: OwnRows): OwnRows {
  const condition = rowFilterCondition(reader, { ...own, schema: own });
  if (condition === undefined || !('column' in condition)) return own;
  return { ...own, rows: own.rows.filter((row) => row[condition.column] === condition.value) };
}

/** The row filter of the key applies to the rows of the table that the view reads. */
function resolveView(view: OwnView, table: Table | undefined): Resolved | undefined {
  const fields = new Set(table?.schema.fields.map(({ name }) => name));
  if (table === undefined || !view.needs.every((name) => fields.has(name))) return undefined;
  return { kind: 'view', table, view };
}

function isTableName(name: string): boolean {
  return slugPattern.test(name) || name === quarantineTable;
}
