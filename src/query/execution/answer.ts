import type { Format } from '../request/format.ts';
import type { ReadScope } from './read-scope.ts';
import type { ReadSnapshot } from './read-snapshot.ts';

/** The stores of an answer: `replica-only` where the tail was empty, skipped or unreadable. */
export type FreshnessMode = 'replica-only' | 'replica+hot-buffer' | 'hot-buffer-only';

/** Metadata of an answer. */
export type AnswerNotes = {
  mode: FreshnessMode;
  /** Undefined when unknown. */
  replicaAge_ms: number | undefined;
  /** The watermark token of the rows that the answer includes; undefined when unknown. */
  watermark: string | undefined;
  warnings: string[];
  streaming: {
    enabled: boolean;
    bufferState: 'ready' | 'unavailable' | 'too-large' | 'skipped';
    /** Rows of the tail that the query read; null for a key with a row filter. */
    rows: number | null;
    watermark: string | null;
    /** Latest event time in the tail; null for an empty tail and for a key with a row filter. */
    latestTimestamp: string | null;
    fresh: boolean;
    exactness: 'fenced' | 'validated' | 'none';
  };
};

export type Answer = {
  format: Format;
  notes: AnswerNotes;
  /** The cursor of the next page, for formats without a place for it. */
  cursor?: string | undefined;
  /** UTF-8. Throws where the rest of the answer fails. */
  body: AsyncGenerator<Uint8Array | string>;
  /** Whether the whole answer is in memory, so that it cannot fail any more. */
  isComplete: boolean;
};

/** Merges the metadata of the snapshots. A key with a row filter gets no counts: the tail has rows that it may not read. */
export function describeAnswer(
  snapshots: ReadSnapshot[],
  { rowFilter }: ReadScope,
  exactness: AnswerNotes['streaming']['exactness'],
  mode?: FreshnessMode,
): AnswerNotes {
  const readsAll = rowFilter === null;
  const rows = snapshots.reduce((sum, { tail }) => sum + tail.rows, 0);
  const latest = snapshots.flatMap(({ tail }) => tail.latest_ms ?? []);
  const ages = snapshots.flatMap(({ age_ms }) => age_ms ?? []);
  const tokens = snapshots.flatMap(({ watermark }) => watermark ?? []);
  const watermark = tokens.length === snapshots.length && tokens.length > 0 ? tokens.join(' ') : undefined;
  const worst = (['unavailable', 'too-large', 'skipped'] as const).find((state) => {
    return snapshots.some(({ bufferState }) => bufferState === state);
  });
  return {
    mode: mode ?? (rows > 0 || (!readsAll && worst === undefined) ? 'replica+hot-buffer' : 'replica-only'),
    replicaAge_ms: ages.length === snapshots.length ? Math.max(0, ...ages) : undefined,
    watermark,
    warnings: [...new Set(snapshots.flatMap(({ warnings }) => warnings))],
    streaming: {
      enabled: true,
      bufferState: worst ?? 'ready',
      rows: readsAll ? rows : null,
      watermark: watermark ?? null,
      latestTimestamp: latest.length === 0 || !readsAll ? null : new Date(Math.max(...latest)).toISOString(),
      fresh: snapshots.every(({ isFresh }) => isFresh),
      exactness,
    },
  };
}
