import * as z from 'zod';
import { assertDefined } from '../core/assert.ts';
import { ApiError, type ErrorCode } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import { checkRows } from '../stores/check-rows.ts';
import { ClickHouseError, clickhouseCodes } from '../stores/clickhouse/client.ts';
import type { CatalogDeps } from './deps.ts';
import { findNow } from './find-table.ts';
import { knownTables } from './table-cache.ts';

const livesRow: z.ZodType<Lives> = z.object({ dataset: z.number(), table: z.number() });

/** The definition in use belongs to an ended life: the table was dropped, and may have been created again. */
export class LifeEndedError extends ApiError {
  constructor({ dataset, name }: Pick<Table, 'dataset' | 'name'>) {
    super('conflict', `Table ${name} of dataset ${dataset} was dropped meanwhile. Try again.`, { retryAfterMs: 500 });
    this.name = 'LifeEndedError';
  }
}

const rounds_max = 5;

/** Codes of errors that an outdated definition can cause. */
const suspects = new Set<ErrorCode>([
  'invalid-request',
  'forbidden',
  'not-found',
  'stale-read',
  'conflict',
  'limit-exceeded',
  'rows-refused',
  'schema-refused',
]);

/**
 * Runs work that may use outdated definitions of dropped tables. After an error that an outdated definition can cause, it reads
 * the tables from the stores, and repeats the work if one has another life.
 *
 * @param work adds each table to the list before it uses the table
 */
export async function withNewestLife<Result>(
  ctx: CatalogDeps,
  work: (found: Table[]) => Promise<Result>,
): Promise<Result> {
  for (let round = 1; ; round += 1) {
    const found: Table[] = [];
    try {
      return await work(found);
    } catch (error) {
      if (round === rounds_max || !isSuspect(error) || !(await hasAnyLifeEnded(ctx, found))) throw error;
    }
  }
}

function isSuspect(error: unknown): boolean {
  const { unknownTable, unknownDatabase } = clickhouseCodes;
  if (error instanceof ClickHouseError) return error.code === unknownTable || error.code === unknownDatabase;
  return error instanceof ApiError && suspects.has(error.code);
}

async function hasAnyLifeEnded(ctx: CatalogDeps, tables: Table[]): Promise<boolean> {
  for (const table of tables) if (await hasLifeEnded(ctx, table)) return true;
  return false;
}

/** Whether a table's life has ended by the stores; false if they are unavailable. */
export async function hasLifeEnded(ctx: CatalogDeps, table: Table): Promise<boolean> {
  const newest = await findNow(ctx, table.dataset, table.name).catch(() => table);
  return newest?.physical !== table.physical;
}

/** The lives of a dataset and of a table in it. */
export type Lives = { dataset: number; table: number };

/**
 * The current lives of a dataset and a table, or their lives once they are created. A life changes only when the name becomes
 * free. Throws StoreError.
 */
export async function readLives(ctx: CatalogDeps, dataset: string, name: string): Promise<Lives> {
  const [lives] = checkRows(
    livesRow,
    await ctx.postgres.rows('select life_of_dataset($dataset) as dataset, life_of_table($dataset, $name) as "table"', {
      dataset,
      name,
    }),
  );
  return assertDefined(lives, 'a select without a source has a row');
}

/** The current life of a dataset, or its life once it is created. Throws StoreError. */
export async function readDatasetLife(ctx: CatalogDeps, dataset: string): Promise<number> {
  return (await readLives(ctx, dataset, '')).dataset;
}

/**
 * @param from `restore`: accepts a table that is hidden during a restore
 * @throws LifeEndedError for a table that was or is being dropped; StoreError
 */
export async function requireCurrentLife(ctx: CatalogDeps, table: Table, from?: 'restore'): Promise<void> {
  const [living] = await ctx.postgres.rows(
    `select from tables t join datasets d on d.name = t.dataset
      where t.dataset = $dataset and t.name = $name and t.life = $life and t.dropped_at is null
        and ($from or not (t.state = 'deleting' and t.delete_at is null or d.state = 'deleting' and d.delete_at is null))`,
    { dataset: table.dataset, name: table.name, life: table.life, from: from === 'restore' },
  );
  if (living !== undefined) return;
  knownTables(ctx).delete(`${table.dataset}.${table.name}`);
  throw new LifeEndedError(table);
}
