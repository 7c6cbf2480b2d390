import * as z from 'zod';
import type { StagedBatch } from '../buffer/stage.ts';
import { physicalPattern, slug, type TableRef } from '../core/identifiers.ts';

/** The content of a batch id: the position of the batch in the hot buffer, and its own id. */
export type BatchPlace = {
  table: TableRef;
  lane: number;
  incarnation: string;
  seq: number;
  id: string;
  /** Time of acknowledgement; undefined in ids of older versions. */
  receivedAt_ms: number | undefined;
};

const content = z.tuple([
  slug,
  z.string().regex(physicalPattern),
  z
    .int()
    .min(0)
    .max(2 ** 16 - 1),
  // Incarnation, sequence and batch id, as the hot buffer makes them.
  z.string().regex(/^[\w-]{1,64}$/),
  z.int().min(0),
  z.string().regex(/^[\w-]{1,64}$/),
  z.int().min(0).optional(),
]);

/** The batch id for clients: opaque, and sufficient to find the batch. */
export function encodeBatchId({ dataset, physical }: TableRef, lane: number, batch: StagedBatch): string {
  const { incarnation, seq, batchId, receivedAt_ms } = batch;
  const place = [dataset, physical, lane, incarnation, seq, batchId, receivedAt_ms] satisfies z.output<typeof content>;
  return Buffer.from(JSON.stringify(place)).toString('base64url');
}

/** Undefined for a string that is not a batch id. */
export function decodeBatchId(text: string): BatchPlace | undefined {
  try {
    const [dataset, physical, lane, incarnation, seq, id, receivedAt_ms] = content.parse(
      JSON.parse(Buffer.from(text, 'base64url').toString()),
    );
    return { table: { dataset, physical }, lane, incarnation, seq, id, receivedAt_ms };
  } catch {
    return undefined;
  }
}
