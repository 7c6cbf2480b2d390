import * as z from 'zod';
import { invalidRequest } from '../core/invalid-request.ts';
import type { Table } from '../schema/table.ts';
import type { LaneSnapshot } from './snapshot.ts';

/**
 * What a token says of a lane: its incarnation, a sequence that is included, and when the batch at it was acknowledged,
 * where that is known. A buffer that fails over may give the sequence to another batch, at another time.
 */
export type LaneMark = [lane: number, incarnation: string, seq: number, at_ms?: number | undefined];

export type Watermark = { dataset: string; table: string; lanes: LaneMark[] };

const count = z.int().nonnegative();
export const laneMark = z.tuple([count, z.string(), count, count.optional()]);

const content = z.object({ d: z.string(), t: z.string(), l: z.array(laneMark) });

const prefix = 'wm1.';

/** The opaque string that clients see. */
export function encodeToken({ dataset, table, lanes }: Watermark): string {
  const text = JSON.stringify({ d: dataset, t: table, l: lanes } satisfies z.input<typeof content>);
  return prefix + Buffer.from(text).toString('base64url');
}

/** Undefined when the string is not a token. */
export function decodeToken(token: string): Watermark | undefined {
  if (!token.startsWith(prefix)) return undefined;
  try {
    const { d, t, l } = content.parse(JSON.parse(Buffer.from(token.slice(prefix.length), 'base64url').toString()));
    return { dataset: d, table: t, lanes: l };
  } catch {
    return undefined;
  }
}

/** What a member of a request says as a token. Throws TimestoreError `invalid-request`, which names the member. */
export function requireToken(member: string, token: string): Watermark {
  const watermark = decodeToken(token);
  if (watermark === undefined) throw invalidRequest(`${member}: this is not a token that Timestore gave out`);
  return watermark;
}

/** The token of an answer that includes each lane up to its newest sequence, or up to its watermark. */
export function tokenOf(table: Table, lanes: LaneSnapshot[], reached: 'seq' | 'watermark'): string {
  return encodeToken({ dataset: table.dataset, table: table.name, lanes: marksOf(lanes, reached) });
}

export function marksOf(lanes: LaneSnapshot[], reached: 'seq' | 'watermark'): LaneMark[] {
  return lanes.map((lane) => {
    const at_ms = reached === 'seq' ? lane.seqAt_ms : lane.watermarkAt_ms;
    return [lane.lane, lane.incarnation, lane[reached], ...(at_ms === undefined ? [] : [at_ms])] as LaneMark;
  });
}
