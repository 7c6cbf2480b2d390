import { setTimeout as delay } from 'node:timers/promises';
import { type LaneSnapshot, type Snapshot, snapshotTable } from '../../buffer/snapshot.ts';
import { encodeSnapshotToken, encodeToken, type Watermark } from '../../buffer/watermark-token.ts';
import { findTable, readTable } from '../../catalog/find-table.ts';
import { LifeEndedError } from '../../catalog/life.ts';
import { setUpLanes } from '../../catalog/provision-lanes.ts';
import { haveOvertakenMarks } from '../../catalog/rows-beyond.ts';
import { StoreError } from '../../core/errors.ts';
import { describeError } from '../../core/log.ts';
import { catchUpLanes } from '../../flush/catch-up.ts';
import type { Table } from '../../schema/table.ts';
import type { QueryDeps } from '../deps.ts';
import type { Freshness } from '../freshness/requirement.ts';
import { marksToProve, type Staleness, staleness, staleRead } from '../freshness/staleness.ts';
import { waitForFlush } from '../freshness/wait-for-flush.ts';
import { collectTail, noTail, type Tail } from './tail.ts';

/** The rows of a table that a query reads: those of ClickHouse up to the watermarks of its lanes, and the tail after them. */
export type ReadSnapshot = {
  /** In the newest schema version of its rows. */
  table: Table;
  /** Undefined when the hot buffer was not read: the rows of ClickHouse then have no known end. */
  lanes: LaneSnapshot[] | undefined;
  tail: Tail;
  bufferState: 'ready' | 'unavailable' | 'too-large' | 'skipped';
  /** Whether the snapshot has every row that was acknowledged before. */
  isFresh: boolean;
  /** Age of the oldest acknowledged row that is not in ClickHouse yet, by the clock of the buffer. Undefined: unknown. */
  age_ms: number | undefined;
  watermark: string | undefined;
  /** Number of deletions and corrections of stored rows. */
  changes: number | undefined;
  warnings: string[];
  /** The snapshot of the first page, on a further page: rows after it do not count. */
  pin?: Watermark;
};

/** A shorter wait would give up on a buffer that is merely slow. */
const bufferRead_ms_min = 1_000;
const poll_ms_max = 500;

/**
 * Takes a snapshot as fresh as required. Waits and flushes within `maxWait_ms`.
 *
 * @throws ApiError `stale-read`; StoreError
 */
export async function takeReadSnapshot(ctx: QueryDeps, table: Table, freshness: Freshness): Promise<ReadSnapshot> {
  const required = freshness.required.filter(
    ({ dataset, table: name }) => dataset === table.dataset && name === table.name,
  );
  if (freshness.consistency === 'eventual' && required.length === 0)
    return unreadSnapshot(table, 'skipped', [eventualWarning]);
  const deadline_ms = ctx.now() + freshness.maxWait_ms;
  let stale: Staleness;
  for (let round = 0; ; round += 1) {
    const attempt = await trySnapshot(ctx, table, freshness, required, deadline_ms);
    if ('snapshot' in attempt) return attempt.snapshot;
    stale = attempt.stale;
    const remaining_ms = deadline_ms - ctx.now();
    // ClickHouse may have rows that the buffer has forgotten.
    if (stale.isLost && round === 0 && (await catchUp(ctx, table, stale))) continue;
    if (stale.isLost || remaining_ms <= 0) break;
    await waitForProgress(ctx, table, stale, Math.min(remaining_ms, 2 ** round * 25, poll_ms_max), remaining_ms);
  }
  if (freshness.consistency !== 'default') throw staleRead(table, stale, freshness);
  return await snapshotWithoutTail(ctx, table, stale, freshness, required);
}

async function catchUp(ctx: QueryDeps, table: Table, { snapshot }: Staleness): Promise<boolean> {
  if (snapshot === undefined) return false;
  const caughtUp = await catchUpLanes(ctx, table, snapshot.lanes).catch(() => []);
  return caughtUp.length > 0;
}

/** Reduces a snapshot to that of the first page. `snapshot` was taken with the pin among the required watermarks. */
export function pinSnapshot(snapshot: ReadSnapshot, pin: Watermark): ReadSnapshot {
  const { lanes = [] } = snapshot;
  const pinned = pin.lanes.flatMap(([number, , seq]) => {
    const lane = lanes[number];
    return lane === undefined ? [] : [{ ...lane, tail: lane.tail.filter((batch) => batch.seq <= seq) }];
  });
  const tail = snapshot.tail.rows === 0 ? noTail : collectTail(pinned);
  return { ...snapshot, tail, pin, watermark: encodeToken(pin) };
}

const eventualWarning =
  'Consistency eventual: the hot buffer was not read. Recently acknowledged rows may be missing, and batches may be incomplete.';

type Attempt = { snapshot: ReadSnapshot } | { stale: Staleness };

async function trySnapshot(
  ctx: QueryDeps,
  table: Table,
  { consistency, maxStaleness_ms }: Freshness,
  required: Watermark[],
  deadline_ms: number,
): Promise<Attempt> {
  const read = (detail: 'entries' | 'state') => readBuffer(ctx, table, detail, deadline_ms);
  if (consistency === 'bounded' || consistency === 'eventual') {
    const state = await read('state');
    if (state === undefined) return { stale: staleness('unavailable', undefined, required) };
    const stale = await checkRequired(ctx, table, 'watermark', state, required);
    const isFreshEnough = consistency === 'eventual' || replicaAge_ms(state) <= maxStaleness_ms;
    if (isFreshEnough && stale === undefined) {
      return { snapshot: await snapshotAtWatermark(ctx, table, state, 'skipped', []) };
    }
    if (consistency === 'eventual' && stale !== undefined) return { stale };
  }
  const buffer = await read('entries');
  if (buffer === undefined) return { stale: staleness('unavailable', undefined, required) };
  if (buffer.tail !== 'ready') return { stale: staleness('too-large', buffer, required) };
  const stale = await checkRequired(ctx, table, 'sequence', buffer, required);
  if (stale !== undefined) return { stale };
  const { lanes, changes } = buffer;
  const newest = await newestDefinition(ctx, table, lanes);
  return {
    snapshot: {
      table: newest,
      lanes,
      tail: collectTail(lanes),
      bufferState: 'ready',
      isFresh: true,
      age_ms: replicaAge_ms(buffer),
      watermark: encodeSnapshotToken(newest, lanes, 'seq'),
      changes,
      warnings: [],
    },
  };
}

/** Checks the required watermarks against the buffer, and against ClickHouse for batches that have left the buffer. */
async function checkRequired(
  ctx: QueryDeps,
  table: Table,
  kind: 'watermark' | 'sequence',
  snapshot: Snapshot,
  required: Watermark[],
): Promise<Staleness | undefined> {
  const stale = staleness(kind, snapshot, required);
  const marks = stale === undefined ? marksToProve(snapshot, required) : [];
  if (marks.length === 0) return stale;
  const isLost = await haveOvertakenMarks(ctx, table, marks).catch((error) => {
    // The read itself needs ClickHouse for these rows, and reports its failure.
    ctx.log({ event: 'token-unproved', dataset: table.dataset, table: table.name, ...describeError(error) });
    return false;
  });
  return isLost ? { kind, snapshot, required, flushHelps: false, isLost } : undefined;
}

/** ClickHouse alone, with a warning, for callers that require no consistency. */
async function snapshotWithoutTail(
  ctx: QueryDeps,
  table: Table,
  stale: Staleness,
  freshness: Freshness,
  required: Watermark[],
): Promise<ReadSnapshot> {
  if (stale.snapshot === undefined) {
    if (required.length > 0) throw staleRead(table, stale, freshness);
    return unreadSnapshot(table, 'unavailable', [
      `The hot buffer is unavailable: recently acknowledged rows of table ${table.name} may be missing, and batches may be incomplete.`,
    ]);
  }
  const behind =
    stale.kind === 'too-large' ? await checkRequired(ctx, table, 'watermark', stale.snapshot, required) : stale;
  if (behind !== undefined) throw staleRead(table, behind, freshness);
  return await snapshotAtWatermark(ctx, table, stale.snapshot, 'too-large', [
    `Table ${table.name} has more acknowledged rows waiting to be flushed than a query can merge ` +
      '(limits tail_rows_max and tail_bytes_max); these rows are missing.',
  ]);
}

/** Whatever ClickHouse holds, without an upper bound. */
export function unreadSnapshot(table: Table, bufferState: 'unavailable' | 'skipped', warnings: string[]): ReadSnapshot {
  const unknown = { lanes: undefined, age_ms: undefined, watermark: undefined, changes: undefined };
  return { table, tail: noTail, bufferState, isFresh: false, warnings, ...unknown };
}

async function snapshotAtWatermark(
  ctx: QueryDeps,
  table: Table,
  snapshot: Snapshot,
  bufferState: 'too-large' | 'skipped',
  warnings: string[],
): Promise<ReadSnapshot> {
  const { lanes } = snapshot;
  return {
    table: await newestDefinition(ctx, table, lanes),
    lanes,
    tail: noTail,
    bufferState,
    warnings,
    isFresh: lanes.every(({ seq, watermark }) => seq === watermark),
    age_ms: replicaAge_ms(snapshot),
    changes: snapshot.changes,
    watermark: encodeSnapshotToken(table, lanes, 'watermark'),
  };
}

/** Flushes where a flush helps. Lasts at least `pause_ms`, so that rounds do not follow each other at once. */
async function waitForProgress(
  ctx: QueryDeps,
  table: Table,
  stale: Staleness,
  pause_ms: number,
  remaining_ms: number,
): Promise<void> {
  const pause = delay(pause_ms);
  if (stale.flushHelps) await waitForFlush(ctx, table, remaining_ms);
  await pause;
}

/** Undefined when Redis is unavailable. Lanes that Redis has lost are set up again first. */
async function readBuffer(
  ctx: QueryDeps,
  table: Table,
  detail: 'entries' | 'state',
  deadline_ms: number,
): Promise<Snapshot | undefined> {
  const read = async () => {
    const snapshot = await snapshotTable(ctx, table, detail);
    if (snapshot !== 'unknown') return snapshot;
    await setUpLanes(ctx, table);
    const again = await snapshotTable(ctx, table, detail);
    return again === 'unknown' ? undefined : again;
  };
  const reading = read().catch((error) => {
    if (!(error instanceof StoreError) || error.store !== 'redis') throw error;
    ctx.log({ event: 'buffer-unreadable', dataset: table.dataset, table: table.name, ...describeError(error) });
    return undefined;
  });
  const timeout = new AbortController();
  const wait_ms = Math.max(bufferRead_ms_min, deadline_ms - ctx.now());
  try {
    return await Promise.race([reading, delay(wait_ms, undefined, { signal: timeout.signal }).catch(() => undefined)]);
  } finally {
    timeout.abort();
    reading.catch(() => undefined);
  }
}

/** Rows may have a schema version that this instance has not seen yet, or lie on a shard that the table did not use before. */
async function newestDefinition(ctx: QueryDeps, table: Table, lanes: LaneSnapshot[]): Promise<Table> {
  if (ctx.cluster !== undefined && table.shards.length < lanes.length) {
    const placed = await readTable(ctx, table.dataset, table.name);
    if (placed?.physical === table.physical && placed.shards.length >= lanes.length) return placed;
    throw new StoreError('postgres', `does not know all lanes of table ${table.name} yet`, undefined);
  }
  const version = Math.max(...lanes.map(({ schemaVersion }) => schemaVersion));
  if (version <= table.schema.version) return table;
  const newest = await findTable(ctx, table.dataset, table.name, { version });
  if (newest !== undefined && newest.physical !== table.physical) throw new LifeEndedError(table);
  if (newest === undefined || newest.schema.version < version) {
    throw new StoreError('postgres', `does not know schema version ${version} of table ${table.name} yet`, undefined);
  }
  return newest;
}

function replicaAge_ms({ now_ms, lanes }: Snapshot): number {
  return Math.max(0, ...lanes.flatMap(({ oldest_ms }) => (oldest_ms === undefined ? [] : now_ms - oldest_ms)));
}
