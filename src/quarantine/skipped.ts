import type { Seal } from '../buffer/seal.ts';
import { encodeSkip } from '../buffer/skip.ts';
import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { digest, recordInQuarantine } from './quarantine.ts';
import type { QuarantineRecord } from './table.ts';

/**
 * Puts the rows of a seal that ClickHouse refuses into quarantine, as they were buffered. Done again it changes nothing.
 *
 * @throws StoreError when a store that this needs is away
 */
export async function quarantineSkipped(ctx: Context, table: Table, lane: number, seal: Seal): Promise<void> {
  const records = seal.batches.flatMap((batch) => {
    const lines = batch.payload.split('\n');
    return [...(seal.skip.get(batch.seq) ?? [])].map((row): QuarantineRecord => {
      const identity = { physical: table.physical, lane, seq: batch.seq, row };
      return {
        id: digest(`${table.dataset}/${table.physical}/${seal.incarnation}/${lane}/${batch.seq}/${row}`),
        ...{ event: 'quarantined', table: table.name, origin: 'flush', ...identity },
        ...{
          reason: 'refused-by-clickhouse',
          detail: 'ClickHouse refuses this row; look at the constraints of its table',
        },
        ...{ schema_version: batch.schemaVersion, meta: batch.meta, payload: lines[row] ?? '' },
      };
    });
  });
  const idempotencyKey = `skipped:${table.physical}:${seal.incarnation}:${seal.token}:${digest(encodeSkip(seal.skip))}`;
  await recordInQuarantine(ctx, table.dataset, records, { idempotencyKey, requestHash: seal.token });
}
