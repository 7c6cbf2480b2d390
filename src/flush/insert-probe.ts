import { qualifiedName, type TableRef } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { isDataError } from '../stores/clickhouse/data-errors.ts';
import type { FlushNode } from './deps.ts';
import { insertIntoProbe } from './insert.ts';

/** A row that ClickHouse may reject, as it is sent. */
export type Candidate<Place> = { place: Place; line: string };

/** Of the six connections of an invocation. */
const atOnce = 3;
const tryLeast_ms = 5_000;

/**
 * Finds the rows that ClickHouse rejects by bisection. It inserts into a probe table with the columns, defaults and constraints
 * of the table, but without its views and with a Null engine: inserts into the table itself would store rows. Ends early if
 * the time is over and a row is found.
 *
 * @param name name of the probe table, which is created and dropped here; the same for all probes of the same rows
 * @throws ClickHouseError, StoreError for any other failure
 */
export async function rejectedByProbe<Place>(
  node: FlushNode,
  table: Table,
  name: string,
  settingsVersion: number,
  candidates: Candidate<Place>[],
  deadline_ms: number,
): Promise<Place[]> {
  const probe: TableRef = { dataset: table.dataset, physical: `_twin.${table.physical}.${name}` };
  await node.clickhouse.command(`DROP TABLE IF EXISTS ${qualifiedName(probe)} SYNC`);
  await node.clickhouse.command(
    `CREATE TABLE IF NOT EXISTS ${qualifiedName(probe)} AS ${qualifiedName(table)} ENGINE = Null`,
  );
  const isRefused = async (some: Candidate<Place>[]): Promise<boolean> => {
    try {
      const lines = some.map(({ line }) => line);
      const timeout_ms = Math.max(tryLeast_ms, deadline_ms - node.now());
      await insertIntoProbe(node, table, probe, settingsVersion, lines, timeout_ms);
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
      // Depth first, so that a row is found before the time is over.
      pending = [...halves.flat(), ...pending];
    }
    return refused;
  } finally {
    await node.clickhouse.command(`DROP TABLE IF EXISTS ${qualifiedName(probe)} SYNC`).catch(() => undefined);
  }
}
