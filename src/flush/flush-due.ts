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
import type { FlushDeps } from './deps.ts';
import { flushLane } from './flush-lane.ts';

const lanesInPass = 1_000;
/** Of the six connections an invocation has, a flush uses one or two. */
const lanesAtOnce = 3;
const aliveWithin_ms = 3_000;
/** Before a lane is tried again that another flush holds. */
const busy_ms = 250;

export type PassResult = {
  lanes: number;
  rows: number;
  failed: number;
  /** ClickHouse is away, or shards of it: their other lanes were not tried. */
  stopped: boolean;
  /** Lanes that may have more to flush: there was no time for them, or there are more than a pass looks at. */
  left: number;
  hasJobs: boolean;
};

/**
 * One pass over all lanes whose turn it is, the one that waits longest first. Each moves one seal and then goes behind
 * those that have not had a turn, so that catching up holds nobody up. A lane that fails waits, longer each time; while
 * its shard is away the pass goes without all lanes of it, since each try would cost the time of an answer that does not come.
 */
export async function flushDue(
  ctx: FlushDeps,
  deadline_ms: number,
  trigger: FlushTrigger = 'cron',
): Promise<PassResult> {
  // Who asks for a flush asks for all of it.
  const { lanes: waiting, hasJobs } = await dueWork(ctx, lanesInPass, trigger === 'admin' ? 'all' : 'due');
  const result: PassResult = { lanes: 0, rows: 0, failed: 0, stopped: false, left: 0, hasJobs };
  result.lanes = waiting.length;
  const away = new Set<number>();
  let passedOver = 0;
  const work = async () => {
    while (ctx.now() < deadline_ms && away.size < (ctx.cluster?.shards.length ?? 1)) {
      const due = waiting.shift();
      if (due === undefined) return;
      try {
        const flushed = await flushDueLane(ctx, due, trigger, away);
        if (flushed.isPassedOver) passedOver += 1;
        result.rows += flushed.rows;
        // Who asks for a flush asks for what another one has not moved, too.
        const isToCome = flushed.isElsewhere && trigger === 'admin';
        if (isToCome) await delay(busy_ms);
        if (flushed.more || isToCome) waiting.push(due);
      } catch (error) {
        result.failed += 1; // told in the flush's own event
        if (!(error instanceof StoreError) || error.store !== 'clickhouse') continue;
        const shard = await awayAt(ctx, due).catch(() => undefined);
        if (shard !== undefined) away.add(shard);
      }
    }
  };
  await Promise.all(Array.from({ length: lanesAtOnce }, work));
  result.stopped = away.size > 0;
  result.left = waiting.length + passedOver + (result.lanes === lanesInPass ? 1 : 0);
  return result;
}

/** The shard of a lane, if it is away. */
async function awayAt(ctx: FlushDeps, due: { table: TableRef; lane: number }): Promise<number | undefined> {
  const table = await dueTable(ctx, due.table);
  if (table === undefined) return undefined;
  const { clickhouse, shard } = await atLane(ctx, table, due.lane);
  return await clickhouse.send({ settings: {}, body: 'SELECT 1', timeout_ms: aliveWithin_ms }).then(
    () => undefined,
    () => shard,
  );
}

/** Undefined for one of an earlier life, or dropped: its rows have nowhere to go. */
async function dueTable(ctx: FlushDeps, ref: TableRef): Promise<Table | undefined> {
  const table = await findTable(ctx, ref.dataset, logicalName(ref.physical), { life: lifeOf(ref.physical) });
  return table?.physical === ref.physical ? table : undefined;
}

/** How passes follow each other, and what is done when one finds that there are jobs, or lanes that are due. */
export type Passes = { pause_ms: number; until_ms: number; onJobs?: () => void; onLanes?: () => void };

/**
 * What a cron trigger runs: passes, a few seconds apart, as long as there is something to flush. An idle deployment asks
 * once and is done.
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

type DueFlush = { rows: number; more: boolean; isElsewhere: boolean; isPassedOver: boolean };

const nothing: DueFlush = { rows: 0, more: false, isElsewhere: false, isPassedOver: false };

/**
 * Flushes one seal of a lane that was due.
 *
 * @param away shards that are not tried
 * @throws StoreError, ClickHouseError
 */
export async function flushDueLane(
  ctx: FlushDeps,
  { table: ref, lane }: { table: TableRef; lane: number },
  trigger: FlushTrigger,
  away: ReadonlySet<number> = new Set(),
): Promise<DueFlush> {
  try {
    const table = await dueTable(ctx, ref);
    if (table === undefined) return nothing;
    const { shard } = await atLane(ctx, table, lane);
    if (away.has(shard)) return { ...nothing, isPassedOver: true };
    const { outcome, rows, more } = await flushLane(ctx, table, lane, trigger);
    return {
      ...nothing,
      rows,
      more: more && outcome === 'ok',
      isElsewhere: outcome === 'busy' || outcome === 'fenced',
    };
  } catch (error) {
    ctx.log({ event: 'flush-due-failed', dataset: ref.dataset, table: ref.physical, lane, ...describeError(error) });
    throw error;
  }
}
