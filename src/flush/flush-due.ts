import { setTimeout as delay } from 'node:timers/promises';
import { dueWork } from '../buffer/due.ts';
import type { FlushTrigger } from '../buffer/flush-trigger.ts';
import { findTable } from '../catalog/find-table.ts';
import { atLane } from '../catalog/lane-location.ts';
import { tryDrainingManifestOutbox } from '../catalog/manifest-outbox.ts';
import { StoreError } from '../core/errors.ts';
import { lifeOf, logicalName, type TableRef } from '../core/identifiers.ts';
import { describeError } from '../core/log.ts';
import type { Table } from '../schema/table.ts';
import type { FlushDeps, FlushNode } from './deps.ts';
import { flushLane } from './flush-lane.ts';

export const lanesInPass = 1_000;
/** A flush uses one or two of the six connections of an invocation. */
const lanesAtOnce = 3;
const aliveWithin_ms = 3_000;
/** Wait before a retry of a lane that another flush holds. */
const busy_ms = 250;

export type PassResult = {
  lanes: number;
  rows: number;
  failed: number;
  /** ClickHouse or some of its shards are unavailable; their other lanes were skipped. */
  stopped: boolean;
  /** Lanes that may have more to flush: the time was over, or more lanes are due than a pass handles. */
  left: number;
  hasJobs: boolean;
};

/**
 * One pass over all due lanes, the longest waiting first. Each lane moves one seal and then queues behind the others, so that a
 * long backlog does not delay them. A failed lane waits, longer after each failure. The pass skips all lanes of an unavailable
 * shard, because each attempt would wait for a timeout.
 */
export async function flushDue(
  ctx: FlushDeps,
  deadline_ms: number,
  trigger: FlushTrigger = 'cron',
): Promise<PassResult> {
  // A requested flush includes lanes that wait for a retry.
  const { lanes: waiting, hasJobs } = await dueWork(ctx, lanesInPass, trigger === 'admin' ? 'all' : 'due');
  const result: PassResult = { lanes: 0, rows: 0, failed: 0, stopped: false, left: 0, hasJobs };
  result.lanes = waiting.length;
  const unavailable = new Set<number>();
  let skipped = 0;
  const work = async () => {
    while (ctx.now() < deadline_ms && unavailable.size < (ctx.cluster?.shards.length ?? 1)) {
      const due = waiting.shift();
      if (due === undefined) return;
      const flushed = await flushDueLane(ctx, due, trigger, unavailable);
      if (flushed.isSkipped) skipped += 1;
      result.rows += flushed.rows;
      // A requested flush also waits for lanes that another flush holds.
      const isHeldElsewhere = flushed.isElsewhere && trigger === 'admin';
      if (isHeldElsewhere) await delay(busy_ms);
      if (flushed.more || isHeldElsewhere) waiting.push(due);
      if (flushed.failure === undefined) continue;
      result.failed += 1; // the event of the flush has the error
      const { error, node } = flushed.failure;
      if (!(error instanceof StoreError) || error.store !== 'clickhouse' || node === undefined) continue;
      if (!(await isAvailable(node))) unavailable.add(node.shard);
    }
  };
  await Promise.all(Array.from({ length: lanesAtOnce }, work));
  result.stopped = unavailable.size > 0;
  result.left = waiting.length + skipped + (result.lanes === lanesInPass ? 1 : 0);
  return result;
}

async function isAvailable({ clickhouse }: FlushNode): Promise<boolean> {
  return await clickhouse.send({ settings: {}, body: 'SELECT 1', timeout_ms: aliveWithin_ms }).then(
    () => true,
    () => false,
  );
}

/** Undefined for a dropped table or an earlier life, whose rows have no destination. */
async function dueTable(ctx: FlushDeps, ref: TableRef): Promise<Table | undefined> {
  const table = await findTable(ctx, ref.dataset, logicalName(ref.physical), { life: lifeOf(ref.physical) });
  return table?.physical === ref.physical ? table : undefined;
}

/** The schedule of repeated passes, and callbacks for due jobs and due lanes. */
export type Passes = { pause_ms: number; until_ms: number; onJobs?: () => void; onLanes?: () => void };

/**
 * Runs passes, a few seconds apart, while lanes are due: the work of a cron trigger. An idle deployment needs one Redis call.
 */
export async function flushWhileDue(ctx: FlushDeps, { pause_ms, until_ms, onJobs, onLanes }: Passes): Promise<void> {
  for (;;) {
    const pass = await flushDue(ctx, until_ms);
    if (pass.hasJobs) onJobs?.();
    if (pass.lanes > 0) onLanes?.();
    if (pass.lanes > 0) await tryDrainingManifestOutbox(ctx);
    if (pass.lanes === 0 || ctx.now() + pause_ms >= until_ms) return;
    await delay(pause_ms);
  }
}

type DueFlush = {
  rows: number;
  more: boolean;
  isElsewhere: boolean;
  isSkipped: boolean;
  /** The logged error, StoreError or ClickHouseError, and the node of the lane if it was known. */
  failure?: { error: unknown; node: FlushNode | undefined };
};

const noFlush: DueFlush = { rows: 0, more: false, isElsewhere: false, isSkipped: false };

/**
 * Flushes one seal of a due lane.
 *
 * @param unavailable shards to skip
 */
export async function flushDueLane(
  ctx: FlushDeps,
  { table: ref, lane }: { table: TableRef; lane: number },
  trigger: FlushTrigger,
  unavailable: ReadonlySet<number> = new Set(),
): Promise<DueFlush> {
  let node: FlushNode | undefined;
  try {
    // A due lane names its table, so that cron and queue are the border of this lookup.
    const table = await dueTable(ctx, ref);
    if (table === undefined) return noFlush;
    node = await atLane(ctx, table, lane);
    if (unavailable.has(node.shard)) return { ...noFlush, isSkipped: true };
    const { outcome, rows, more } = await flushLane(ctx, table, lane, trigger);
    return {
      ...noFlush,
      rows,
      more: more && outcome === 'ok',
      isElsewhere: outcome === 'busy' || outcome === 'fenced',
    };
  } catch (error) {
    ctx.log({ event: 'flush-due-failed', dataset: ref.dataset, table: ref.physical, lane, ...describeError(error) });
    return { ...noFlush, failure: { error, node } };
  }
}
