import { noteLanes } from '../catalog/find-table.ts';
import { setUpLanes } from '../catalog/set-up-lanes.ts';
import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { TimestoreError } from '../errors.ts';
import type { ChunksOutcome } from './stage-chunks.ts';

type NotAccepted = Exclude<ChunksOutcome, { outcome: 'accepted' }>;

/**
 * Answers what kept rows from being staged: sets up what is missing, so that they can be staged again, or says why they
 * cannot.
 *
 * @throws TimestoreError; StoreError when a store that this needs is away
 */
export async function settle(ctx: Context, table: Table, outcome: NotAccepted): Promise<void> {
  const { dataset, name } = table;
  switch (outcome.outcome) {
    case 'unknown':
      // New, or lost: either way the lane is made from the catalogue and ClickHouse, by whoever comes first.
      await setUpLanes(ctx, table);
      return;
    case 'lanes':
      noteLanes(ctx, table, outcome.lanes, outcome.readLanes);
      return;
    case 'reused':
      throw new TimestoreError(
        'key-reused',
        'This Idempotency-Key was used for another payload. Send a new key with new rows.',
      );
    case 'frozen':
      throw new TimestoreError(
        'dataset-frozen',
        `Writes to table ${name} of dataset ${dataset} are stopped for a cutover.`,
        { retryAfterMs: 5_000 },
      );
    case 'full':
      throw bufferFull(ctx, name, outcome);
  }
}

const retryLongest_ms = 60_000;

/** Told to wait for as long as the lane needs to drain what this request lacks room for, at the pace of its last flush. */
function bufferFull(
  ctx: Context,
  name: string,
  { pending, drainedRowsPerSecond, needs }: Extract<NotAccepted, { outcome: 'full' }>,
): TimestoreError {
  const { pending_rows_max, pending_bytes_max } = ctx.config.limits;
  const share = Math.min(1, Math.max(needs.rows / pending_rows_max, needs.bytes / pending_bytes_max));
  const drain_ms =
    drainedRowsPerSecond === undefined
      ? retryLongest_ms
      : (1_000 * share * pending.rows) / Math.max(1, drainedRowsPerSecond);
  return new TimestoreError(
    'buffer-full',
    `The hot buffer of table ${name} holds ${pending.rows} rows that wait for ClickHouse (limits pending_rows_max and ` +
      'pending_bytes_max). Nothing of this request was acknowledged; send it again later with the same Idempotency-Key.',
    { retryAfterMs: Math.min(retryLongest_ms, Math.max(1_000, Math.ceil(drain_ms))) },
  );
}
