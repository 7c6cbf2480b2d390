import * as z from 'zod';

/**
 * The rows of each lane up to a batch: its sequence, and when it was acknowledged. After a failover of the hot buffer other
 * batches may have that sequence and earlier ones; they were acknowledged later. A lane may have several ends; the time is
 * missing where the buffer does not know it, and in what earlier versions have stored.
 */
export const lanePositionsSchema = z.array(z.object({ lane: z.int(), seq: z.int(), at_ms: z.int().optional() }));

export type LanePositions = z.output<typeof lanePositionsSchema>;
export type LanePosition = LanePositions[number];

/** The condition that holds for these rows and no others. */
export function lanePositionsSql(until: LanePositions): string {
  return `(${until.map((end) => `(_lane = ${Number(end.lane)} AND ${endSql(end)})`).join(' OR ')})`;
}

function endSql({ seq, at_ms }: LanePosition): string {
  if (at_ms === undefined) return `_seq <= ${Number(seq)}`;
  return `_seq <= ${Number(seq)} AND _received_at <= fromUnixTimestamp64Milli(${Number(at_ms)}, 'UTC')`;
}

/** Whether all rows up to `other` are among those up to `end`. */
export function reaches(end: LanePosition, other: LanePosition): boolean {
  if (end.lane !== other.lane || end.seq < other.seq) return false;
  return end.at_ms === undefined || other.at_ms === undefined || end.at_ms >= other.at_ms;
}
