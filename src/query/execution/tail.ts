import type { BufferedBatch } from '../../buffer/buffered-batch.ts';
import type { LaneSnapshot } from '../../buffer/snapshot.ts';
import { fieldColumns, systemColumns } from '../../catalog/table-ddl.ts';
import type { Table } from '../../schema/table.ts';
import { rowBinaryOf } from '../hot/row-binary.ts';

/** The acknowledged rows that are not in ClickHouse for certain. */
export type Tail = { rows: number; latest_ms: number | undefined; batches: { lane: number; batch: BufferedBatch }[] };

export const noTail: Tail = { rows: 0, latest_ms: undefined, batches: [] };

export function collectTail(lanes: LaneSnapshot[]): Tail {
  let rows = 0;
  let latest_ms: number | undefined;
  const batches: Tail['batches'] = [];
  for (const { lane, tail } of lanes) {
    for (const batch of tail) {
      rows += batch.rows;
      latest_ms = Math.max(latest_ms ?? batch.timeMax_ms, batch.timeMax_ms);
      batches.push({ lane, batch });
    }
  }
  return { rows, latest_ms, batches };
}

/** A tail as it is sent along with a query, in format RowBinary. Throws UnreadableBatch. */
export function encodeTail({ batches }: Tail, { schema }: Table): Uint8Array[] {
  return batches.map(({ lane, batch }) => rowBinaryOf(batch, lane, schema));
}

/** Exactly the table's columns and types: with others, ClickHouse treats the two sides differently, and slower. */
export function tailStructure(table: Table): string {
  const system = systemColumns.map(([name, type]) => `${name} ${type}`);
  return [...system, ...fieldColumns(table)].join(', ');
}
