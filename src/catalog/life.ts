import * as z from 'zod';
import { ApiError, type ErrorCode } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import { checkRows } from '../stores/check-rows.ts';
import { ClickHouseError, clickhouseCodes } from '../stores/clickhouse/client.ts';
import type { CatalogDeps } from './deps.ts';
import { findNow } from './find-table.ts';
import { knownTables } from './table-cache.ts';

const livesRow: z.ZodType<Lives> = z.object({ dataset: z.number(), table: z.number() });

/** A definition that was in use is of a life that is over: the table was dropped since, and may have been made again. */
export class LifeEndedError extends ApiError {
  constructor({ dataset, name }: Pick<Table, 'dataset' | 'name'>) {
    super('conflict', `Table ${name} of dataset ${dataset} was dropped meanwhile. Try again.`, { retryAfterMs: 500 });
    this.name = 'LifeEndedError';
  }
}

const roundsMax = 5;

/** Codes of errors that an old definition may cause. Others come from stores that know the lane, which ends with the life. */
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
 * Does work with tables that this instance may know from before they were dropped. An error that an old definition may have
 * caused is not given out: the tables are looked up in the stores, and where one is of another life by now, the work begins
 * again.
 *
 * @param work adds the tables that it finds to the list, before it uses them
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
      if (round === roundsMax || !isSuspect(error) || !(await isAnyOver(ctx, found))) throw error;
    }
  }
}

function isSuspect(error: unknown): boolean {
  const { unknownTable, unknownDatabase } = clickhouseCodes;
  if (error instanceof ClickHouseError) return error.code === unknownTable || error.code === unknownDatabase;
  return error instanceof ApiError && suspects.has(error.code);
}

async function isAnyOver(ctx: CatalogDeps, tables: Table[]): Promise<boolean> {
  for (const table of tables) if (await hasLifeEnded(ctx, table)) return true;
  return false;
}

/** Whether the stores say that a table's life is over; false where they do not answer. */
export async function hasLifeEnded(ctx: CatalogDeps, table: Table): Promise<boolean> {
  const newest = await findNow(ctx, table.dataset, table.name).catch(() => table);
  return newest?.physical !== table.physical;
}

/** A life of a dataset and one of a table in it. */
export type Lives = { dataset: number; table: number };

/**
 * The lives that a dataset and a table are in, or will be in once they are made: they change when the name becomes free
 * again, and at no other time. Throws StoreError.
 */
export async function readLives(ctx: CatalogDeps, dataset: string, name: string): Promise<Lives> {
  const [lives] = checkRows(
    livesRow,
    await ctx.postgres.rows('select life_of_dataset($dataset) as dataset, life_of_table($dataset, $name) as "table"', {
      dataset,
      name,
    }),
  );
  if (lives === undefined) throw new RangeError('a select without a source has a line');
  return lives;
}

/** The life that a dataset is in, or will be in once it is made. Throws StoreError. */
export async function readDatasetLife(ctx: CatalogDeps, dataset: string): Promise<number> {
  return (await readLives(ctx, dataset, '')).dataset;
}

/**
 * @param from `restore`: also of a table that a backup is being brought back into, which is hidden
 * @throws LifeEndedError for a table that was dropped, or that is being taken apart; StoreError
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
