import { setTimeout as delay } from 'node:timers/promises';
import { type LaneSnapshot, type Snapshot, snapshotTable } from '../../buffer/snapshot.ts';
import { encodeToken, tokenOf, type Watermark } from '../../buffer/watermark-token.ts';
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
import { flushWithin } from '../freshness/wait-for-flush.ts';
import { collectTail, noTail, type Tail } from './tail.ts';

/** What of a table a query reads: the rows of ClickHouse up to its lanes' watermarks, and the tail after them. */
export type ReadSnapshot = {
  /** In the newest version that rows were staged with. */
  table: Table;
  /** Undefined when the hot buffer was not read: then nothing says where ClickHouse's rows end. */
  lanes: LaneSnapshot[] | undefined;
  tail: Tail;
  bufferState: 'ready' | 'unavailable' | 'too-large' | 'skipped';
  /** Every row acknowledged before is in it. */
  isFresh: boolean;
  /** How long the oldest acknowledged row that ClickHouse lacks has waited, by the buffer's clock. Undefined: unknown. */
  age_ms: number | undefined;
  watermark: string | undefined;
  /** Of stored rows, as the snapshot counts them. */
  changes: number | undefined;
  warnings: string[];
  /** An earlier cut that a further page is of: nothing after it counts. */
  pin?: Watermark;
};

/** A look at the hot buffer that cannot hang longer than this, however little a caller would wait. */
const look_ms_min = 1_000;
const poll_ms_max = 500;

/**
 * Reads as much of the hot buffer as the freshness asked for needs, waiting and flushing within the caller's time.
 *
 * @throws TimestoreError `stale-read`; StoreError
 */
export async function takeReadSnapshot(ctx: QueryDeps, table: Table, asked: Freshness): Promise<ReadSnapshot> {
  const required = asked.required.filter(
    ({ dataset, table: name }) => dataset === table.dataset && name === table.name,
  );
  if (asked.consistency === 'eventual' && required.length === 0)
    return unreadSnapshot(table, 'skipped', [eventualWarning]);
  const deadline_ms = ctx.now() + asked.maxWait_ms;
  let lack: Staleness;
  for (let round = 0; ; round += 1) {
    const found = await look(ctx, table, asked, required, deadline_ms);
    if ('cut' in found) return found.cut;
    lack = found.lack;
    const left_ms = deadline_ms - ctx.now();
    // What the buffer has forgotten may be in ClickHouse all the same.
    if (lack.isLost && round === 0 && (await catchUp(ctx, table, lack))) continue;
    if (lack.isLost || left_ms <= 0) break;
    await improve(ctx, table, lack, Math.min(left_ms, 2 ** round * 25, poll_ms_max), left_ms);
  }
  if (asked.consistency !== 'default') throw staleRead(table, lack, asked);
  return await withoutTail(ctx, table, lack, asked, required);
}

async function catchUp(ctx: QueryDeps, table: Table, { snapshot }: Staleness): Promise<boolean> {
  if (snapshot === undefined) return false;
  const shown = await catchUpLanes(ctx, table, snapshot.lanes).catch(() => []);
  return shown.length > 0;
}

/** The cut that an earlier page was of. `cut` was taken with it among what is required, so that it has all of it. */
export function pinSnapshot(cut: ReadSnapshot, pin: Watermark): ReadSnapshot {
  const { lanes = [] } = cut;
  const pinned = pin.lanes.flatMap(([number, , seq]) => {
    const lane = lanes[number];
    return lane === undefined ? [] : [{ ...lane, tail: lane.tail.filter((batch) => batch.seq <= seq) }];
  });
  const tail = cut.tail.rows === 0 ? noTail : collectTail(pinned);
  return { ...cut, tail, pin, watermark: encodeToken(pin) };
}

const eventualWarning =
  'Consistency eventual: the hot buffer was not asked. Rows acknowledged lately may be missing, and a batch may be there in part.';

type Found = { cut: ReadSnapshot } | { lack: Staleness };

async function look(
  ctx: QueryDeps,
  table: Table,
  { consistency, maxStaleness_ms }: Freshness,
  required: Watermark[],
  deadline_ms: number,
): Promise<Found> {
  const read = (want: 'entries' | 'state') => readBuffer(ctx, table, want, deadline_ms);
  if (consistency === 'bounded' || consistency === 'eventual') {
    const state = await read('state');
    if (state === undefined) return { lack: staleness('unavailable', undefined, required) };
    const lack = await lackIn(ctx, table, 'watermark', state, required);
    const isNear = consistency === 'eventual' || ageOf(state) <= maxStaleness_ms;
    if (isNear && lack === undefined) return { cut: await cutAtWatermark(ctx, table, state, 'skipped', []) };
    if (consistency === 'eventual' && lack !== undefined) return { lack };
  }
  const snapshot = await read('entries');
  if (snapshot === undefined) return { lack: staleness('unavailable', undefined, required) };
  if (snapshot.tail !== 'ready') return { lack: staleness('too-large', snapshot, required) };
  const lack = await lackIn(ctx, table, 'sequence', snapshot, required);
  if (lack !== undefined) return { lack };
  const { lanes } = snapshot;
  const newest = await newestOf(ctx, table, lanes);
  const tail = collectTail(lanes);
  const watermark = tokenOf(newest, lanes, 'seq');
  const rest = { bufferState: 'ready' as const, isFresh: true, age_ms: ageOf(snapshot), watermark, warnings: [] };
  return { cut: { table: newest, lanes, tail, changes: snapshot.changes, ...rest } };
}

/** What a snapshot lacks of what is required, by the buffer, and by ClickHouse for what the buffer has no more. */
async function lackIn(
  ctx: QueryDeps,
  table: Table,
  kind: 'watermark' | 'sequence',
  snapshot: Snapshot,
  required: Watermark[],
): Promise<Staleness | undefined> {
  const lack = staleness(kind, snapshot, required);
  const marks = lack === undefined ? marksToProve(snapshot, required) : [];
  if (marks.length === 0) return lack;
  const isLost = await haveOvertakenMarks(ctx, table, marks).catch((error) => {
    // An answer needs ClickHouse for these rows, and fails by itself.
    ctx.log({ event: 'token-unproved', dataset: table.dataset, table: table.name, ...describeError(error) });
    return false;
  });
  return isLost ? { kind, snapshot, required, flushHelps: false, isLost } : undefined;
}

/** ClickHouse alone after all, for who did not ask for more, with a warning that says what is missing. */
async function withoutTail(
  ctx: QueryDeps,
  table: Table,
  lack: Staleness,
  asked: Freshness,
  required: Watermark[],
): Promise<ReadSnapshot> {
  if (lack.snapshot === undefined) {
    if (required.length > 0) throw staleRead(table, lack, asked);
    return unreadSnapshot(table, 'unavailable', [
      `The hot buffer cannot be read: rows of table ${table.name} acknowledged lately may be missing, and a batch may be there in part.`,
    ]);
  }
  const behind = lack.kind === 'too-large' ? await lackIn(ctx, table, 'watermark', lack.snapshot, required) : lack;
  if (behind !== undefined) throw staleRead(table, behind, asked);
  return await cutAtWatermark(ctx, table, lack.snapshot, 'too-large', [
    `More acknowledged rows of table ${table.name} wait to be flushed than can be merged into a query ` +
      '(limits tail_rows_max and tail_bytes_max); they are missing here.',
  ]);
}

/** ClickHouse as it is, of which nothing says where it ends. */
export function unreadSnapshot(table: Table, bufferState: 'unavailable' | 'skipped', warnings: string[]): ReadSnapshot {
  const unknown = { lanes: undefined, age_ms: undefined, watermark: undefined, changes: undefined };
  return { table, tail: noTail, bufferState, isFresh: false, warnings, ...unknown };
}

async function cutAtWatermark(
  ctx: QueryDeps,
  table: Table,
  snapshot: Snapshot,
  bufferState: 'too-large' | 'skipped',
  warnings: string[],
): Promise<ReadSnapshot> {
  const { lanes } = snapshot;
  return {
    table: await newestOf(ctx, table, lanes),
    lanes,
    tail: noTail,
    bufferState,
    warnings,
    isFresh: lanes.every(({ seq, watermark }) => seq === watermark),
    age_ms: ageOf(snapshot),
    changes: snapshot.changes,
    watermark: tokenOf(table, lanes, 'watermark'),
  };
}

/** A flush where it helps, and a pause in any case. */
async function improve(
  ctx: QueryDeps,
  table: Table,
  lack: Staleness,
  pause_ms: number,
  left_ms: number,
): Promise<void> {
  const pause = delay(pause_ms);
  if (lack.flushHelps) await flushWithin(ctx, table, left_ms);
  await pause;
}

/** Undefined when Redis is away. A lane that it has lost is set up again first. */
async function readBuffer(
  ctx: QueryDeps,
  table: Table,
  want: 'entries' | 'state',
  deadline_ms: number,
): Promise<Snapshot | undefined> {
  const ask = async () => {
    const snapshot = await snapshotTable(ctx, table, want);
    if (snapshot !== 'unknown') return snapshot;
    await setUpLanes(ctx, table);
    const again = await snapshotTable(ctx, table, want);
    return again === 'unknown' ? undefined : again;
  };
  const asked = ask().catch((error) => {
    if (!(error instanceof StoreError) || error.store !== 'redis') throw error;
    ctx.log({ event: 'buffer-unreadable', dataset: table.dataset, table: table.name, ...describeError(error) });
    return undefined;
  });
  const late = new AbortController();
  const wait_ms = Math.max(look_ms_min, deadline_ms - ctx.now());
  try {
    return await Promise.race([asked, delay(wait_ms, undefined, { signal: late.signal }).catch(() => undefined)]);
  } finally {
    late.abort();
    asked.catch(() => undefined);
  }
}

/** Rows may have come with a schema version that this instance has not seen, or on a shard that had none. */
async function newestOf(ctx: QueryDeps, table: Table, lanes: LaneSnapshot[]): Promise<Table> {
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

function ageOf({ now_ms, lanes }: Snapshot): number {
  return Math.max(0, ...lanes.flatMap(({ oldest_ms }) => (oldest_ms === undefined ? [] : now_ms - oldest_ms)));
}
