import * as z from 'zod';
import { defineJob, type JobOf } from '../../jobs/definition.ts';

export const laneSchema = z.object({
  /** The source system has every row up to this sequence, except rows that are not mirrored. */
  at: z.int(),
  /** When the latest of these batches was acknowledged (ms). */
  at_ms: z.number().optional(),
  /** Batches beyond `at` that were sent before a failover of the hot buffer set the lane back. */
  sent: z.array(z.object({ to: z.int(), ms: z.number() })).default([]),
  /** The published watermark and its time at the last comparison with the sent batches. */
  compared: z.string().optional(),
  /** The next range. It is recorded before any of its rows are sent. */
  range: z
    .object({
      to: z.int(),
      fields: z.int(),
      checksum: z.string(),
      until_ms: z.number().optional(),
      /** Since when the source system may have accepted rows of it. */
      since_ms: z.number().optional(),
    })
    .optional(),
  /** Consecutive failures of the range, the last reason, and the time of the next attempt. */
  waits: z.int().default(0),
  why: z.string().optional(),
  notBefore_ms: z.number().default(0),
  /** Why the lane sends no more rows until the job is retried. */
  stopped: z.string().optional(),
});

/** State of a mirrored lane. */
export type Lane = z.output<typeof laneSchema>;

const progressSchema = z.object({
  life: z.int(),
  lanes: z.record(z.string(), laneSchema).default({}),
  /** When the source system last had all published rows. */
  caughtUp_ms: z.number().optional(),
  /** Set by a retry of the job: stopped lanes continue. */
  retry: z.boolean().default(false),
});

export type MirrorProgress = z.output<typeof progressSchema>;

export const mirrorJob = defineJob({
  kinds: ['mirror'],
  /** The revision of the dataset that enabled the mirror. */
  request: z.object({ since: z.number().optional() }),
  progress: progressSchema,
  result: z.object({ sent: z.array(z.object({ lane: z.int(), seq: z.int() })) }),
});

/** Adds `since_ms` to a range that an earlier version recorded without it: the earliest possible time. */
export function addSince(lane: Lane, { caughtUp_ms }: MirrorProgress, { createdAt_ms }: JobOf<typeof mirrorJob>): Lane {
  const { range } = lane;
  if (range === undefined || range.since_ms !== undefined) return lane;
  return { ...lane, range: { ...range, since_ms: caughtUp_ms ?? createdAt_ms } };
}

/** The lane after all batches up to a sequence, acknowledged up to a time. */
export function advanceLane({ at_ms = 0, sent, compared, ...rest }: Lane, at: number, ms = 0): Lane {
  const beyond = sent.filter(({ to }) => to > at);
  const passed = sent.filter(({ to }) => to <= at).map((each) => each.ms);
  const { range: _, why: __, stopped: ___, ...lane } = rest;
  return { ...lane, at, at_ms: Math.max(at_ms, ms, ...passed), sent: beyond, compared, waits: 0, notBefore_ms: 0 };
}
