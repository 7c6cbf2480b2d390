import * as z from 'zod';

/**
 * The rows of each lane up to a batch: its sequence, and when it was acknowledged. After a failover of the hot buffer other
 * batches may have that sequence and earlier ones; they were acknowledged later. A lane may have several ends; the time is
 * missing where the buffer does not know it, and in what earlier versions have stored.
 */
export const untilSchema = z.array(z.object({ lane: z.int(), seq: z.int(), at_ms: z.int().optional() }));

export type Until = z.output<typeof untilSchema>;

/**
 * The condition that holds for these rows and no others. Times of a lane ascend with its sequences: so they count first,
 * and the sequence tells batches of the same millisecond apart.
 */
export function untilSql(until: Until): string {
  return `(${until.map((end) => `(_lane = ${Number(end.lane)} AND ${endSql(end)})`).join(' OR ')})`;
}

function endSql({ seq, at_ms }: Until[number]): string {
  const isBefore = `_seq <= ${Number(seq)}`;
  if (at_ms === undefined) return isBefore;
  const time = `fromUnixTimestamp64Milli(${Number(at_ms)}, 'UTC')`;
  return `_received_at <= ${time} AND (_received_at < ${time} OR ${isBefore})`;
}

/** Whether all rows up to `other` are among those up to `end`. */
export function reaches(end: Until[number], other: Until[number]): boolean {
  if (end.lane !== other.lane) return false;
  if (end.at_ms === undefined || other.at_ms === undefined) return end.seq >= other.seq;
  return end.at_ms > other.at_ms || (end.at_ms === other.at_ms && end.seq >= other.seq);
}
