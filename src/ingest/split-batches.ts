import type { ChunkPlan } from '../buffer/chunk-plan.ts';
import type { Batch } from '../buffer/stage.ts';
import type { PreparedRows } from '../schema/prepare.ts';
import { type PartitionWindow, windowOf } from '../schema/window.ts';

/** About what a row's place and its line break add. */
const rowOverhead_bytes = 16;

/** Cuts a request into chunks of at most so many bytes; a row that is larger is one by itself. */
export function planChunks({ lines, refused }: PreparedRows, bytesMax: number): ChunkPlan {
  const quarantined = refused.map(({ index }) => index);
  // Nearly every request is small enough without a count of its bytes: a UTF-16 unit is at most 3 of UTF-8.
  const unitsMax = (bytesMax - lines.length * rowOverhead_bytes) / 3;
  if (lines.reduce((sum, line) => sum + line.length, 0) <= unitsMax) return { rows: [lines.length], quarantined };
  const chunks: number[] = [];
  let rows = 0;
  let bytes = 0;
  for (const line of lines) {
    const added = Buffer.byteLength(line) + rowOverhead_bytes;
    if (rows > 0 && bytes + added > bytesMax) {
      chunks.push(rows);
      rows = 0;
      bytes = 0;
    }
    rows += 1;
    bytes += added;
  }
  chunks.push(rows);
  return { rows: chunks, quarantined };
}

/**
 * The chunks in their order, each made when it is asked for: a request's bytes are there often enough without them. Their
 * lines are taken out of `rows`: thousands of small strings for each request that waits for the hot buffer would have to be
 * gone through by every collection of garbage.
 */
export function* cutBatches(rows: PreparedRows, plan: ChunkPlan, window: PartitionWindow): Generator<Batch, void> {
  for (const count of plan.rows) yield takeBatch(rows, count, window);
}

function takeBatch(rows: PreparedRows, count: number, window: PartitionWindow): Batch {
  const lines = rows.lines.splice(0, count);
  const times_ms = rows.times_ms.splice(0, count);
  return {
    payload: lines.map((line, row) => `{"_row":${row},${line}\n`).join(''),
    rows: lines.length,
    timeMin_ms: times_ms.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    timeMax_ms: times_ms.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY),
    windows: [...new Set(times_ms.map((time_ms) => windowOf(window, time_ms)))],
  };
}

/** About the bytes of all chunks of a request. */
export function bytesOf({ lines }: PreparedRows): number {
  return lines.reduce((sum, line) => sum + line.length + rowOverhead_bytes, 0);
}
