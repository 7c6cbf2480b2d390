import * as z from 'zod';
import type { LaneSnapshot } from '../buffer/snapshot.ts';
import type { Table } from '../catalog/table.ts';
import { invalid } from './invalid.ts';

/** What a token says: each lane's incarnation and a sequence that is included. */
export type Watermark = { dataset: string; table: string; lanes: [lane: number, incarnation: string, seq: number][] };

const content = z.object({
  d: z.string(),
  t: z.string(),
  l: z.array(z.tuple([z.int().nonnegative(), z.string(), z.int().nonnegative()])),
});

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
  if (watermark === undefined) throw invalid(`${member}: this is not a token that Timestore gave out`);
  return watermark;
}

/** The token of an answer that includes each lane up to what `reached` says. */
export function tokenOf(table: Table, lanes: LaneSnapshot[], reached: (lane: LaneSnapshot) => number): string {
  return encodeToken({
    dataset: table.dataset,
    table: table.name,
    lanes: lanes.map((lane) => [lane.lane, lane.incarnation, reached(lane)]),
  });
}
