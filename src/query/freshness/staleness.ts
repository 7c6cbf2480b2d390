import type { LaneSnapshot, Snapshot } from '../../buffer/snapshot.ts';
import { encodeSnapshotToken, encodeToken, type LaneMark, type Watermark } from '../../buffer/watermark-token.ts';
import { ApiError } from '../../core/errors.ts';
import type { Table } from '../../schema/table.ts';
import type { Freshness } from './requirement.ts';

/** Why a table cannot be read as fresh as required. */
export type Staleness = {
  /** `watermark`: ClickHouse does not have all required rows; `sequence`: the buffer does not. */
  kind: 'unavailable' | 'too-large' | 'watermark' | 'sequence';
  snapshot: Snapshot | undefined;
  required: Watermark[];
  flushHelps: boolean;
  /** The required rows belong to a state that the buffer has lost, so that waiting does not help. */
  isLost: boolean;
};

/** Whether a sequence still names the same batch: after a failover of the buffer it may name another one. */
type MarkIdentity = 'same' | 'other' | 'unknown';

function compareMark({ seq, seqAt_ms, watermark, watermarkAt_ms, tail }: LaneSnapshot, mark: LaneMark): MarkIdentity {
  const [, , number, at_ms] = mark;
  const kept =
    (number === seq ? seqAt_ms : undefined) ??
    (number === watermark ? watermarkAt_ms : undefined) ??
    tail.find((batch) => batch.seq === number)?.receivedAt_ms;
  if (at_ms === undefined || kept === undefined) return 'unknown';
  return kept === at_ms ? 'same' : 'other';
}

/** Required marks that have left the buffer: only ClickHouse can prove that they name the same batches. */
export function marksToProve({ lanes }: Snapshot, required: Watermark[]): LaneMark[] {
  return required
    .flatMap((each) => each.lanes)
    .filter((mark) => {
      const [number, , seq, at_ms] = mark;
      const lane = lanes[number];
      return (
        lane !== undefined && at_ms !== undefined && seq <= lane.watermark && compareMark(lane, mark) === 'unknown'
      );
    });
}

export function staleness(
  kind: 'unavailable' | 'too-large',
  snapshot: Snapshot | undefined,
  required: Watermark[],
): Staleness;
export function staleness(
  kind: 'watermark' | 'sequence',
  snapshot: Snapshot,
  required: Watermark[],
): Staleness | undefined;
export function staleness(
  kind: Staleness['kind'],
  snapshot: Snapshot | undefined,
  required: Watermark[],
): Staleness | undefined {
  const stale = { kind, snapshot, required, flushHelps: kind === 'too-large' || kind === 'watermark', isLost: false };
  if (kind === 'unavailable' || kind === 'too-large' || snapshot === undefined) return stale;
  const reached = (lane: LaneSnapshot) => (kind === 'watermark' ? lane.watermark : lane.seq);
  const lost = { ...stale, flushHelps: false, isLost: true };
  let isBehind = false;
  for (const mark of required.flatMap(({ lanes }) => lanes)) {
    const [number, incarnation, seq] = mark;
    const lane = snapshot.lanes[number];
    if (lane === undefined || lane.incarnation !== incarnation) return lost;
    // A token names a later sequence than the buffer knows: the buffer has gone back.
    const isForgotten = mark[3] !== undefined && seq > lane.seq;
    if (isForgotten || compareMark(lane, mark) === 'other') return lost;
    if (reached(lane) < seq) isBehind = true;
  }
  return isBehind ? stale : undefined;
}

const retryAfter_ms_min = 250;
const retryAfter_ms_max = 10_000;
/** A rough estimate of the flush of one seal, for the Retry-After hint. */
const seal_ms = 500;
const seal_rows = 50_000;

const reasons: Record<Staleness['kind'], string> = {
  unavailable: 'the hot buffer is unavailable',
  'too-large': 'more rows wait to be flushed than a query can merge',
  watermark: 'ClickHouse does not have all required rows yet',
  sequence: 'the hot buffer does not have all required rows yet',
};

/** The error `stale-read`, with the members that a client needs for a retry. */
export function staleRead(table: Table, stale: Staleness, freshness: Freshness): ApiError {
  const { snapshot, required, kind } = stale;
  const pending = snapshot?.lanes.reduce((sum, { pendingRows }) => sum + pendingRows, 0) ?? 0;
  const retryAfterMs = Math.min(
    retryAfter_ms_max,
    Math.max(retryAfter_ms_min, Math.ceil(pending / seal_rows) * seal_ms, snapshot === undefined ? 1_000 : 0),
  );
  const oldest = snapshot?.lanes.flatMap(({ oldest_ms }) => (oldest_ms === undefined ? [] : [oldest_ms])) ?? [];
  const tokens = required.map(encodeToken);
  const all = snapshot === undefined ? null : encodeSnapshotToken(table, snapshot.lanes, 'seq');
  const available = kind === 'sequence' ? 'seq' : 'watermark';
  return new ApiError(
    'stale-read',
    `Table ${table.name} cannot be read as fresh as required (${freshness.consistency}) within ${freshness.maxWait_ms} ms: ${
      stale.isLost
        ? 'the hot buffer has lost the state of the token, and perhaps rows; query again without the token'
        : reasons[kind]
    }.`,
    {
      extra: {
        required: tokens.length > 1 ? tokens : (tokens[0] ?? all),
        current: snapshot === undefined ? null : encodeSnapshotToken(table, snapshot.lanes, available),
        lost: stale.isLost,
        lagMs: snapshot === undefined ? null : Math.max(0, ...oldest.map((each) => snapshot.now_ms - each)),
      },
      retryAfterMs,
    },
  );
}
