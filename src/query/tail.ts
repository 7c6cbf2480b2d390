import type { LaneSnapshot } from '../buffer/snapshot.ts';
import type { Table } from '../catalog/table.ts';
import { fieldColumns, systemColumns } from '../clickhouse/table.ts';
import { identifiedRows } from '../flush/payload.ts';
import type { TableSchema } from '../schema/types.ts';

/** The acknowledged rows that are not in ClickHouse for certain, as they are sent along with a query. */
export type Tail = { rows: number; latest_ms: number | undefined; ndjson: string };

export const noTail: Tail = { rows: 0, latest_ms: undefined, ndjson: '' };

export function tailOf(lanes: LaneSnapshot[], schema: TableSchema): Tail {
  let rows = 0;
  let latest_ms: number | undefined;
  const lines: string[] = [];
  for (const { lane, tail } of lanes) {
    for (const batch of tail) {
      rows += batch.rows;
      latest_ms = Math.max(latest_ms ?? batch.timeMax_ms, batch.timeMax_ms);
      lines.push(identifiedRows(batch, schema, lane));
    }
  }
  return { rows, latest_ms, ndjson: lines.join('') };
}

/** Exactly the table's columns and types: with others, ClickHouse treats the two sides differently, and slower. */
export function tailStructure(table: Table): string {
  const system = systemColumns.map(([name, type]) => `${name} ${type}`);
  return [...system, ...fieldColumns(table)].join(', ');
}
