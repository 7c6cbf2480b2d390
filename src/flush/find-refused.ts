import type { Seal } from '../buffer/seal.ts';
import type { SkipList } from '../buffer/skip.ts';
import type { Table } from '../catalog/table.ts';
import type { ClickHouseError } from '../clickhouse/client.ts';
import type { Context } from '../context.ts';
import { qualifiedName } from '../names.ts';
import { insertIntoTwin, twinOf } from './insert.ts';
import { identifiedLines } from './payload.ts';
import { isDataError } from './refusal.ts';

type Candidate = { seq: number; row: number; line: string };

/** Of the six connections an invocation has. */
const atOnce = 3;

/**
 * Finds the rows of a seal that ClickHouse refuses, by halves, on a twin of the table that has its columns, defaults and
 * constraints but none of its views, and keeps nothing: trying rows on the table itself would store some. Ends early when
 * the time is over, with what it has found so far: the next flush goes on from there.
 *
 * @returns the skip list as it must be now; the one there was when no row is at fault by itself
 * @throws ClickHouseError, StoreError for anything but a refusal of rows
 */
export async function findRefused(
  ctx: Context,
  table: Table,
  lane: number,
  seal: Seal,
  deadline_ms: number,
): Promise<SkipList> {
  const twin = qualifiedName(twinOf(table, lane, seal));
  await ctx.clickhouse.command(`DROP TABLE IF EXISTS ${twin} SYNC`);
  await ctx.clickhouse.command(`CREATE TABLE IF NOT EXISTS ${twin} AS ${qualifiedName(table)} ENGINE = Null`);
  try {
    const refused: Candidate[] = [];
    let pending: Candidate[][] = [candidatesOf(table, seal)];
    while (pending.length > 0 && (ctx.now() < deadline_ms || refused.length === 0)) {
      const now = pending.splice(0, atOnce);
      const halves = await Promise.all(
        now.map(async (candidates): Promise<Candidate[][]> => {
          const error = await refusalOf(ctx, table, lane, seal, candidates, deadline_ms);
          if (error === undefined) return [];
          if (candidates.length === 1) {
            refused.push(...candidates);
            return [];
          }
          const middle = Math.ceil(candidates.length / 2);
          return [candidates.slice(0, middle), candidates.slice(middle)];
        }),
      );
      // Deep before wide, so that something is found before the time is over.
      pending = [...halves.flat(), ...pending];
    }
    return withRows(seal.skip, refused);
  } finally {
    await ctx.clickhouse.command(`DROP TABLE IF EXISTS ${twin} SYNC`).catch(() => undefined);
  }
}

function candidatesOf(table: Table, seal: Seal): Candidate[] {
  return seal.batches.flatMap((batch) => {
    const skipped = seal.skip.get(batch.seq);
    const rows = Array.from({ length: batch.rows }, (_, row) => row).filter((row) => !skipped?.has(row));
    const lines = identifiedLines(batch, table.schema, (row) => !skipped?.has(row));
    return rows.map((row, i) => ({ seq: batch.seq, row, line: lines[i] ?? '' }));
  });
}

async function refusalOf(
  ctx: Context,
  table: Table,
  lane: number,
  seal: Seal,
  candidates: Candidate[],
  deadline_ms: number,
): Promise<ClickHouseError | undefined> {
  try {
    const lines = candidates.map(({ line }) => line);
    await insertIntoTwin(ctx, table, lane, seal, lines, Math.max(5_000, deadline_ms - ctx.now()));
    return undefined;
  } catch (error) {
    if (isDataError(error)) return error;
    throw error;
  }
}

function withRows(skip: SkipList, refused: Candidate[]): SkipList {
  const all: SkipList = new Map([...skip].map(([seq, rows]) => [seq, new Set(rows)]));
  for (const { seq, row } of refused) all.set(seq, (all.get(seq) ?? new Set()).add(row));
  return all;
}
