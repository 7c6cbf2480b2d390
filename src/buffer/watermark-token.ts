import * as z from 'zod';
import { invalidRequest } from '../core/invalid-request.ts';
import type { Table } from '../schema/table.ts';
import type { LaneSnapshot } from './snapshot.ts';

/**
 * The position of a lane in a watermark token: its incarnation, the last included sequence, and the time of acknowledgement of
 * that batch, if known. The time detects another batch that got the sequence after a failover.
 */
export type LaneMark = [lane: number, incarnation: string, seq: number, at_ms?: number | undefined];

export type Watermark = { dataset: string; table: string; lanes: LaneMark[] };

const count = z.int().nonnegative();
export const laneMark = z.tuple([count, z.string(), count, count.optional()]);

const content = z.object({ d: z.string(), t: z.string(), l: z.array(laneMark) });

const prefix = 'wm1.';

/** The opaque token for clients. */
export function encodeToken({ dataset, table, lanes }: Watermark): string {
  const text = JSON.stringify({ d: dataset, t: table, l: lanes } satisfies z.input<typeof content>);
  return prefix + Buffer.from(text).toString('base64url');
}

/** Undefined for a string that is not a watermark token. */
export function decodeToken(token: string): Watermark | undefined {
  if (!token.startsWith(prefix)) return undefined;
  try {
    const { d, t, l } = content.parse(JSON.parse(Buffer.from(token.slice(prefix.length), 'base64url').toString()));
    return { dataset: d, table: t, lanes: l };
  } catch {
    return undefined;
  }
}

/** Parses the token in a member of a request. Throws ApiError `invalid-request`, which names the member. */
export function requireToken(member: string, token: string): Watermark {
  const watermark = decodeToken(token);
  if (watermark === undefined) throw invalidRequest(`${member}: this is not a watermark token of Timestore`);
  return watermark;
}

/** The token for the rows of each lane up to its newest sequence, or up to its watermark. */
export function encodeSnapshotToken(table: Table, lanes: LaneSnapshot[], reached: 'seq' | 'watermark'): string {
  return encodeToken({ dataset: table.dataset, table: table.name, lanes: listLaneMarks(lanes, reached) });
}

export function listLaneMarks(lanes: LaneSnapshot[], reached: 'seq' | 'watermark'): LaneMark[] {
  return lanes.map((lane) => {
    const at_ms = reached === 'seq' ? lane.seqAt_ms : lane.watermarkAt_ms;
    return [lane.lane, lane.incarnation, lane[reached], ...(at_ms === undefined ? [] : [at_ms])] as LaneMark;
  });
}
