import { setTimeout as delay } from 'node:timers/promises';
import { dueLanes } from '../buffer/due.ts';
import { findTable } from '../catalog/find-table.ts';
import type { Context } from '../context.ts';
import { describeError } from '../log.ts';
import { logicalName, type TableRef } from '../names.ts';
import { flushLane } from './flush-lane.ts';
import { tryDrainingOutbox } from './outbox.ts';

const lanesInPass = 1_000;
/** Of the six connections an invocation has, a flush uses one or two. */
const lanesAtOnce = 3;

export type PassResult = { lanes: number; rows: number; failed: number };

/**
 * One pass over all lanes with pending rows, the one that waits longest first, each until it is empty or its share is
 * over. A lane that fails waits for the next pass and holds up no other.
 */
export async function flushDue(ctx: Context, deadline_ms: number): Promise<PassResult> {
  const result: PassResult = { lanes: 0, rows: 0, failed: 0 };
  const waiting = await dueLanes(ctx, lanesInPass);
  result.lanes = waiting.length;
  const work = async () => {
    for (let due = waiting.shift(); due !== undefined && ctx.now() < deadline_ms; due = waiting.shift()) {
      try {
        const flushed = await flushDueLane(ctx, due);
        result.rows += flushed.rows;
        // Behind those that have not had a turn yet.
        if (flushed.more) waiting.push(due);
      } catch {
        result.failed += 1; // told in the flush's own event
      }
    }
  };
  await Promise.all(Array.from({ length: lanesAtOnce }, work));
  return result;
}

/**
 * What a cron trigger runs: passes, a few seconds apart, as long as there is something to flush. An idle deployment asks
 * once and is done.
 */
export async function flushWhileDue(
  ctx: Context,
  { pause_ms, until_ms }: { pause_ms: number; until_ms: number },
): Promise<void> {
  for (;;) {
    const pass = await flushDue(ctx, until_ms);
    if (pass.lanes > 0) await tryDrainingOutbox(ctx);
    if (pass.lanes === 0 || ctx.now() + pause_ms >= until_ms) return;
    await delay(pause_ms);
  }
}

async function flushDueLane(ctx: Context, { table: ref, lane }: { table: TableRef; lane: number }) {
  const nothing = { rows: 0, more: false };
  try {
    const table = await findTable(ctx, ref.dataset, logicalName(ref.physical));
    // Of an earlier life, or dropped: its rows have nowhere to go.
    if (table === undefined || table.physical !== ref.physical) return nothing;
    const { outcome, rows, more } = await flushLane(ctx, table, lane, 'cron');
    return { rows, more: more && outcome === 'ok' };
  } catch (error) {
    ctx.log({ event: 'flush-due-failed', dataset: ref.dataset, table: ref.physical, lane, ...describeError(error) });
    throw error;
  }
}
