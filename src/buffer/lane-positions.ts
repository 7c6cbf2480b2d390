import * as z from 'zod';

/**
 * The rows of each lane up to a batch: its sequence, and when it was acknowledged. After a failover of the hot buffer other
 * batches may have that sequence and earlier ones; they were acknowledged later. A lane may have several ends; the time is
 * missing where the buffer does not know it, and in what earlier versions have stored.
 */
export const untilSchema = z.array(z.object({ lane: z.int(), seq: z.int(), at_ms: z.int().optional() }));

export type Until = z.output<typeof untilSchema>;
export type End = Until[number];

/** The condition that holds for these rows and no others. */
export function untilSql(until: Until): string {
  return `(${until.map((end) => `(_lane = ${Number(end.lane)} AND ${endSql(end)})`).join(' OR ')})`;
}

function endSql({ seq, at_ms }: End): string {
  if (at_ms === undefined) return `_seq <= ${Number(seq)}`;
  return `_seq <= ${Number(seq)} AND _received_at <= fromUnixTimestamp64Milli(${Number(at_ms)}, 'UTC')`;
}

/** Whether all rows up to `other` are among those up to `end`. */
export function reaches(end: End, other: End): boolean {
  if (end.lane !== other.lane || end.seq < other.seq) return false;
  return end.at_ms === undefined || other.at_ms === undefined || end.at_ms >= other.at_ms;
}
