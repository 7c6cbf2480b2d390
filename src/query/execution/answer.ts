import type { Format } from '../request/format.ts';
import type { ReadScope } from './read-scope.ts';
import type { ReadSnapshot } from './read-snapshot.ts';

/** Which stores an answer is of: `replica-only` where no tail was needed, asked for, or readable. */
export type FreshnessMode = 'replica-only' | 'replica+hot-buffer' | 'hot-buffer-only';

/** What an answer says of itself beside its rows. */
export type Notes = {
  mode: FreshnessMode;
  /** Undefined when unknown. */
  replicaAge_ms: number | undefined;
  /** Token of what the answer includes; undefined when unknown. */
  watermark: string | undefined;
  warnings: string[];
  streaming: {
    enabled: boolean;
    bufferState: 'ready' | 'unavailable' | 'too-large' | 'skipped';
    /** Rows of the tail that the query was evaluated over; null for a key that reads some rows only. */
    rows: number | null;
    watermark: string | null;
    /** Latest event time in the tail; null also for a key that reads some rows only. */
    latestTimestamp: string | null;
    fresh: boolean;
    exactness: 'fenced' | 'validated' | 'none';
  };
};

export type Answer = {
  format: Format;
  notes: Notes;
  /** Where the next page begins, for the formats that have no room for it. */
  cursor?: string | undefined;
  /** UTF-8. Ends with an error when the rest cannot be had. */
  body: AsyncGenerator<Uint8Array | string>;
  /** Whether all of it is there, so that nothing can fail any more. */
  isComplete: boolean;
};

/** The tokens of several tables, each as by itself. A reader of some rows gets no count of the tail, which has those of others. */
export function notesOf(
  cuts: ReadSnapshot[],
  { rowFilter }: ReadScope,
  exactness: Notes['streaming']['exactness'],
  mode?: FreshnessMode,
): Notes {
  const readsAll = rowFilter === null;
  const rows = cuts.reduce((sum, { tail }) => sum + tail.rows, 0);
  const latest = cuts.flatMap(({ tail }) => tail.latest_ms ?? []);
  const ages = cuts.flatMap(({ age_ms }) => age_ms ?? []);
  const tokens = cuts.flatMap(({ watermark }) => watermark ?? []);
  const watermark = tokens.length === cuts.length && tokens.length > 0 ? tokens.join(' ') : undefined;
  const worst = (['unavailable', 'too-large', 'skipped'] as const).find((state) => {
    return cuts.some(({ bufferState }) => bufferState === state);
  });
  return {
    mode: mode ?? (rows > 0 || (!readsAll && worst === undefined) ? 'replica+hot-buffer' : 'replica-only'),
    replicaAge_ms: ages.length === cuts.length ? Math.max(0, ...ages) : undefined,
    watermark,
    warnings: [...new Set(cuts.flatMap(({ warnings }) => warnings))],
    streaming: {
      enabled: true,
      bufferState: worst ?? 'ready',
      rows: readsAll ? rows : null,
      watermark: watermark ?? null,
      latestTimestamp: latest.length === 0 || !readsAll ? null : new Date(Math.max(...latest)).toISOString(),
      fresh: cuts.every(({ isFresh }) => isFresh),
      exactness,
    },
  };
}
