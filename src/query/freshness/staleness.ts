import type { LaneSnapshot, Snapshot } from '../../buffer/snapshot.ts';
import { encodeToken, type LaneMark, tokenOf, type Watermark } from '../../buffer/watermark-token.ts';
import { ApiError } from '../../core/errors.ts';
import type { Table } from '../../schema/table.ts';
import type { Freshness } from './requirement.ts';

/** Why a table cannot be read as fresh as it was asked for. */
export type Staleness = {
  /** `watermark`: ClickHouse does not have all that is required; `sequence`: the buffer that was read does not. */
  kind: 'unavailable' | 'too-large' | 'watermark' | 'sequence';
  snapshot: Snapshot | undefined;
  required: Watermark[];
  flushHelps: boolean;
  /** What is required is of a state that the buffer has lost: no wait brings it. */
  isLost: boolean;
};

/** What a batch is known by beyond its sequence: another one may have been given it after a failover of the buffer. */
type Known = 'same' | 'other' | 'unknown';

function knownAs({ seq, seqAt_ms, watermark, watermarkAt_ms, tail }: LaneSnapshot, mark: LaneMark): Known {
  const [, , number, at_ms] = mark;
  const kept =
    (number === seq ? seqAt_ms : undefined) ??
    (number === watermark ? watermarkAt_ms : undefined) ??
    tail.find((batch) => batch.seq === number)?.receivedAt_ms;
  if (at_ms === undefined || kept === undefined) return 'unknown';
  return kept === at_ms ? 'same' : 'other';
}

/** Of what is required, that which has left the buffer, so that only ClickHouse can tell whether it is still the same. */
export function marksToProve({ lanes }: Snapshot, required: Watermark[]): LaneMark[] {
  return required
    .flatMap((each) => each.lanes)
    .filter((mark) => {
      const [number, , seq, at_ms] = mark;
      const lane = lanes[number];
      return lane !== undefined && at_ms !== undefined && seq <= lane.watermark && knownAs(lane, mark) === 'unknown';
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
  const lack = { kind, snapshot, required, flushHelps: kind === 'too-large' || kind === 'watermark', isLost: false };
  if (kind === 'unavailable' || kind === 'too-large' || snapshot === undefined) return lack;
  const reached = (lane: LaneSnapshot) => (kind === 'watermark' ? lane.watermark : lane.seq);
  const lost = { ...lack, flushHelps: false, isLost: true };
  let isShort = false;
  for (const mark of required.flatMap(({ lanes }) => lanes)) {
    const [number, incarnation, seq] = mark;
    const lane = snapshot.lanes[number];
    if (lane === undefined || lane.incarnation !== incarnation) return lost;
    // The buffer has acknowledged it, and has gone back behind it since.
    const isForgotten = mark[3] !== undefined && seq > lane.seq;
    if (isForgotten || knownAs(lane, mark) === 'other') return lost;
    if (reached(lane) < seq) isShort = true;
  }
  return isShort ? lack : undefined;
}

const retryAfter_ms_min = 250;
const retryAfter_ms_max = 10_000;
/** What a seal takes from the buffer to ClickHouse, roughly; a hint is no promise. */
const seal_ms = 500;
const sealRows = 50_000;

const reasons: Record<Staleness['kind'], string> = {
  unavailable: 'the hot buffer cannot be read',
  'too-large': 'more rows wait to be flushed than can be merged into a query',
  watermark: 'ClickHouse does not have all of it yet',
  sequence: 'the hot buffer does not have all of it yet',
};

/** The refusal to answer with less than was asked for, with what a client needs to try again. */
export function staleRead(table: Table, lack: Staleness, asked: Freshness): ApiError {
  const { snapshot, required, kind } = lack;
  const pending = snapshot?.lanes.reduce((sum, { pendingRows }) => sum + pendingRows, 0) ?? 0;
  const retryAfterMs = Math.min(
    retryAfter_ms_max,
    Math.max(retryAfter_ms_min, Math.ceil(pending / sealRows) * seal_ms, snapshot === undefined ? 1_000 : 0),
  );
  const oldest = snapshot?.lanes.flatMap(({ oldest_ms }) => (oldest_ms === undefined ? [] : [oldest_ms])) ?? [];
  const tokens = required.map(encodeToken);
  const all = snapshot === undefined ? null : tokenOf(table, snapshot.lanes, 'seq');
  const available = kind === 'sequence' ? 'seq' : 'watermark';
  return new ApiError(
    'stale-read',
    `Table ${table.name} cannot be read as fresh as asked (${asked.consistency}) within ${asked.maxWait_ms} ms: ${
      lack.isLost
        ? 'the hot buffer has lost the state that the token is of, and perhaps rows; take a new token from a new answer'
        : reasons[kind]
    }.`,
    {
      extra: {
        required: tokens.length > 1 ? tokens : (tokens[0] ?? all),
        current: snapshot === undefined ? null : tokenOf(table, snapshot.lanes, available),
        // Then no wait helps: the token is of nothing that there is.
        lost: lack.isLost,
        lagMs: snapshot === undefined ? null : Math.max(0, ...oldest.map((each) => snapshot.now_ms - each)),
      },
      retryAfterMs,
    },
  );
}
