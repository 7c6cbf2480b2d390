import * as z from 'zod';

/**
 * For each lane, the last batch of a range: its sequence and its time of acknowledgement. The time excludes batches that got
 * the same sequences after a failover of the hot buffer, because they were acknowledged later. A lane may have several
 * positions. The time is absent if the buffer does not know it, and in records of earlier versions.
 */
export const lanePositionsSchema = z.array(z.object({ lane: z.int(), seq: z.int(), at_ms: z.int().optional() }));

export type LanePositions = z.output<typeof lanePositionsSchema>;
export type LanePosition = LanePositions[number];

/** The SQL condition for exactly the rows up to these positions. */
export function lanePositionsSql(until: LanePositions): string {
  return `(${until.map((end) => `(_lane = ${Number(end.lane)} AND ${positionSql(end)})`).join(' OR ')})`;
}

function positionSql({ seq, at_ms }: LanePosition): string {
  if (at_ms === undefined) return `_seq <= ${Number(seq)}`;
  return `_seq <= ${Number(seq)} AND _received_at <= fromUnixTimestamp64Milli(${Number(at_ms)}, 'UTC')`;
}

/** Whether the rows up to `end` include all rows up to `other`. */
export function reaches(end: LanePosition, other: LanePosition): boolean {
  if (end.lane !== other.lane || end.seq < other.seq) return false;
  return end.at_ms === undefined || other.at_ms === undefined || end.at_ms >= other.at_ms;
}
