import * as z from 'zod';
import type { StagedBatch } from '../buffer/stage.ts';
import { physicalPattern, slug, type TableRef } from '../core/identifiers.ts';

/** What a batch id says: where the batch was put, and which it is. */
export type BatchPlace = {
  table: TableRef;
  lane: number;
  incarnation: string;
  seq: number;
  id: string;
  /** When it was acknowledged; undefined in ids that were given out before this was kept in them. */
  receivedAt_ms: number | undefined;
};

const content = z.tuple([
  slug,
  z.string().regex(physicalPattern),
  z
    .int()
    .min(0)
    .max(2 ** 16 - 1),
  // Ids of ours, and a sequence.
  z.string().regex(/^[\w-]{1,64}$/),
  z.int().min(0),
  z.string().regex(/^[\w-]{1,64}$/),
  z.int().min(0).optional(),
]);

/** What clients see of a batch: opaque, and enough to find it again. */
export function encodeBatchId({ dataset, physical }: TableRef, lane: number, batch: StagedBatch): string {
  const { incarnation, seq, batchId, receivedAt_ms } = batch;
  const place = [dataset, physical, lane, incarnation, seq, batchId, receivedAt_ms] satisfies z.output<typeof content>;
  return Buffer.from(JSON.stringify(place)).toString('base64url');
}

/** Undefined when the string is no batch id. */
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
