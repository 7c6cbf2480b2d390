import type { ChunkPlan } from '../buffer/chunk-plan.ts';
import type { Batch } from '../buffer/stage.ts';
import type { PreparedRows } from '../schema/prepare.ts';
import { type PartitionWindow, windowOf } from '../schema/window.ts';

/** Approximate bytes of a row's index and line break. */
const rowOverhead_bytes = 16;

/** Splits a request into chunks of at most `bytes_max`; a larger row is a chunk of its own. */
export function planChunks({ lines, refused }: PreparedRows, bytes_max: number): ChunkPlan {
  const quarantined = refused.map(({ index }) => index);
  // Avoids counting bytes for small requests: a UTF-16 unit has at most 3 bytes in UTF-8.
  const units_max = (bytes_max - lines.length * rowOverhead_bytes) / 3;
  if (lines.reduce((sum, line) => sum + line.length, 0) <= units_max) return { rows: [lines.length], quarantined };
  const chunks: number[] = [];
  let rows = 0;
  let bytes = 0;
  for (const line of lines) {
    const added = Buffer.byteLength(line) + rowOverhead_bytes;
    if (rows > 0 && bytes + added > bytes_max) {
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
 * Builds the chunks in order, one at a time, to save memory. Removes their lines from `rows`, because the garbage collector
 * would visit thousands of small strings for each request that waits for the hot buffer.
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

/** Approximate bytes of all chunks of a request. */
export function estimateBytes({ lines }: PreparedRows): number {
  return lines.reduce((sum, line) => sum + line.length + rowOverhead_bytes, 0);
}
