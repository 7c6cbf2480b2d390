import type { TableRef } from '../names.ts';

/** What clients see of a batch: opaque, and enough to find it again. */
export function encodeBatchId(table: TableRef, lane: number, batch: { seq: number; batchId: string }): string {
  return Buffer.from(JSON.stringify([table.dataset, table.physical, lane, batch.seq, batch.batchId])).toString(
    'base64url',
  );
}
