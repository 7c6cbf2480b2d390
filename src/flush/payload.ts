import { storedTimestamp } from '../schema/timestamp.ts';

/**
 * The rows of a batch with what identifies them in front, as text: they were validated when they were staged, and are
 * not parsed again. Each line of a payload begins with `{"_row":`; no value holds a line break.
 */
export function identifiedRows(batch: { seq: number; receivedAt_ms: number; payload: string }, lane?: number): string {
  const identity =
    `{${lane === undefined ? '' : `"_lane":${lane},`}"_seq":${batch.seq},` +
    `"_received_at":"${storedTimestamp(batch.receivedAt_ms)}",`;
  return identity + batch.payload.slice(1).replaceAll('\n{', `\n${identity}`);
}
