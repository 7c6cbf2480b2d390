import type { BufferedBatch } from '../../buffer/buffered-batch.ts';
import type { LaneSnapshot } from '../../buffer/snapshot.ts';
import { fieldColumns, systemColumns } from '../../catalog/table-ddl.ts';
import type { Table } from '../../schema/table.ts';
import { encodeRowBinary } from '../hot/row-binary.ts';

/** Acknowledged rows that ClickHouse does not certainly have. */
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

/** A tail in format RowBinary. Throws UnreadableBatch. */
export function encodeTail({ batches }: Tail, { schema }: Table): Uint8Array[] {
  return batches.map(({ lane, batch }) => encodeRowBinary(batch, lane, schema));
}

/** The columns and types of the table: with other types, ClickHouse would convert one side of the UNION, which is slower. */
export function tailStructure(table: Table): string {
  const system = systemColumns.map(([name, type]) => `${name} ${type}`);
  return [...system, ...fieldColumns(table)].join(', ');
}
