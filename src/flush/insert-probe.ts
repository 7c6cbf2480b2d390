import { qualifiedName, type TableRef } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { isDataError } from '../stores/clickhouse/data-errors.ts';
import type { FlushNode } from './deps.ts';
import { insertIntoProbe } from './insert.ts';

/** A row that ClickHouse may refuse, as it is sent. */
export type Candidate<Place> = { place: Place; line: string };

/** Of the six connections an invocation has. */
const atOnce = 3;
const tryLeast_ms = 5_000;

/**
 * Finds the rows that ClickHouse refuses, by halves, on a twin of the table that has its columns, defaults and
 * constraints but none of its views, and keeps nothing: trying rows on the table itself would store some. Ends early when
 * the time is over and something is found.
 *
 * @param name of the twin, made anew and removed afterwards; the same for all who try the same rows
 * @throws ClickHouseError, StoreError for anything but a refusal of rows
 */
export async function rejectedByProbe<Place>(
  node: FlushNode,
  table: Table,
  name: string,
  settingsVersion: number,
  candidates: Candidate<Place>[],
  deadline_ms: number,
): Promise<Place[]> {
  const twin: TableRef = { dataset: table.dataset, physical: `_twin.${table.physical}.${name}` };
  await node.clickhouse.command(`DROP TABLE IF EXISTS ${qualifiedName(twin)} SYNC`);
  await node.clickhouse.command(
    `CREATE TABLE IF NOT EXISTS ${qualifiedName(twin)} AS ${qualifiedName(table)} ENGINE = Null`,
  );
  const isRefused = async (some: Candidate<Place>[]): Promise<boolean> => {
    try {
      const lines = some.map(({ line }) => line);
      const timeout_ms = Math.max(tryLeast_ms, deadline_ms - node.now());
      await insertIntoProbe(node, table, twin, settingsVersion, lines, timeout_ms);
      return false;
    } catch (error) {
      if (isDataError(error)) return true;
      throw error;
    }
  };
  try {
    const refused: Place[] = [];
    let pending = candidates.length > 0 ? [candidates] : [];
    while (pending.length > 0 && (node.now() < deadline_ms || refused.length === 0)) {
      const now = pending.splice(0, atOnce);
      const halves = await Promise.all(
        now.map(async (some) => {
          if (!(await isRefused(some))) return [];
          if (some.length === 1) {
            refused.push(...some.map(({ place }) => place));
            return [];
          }
          const middle = Math.ceil(some.length / 2);
          return [some.slice(0, middle), some.slice(middle)];
        }),
      );
      // Deep before wide, so that something is found before the time is over.
      pending = [...halves.flat(), ...pending];
    }
    return refused;
  } finally {
    await node.clickhouse.command(`DROP TABLE IF EXISTS ${qualifiedName(twin)} SYNC`).catch(() => undefined);
  }
}
