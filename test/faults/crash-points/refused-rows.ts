import { qualifiedName } from '../../../src/core/identifiers.ts';
import type { Context } from '../../../src/create-context.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { at, flush, newDataset, onStored, send, tableOf } from '../../integration/support.ts';
import { ctx } from './support.ts';

/** Batches with rows that the table takes no more, in a partition of their own and beside others. */
export async function poisoned(): Promise<string> {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  await flush(ctx, dataset);
  const table = await tableOf(ctx, dataset);
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} ADD CONSTRAINT positive CHECK v >= 0`);
  await send(ctx, dataset, poison);
  return dataset;
}

export const poison = [
  { timestamp: at(1), v: 1 },
  { timestamp: at(2), v: -2 },
  { timestamp: at(3, 2), v: -3 },
];

export const faulty = [{ timestamp: at(1), v: 1 }, { timestamp: at(2), v: 'two' }, { v: 3 }];
export const sendFaulty = (dataset: string) => (instance: Context) =>
  ingestRows(instance, {
    dataset,
    table: 'm',
    text: JSON.stringify(faulty),
    format: 'json',
    idempotencyKey: 'the-key',
    onError: 'quarantine',
  });
