import { setTimeout as delay } from 'node:timers/promises';
import type { z } from 'zod';
import { type LaneSnapshot, type Snapshot, snapshotTable } from '../buffer/snapshot.ts';
import { findTable } from '../catalog/find-table.ts';
import { setUpLanes } from '../catalog/set-up-lanes.ts';
import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { StoreError, TimestoreError } from '../errors.ts';
import { flushTable } from '../flush/flush-table.ts';
import { describeError } from '../log.ts';
import { clickhouseType } from '../schema/types.ts';
import { planQuery, type QueryPlan, type queryBody } from './request.ts';
import { type RowsAnswer, runRows, TailRefused } from './run.ts';
import type { Fence } from './sql.ts';
import { type Tail, tailOf } from './tail.ts';
import { tokenOf } from './token.ts';

export type FreshnessMode = 'replica-only' | 'replica+hot-buffer';
export type BufferState = 'ready' | 'unavailable' | 'too-large';

export type QueryResult = {
  /** One JSON text a row, exactly as ClickHouse wrote it. */
  rows: string[];
  columns: string[];
  types: string[];
  warnings: string[];
  sources: Pick<RowsAnswer, 'published' | 'hotBuffer'>;
  freshness: {
    mode: FreshnessMode;
    /** Undefined when unknown. */
    replicaAge_ms: number | undefined;
    watermark: string | undefined;
  };
  streaming: { bufferState: BufferState; rows: number; latest_ms: number | undefined; fresh: boolean };
};

const noTail: Tail = { rows: 0, latest_ms: undefined, ndjson: '' };

/**
 * Answers a query for rows with everything acknowledged before it began, or says in its warnings why not.
 *
 * @throws TimestoreError for a query that cannot be answered; StoreError when ClickHouse is away
 */
export async function queryRows(ctx: Context, dataset: string, body: z.output<typeof queryBody>): Promise<QueryResult> {
  const table = await requireTable(ctx, dataset, body.tableName);
  let snapshot = await readBuffer(ctx, table);
  if (snapshot?.tail === 'too-large') {
    await flushWithin(ctx, table, ctx.config.limits.query_wait_ms);
    snapshot = await readBuffer(ctx, table);
  }
  const current = snapshot === undefined ? table : await newestOf(ctx, table, snapshot);
  if (snapshot?.tail !== 'ready') return await replicaOnly(ctx, current, body, snapshot);

  const plan = planQuery(body, current, ctx.config.limits);
  const tail = tailOf(snapshot.lanes, current.schema);
  const answer = await oneCut(ctx, current, plan, snapshot.lanes, (fence) =>
    runRows(ctx, current, plan, fence, tail).catch((error) => tailRefused(ctx, current, error)),
  );
  const { now_ms, lanes } = snapshot;
  return {
    ...describe(current, plan, answer),
    warnings: [],
    freshness: {
      mode: tail.rows > 0 ? 'replica+hot-buffer' : 'replica-only',
      replicaAge_ms: ageOf(now_ms, lanes),
      watermark: tokenOf(current, lanes, (lane) => lane.seq),
    },
    streaming: { bufferState: 'ready', rows: tail.rows, latest_ms: tail.latest_ms, fresh: true },
  };
}

/**
 * Runs a read so that a flush in the middle of it cannot show. Lanes with a seal are fenced at their watermark; the
 * others are not, which is faster, and are proved afterwards to have had no seal meanwhile: a flush that has not begun
 * when the answer is complete has inserted nothing. Otherwise the read runs again with a fence on every lane.
 */
async function oneCut<Answer>(
  ctx: Context,
  table: Table,
  plan: QueryPlan,
  lanes: LaneSnapshot[],
  run: (fence: Fence) => Promise<Answer>,
): Promise<Answer> {
  const open = lanes.filter((lane) => lane.sealedTo === undefined);
  if (open.length === 0) return await run(everywhere(lanes));
  const answer = await run({ lanes: lanes.filter((lane) => lane.sealedTo !== undefined) });
  const after = await snapshotTable(ctx, table, 'state');
  if (after !== 'unknown' && after.lanes.length === lanes.length && open.every((lane) => isUnchanged(lane, after))) {
    return answer;
  }
  ctx.log({ event: 'query-fenced', dataset: table.dataset, table: table.name, columns: plan.columns.length });
  return await run(everywhere(lanes));
}

function everywhere(lanes: LaneSnapshot[]): Fence {
  return { lanes, below: lanes.length };
}

function isUnchanged(before: LaneSnapshot, { lanes }: Snapshot): boolean {
  const after = lanes[before.lane];
  return after !== undefined && after.epoch === before.epoch && after.incarnation === before.incarnation;
}

/** ClickHouse alone, with a warning that says what is missing. */
async function replicaOnly(
  ctx: Context,
  table: Table,
  body: z.output<typeof queryBody>,
  snapshot: Snapshot | undefined,
): Promise<QueryResult> {
  const plan = planQuery(body, table, ctx.config.limits);
  const answer = await runRows(
    ctx,
    table,
    plan,
    snapshot === undefined ? { lanes: [] } : everywhere(snapshot.lanes),
    noTail,
  );
  const bare = { rows: 0, latest_ms: undefined, fresh: false };
  if (snapshot === undefined) {
    return {
      ...describe(table, plan, answer),
      warnings: [
        'The hot buffer cannot be read: rows acknowledged lately may be missing, and a batch may be there in part.',
      ],
      freshness: { mode: 'replica-only', replicaAge_ms: undefined, watermark: undefined },
      streaming: { bufferState: 'unavailable', ...bare },
    };
  }
  const { lanes, now_ms } = snapshot;
  return {
    ...describe(table, plan, answer),
    warnings: [
      `${lanes.reduce((sum, lane) => sum + lane.pendingRows, 0)} acknowledged rows wait to be flushed, more than can be ` +
        'merged into a query (limits tail_rows_max and tail_bytes_max), and are missing here.',
    ],
    freshness: {
      mode: 'replica-only',
      replicaAge_ms: ageOf(now_ms, lanes),
      watermark: tokenOf(table, lanes, (lane) => lane.watermark),
    },
    streaming: { bufferState: 'too-large', ...bare },
  };
}

/** Rows that ClickHouse cannot read are set aside by the flush; until then there is no exact answer. */
async function tailRefused(ctx: Context, table: Table, error: unknown): Promise<never> {
  if (!(error instanceof TailRefused)) throw error;
  await flushWithin(ctx, table, ctx.config.limits.query_wait_ms);
  throw new StoreError(
    'clickhouse',
    'refused rows that wait to be flushed; a flush has begun to set them aside',
    error,
  );
}

/** A flush that may make the tail small enough. One that takes longer is left to itself: being cut off does it no harm. */
async function flushWithin(ctx: Context, table: Table, wait_ms: number): Promise<void> {
  const flush = flushTable(ctx, table, 'query', ctx.now() + wait_ms).catch((error) => {
    ctx.log({ event: 'query-flush-failed', dataset: table.dataset, table: table.name, ...describeError(error) });
  });
  await Promise.race([flush, delay(wait_ms)]);
}

async function requireTable(ctx: Context, dataset: string, name: string): Promise<Table> {
  const table = await findTable(ctx, dataset, name);
  if (table === undefined) throw new TimestoreError('not-found', `There is no table ${name} in dataset ${dataset}.`);
  return table;
}

/** Undefined when Redis is away. A lane that it has lost is set up again first. */
async function readBuffer(ctx: Context, table: Table): Promise<Snapshot | undefined> {
  try {
    const snapshot = await snapshotTable(ctx, table, 'entries');
    if (snapshot !== 'unknown') return snapshot;
    await setUpLanes(ctx, table);
    const again = await snapshotTable(ctx, table, 'entries');
    return again === 'unknown' ? undefined : again;
  } catch (error) {
    if (!(error instanceof StoreError) || error.store !== 'redis') throw error;
    ctx.log({ event: 'buffer-unreadable', dataset: table.dataset, table: table.name, ...describeError(error) });
    return undefined;
  }
}

/** Rows may have come with a schema version that this instance has not seen. */
async function newestOf(ctx: Context, table: Table, { lanes }: Snapshot): Promise<Table> {
  const version = Math.max(...lanes.map(({ schemaVersion }) => schemaVersion));
  if (version <= table.schema.version) return table;
  const newest = await findTable(ctx, table.dataset, table.name, { version });
  if (newest === undefined || newest.schema.version < version) {
    throw new StoreError('postgres', `does not know schema version ${version} of table ${table.name} yet`, undefined);
  }
  return newest;
}

function describe(table: Table, plan: QueryPlan, { rows, published, hotBuffer }: RowsAnswer) {
  const { schema } = table;
  const types = new Map(schema.fields.map((field) => [field.name, clickhouseType(field, schema)]));
  return {
    rows,
    columns: plan.columns,
    types: plan.columns.map((column) => types.get(column) ?? ''),
    sources: { published, hotBuffer },
  };
}

/** How long the oldest acknowledged row that is not in ClickHouse has waited, by the buffer's clock; 0 if there is none. */
function ageOf(now_ms: number, lanes: LaneSnapshot[]): number {
  return Math.max(0, ...lanes.flatMap(({ oldest_ms }) => (oldest_ms === undefined ? [] : now_ms - oldest_ms)));
}
