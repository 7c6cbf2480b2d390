import { quotaHeaders } from '../buffer/quota.ts';
import { TurnLost } from '../buffer/replays.ts';
import { findTable, noteLanes } from '../catalog/find-table.ts';
import { LifeEndedError } from '../catalog/life.ts';
import { setUpLanes } from '../catalog/provision-lanes.ts';
import { ApiError } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import { notWritable } from '../schema/table-state.ts';
import type { IngestDeps } from './deps.ts';
import type { ChunksOutcome } from './stage-chunks.ts';

type NotAccepted = Exclude<ChunksOutcome, { outcome: 'accepted' }>;

/**
 * Resolves an outcome without staged rows: repairs the cause, so that the caller can stage again, or throws the reason.
 *
 * @returns the definition to stage with; undefined if the table was dropped meanwhile
 * @throws ApiError; StoreError if a required store is unavailable
 */
export async function resolveStageOutcome(
  ctx: IngestDeps,
  table: Table,
  outcome: NotAccepted,
): Promise<Table | undefined> {
  const { dataset, name } = table;
  switch (outcome.outcome) {
    case 'unknown':
      // The lane is new, or Redis lost it. The first request provisions it from the catalogue and ClickHouse.
      return await setUpLanes(ctx, table).catch((error) => {
        if (!(error instanceof LifeEndedError)) throw error;
        // The table was dropped. Another life may have its name already.
        return findTable(ctx, dataset, name);
      });
    case 'lanes':
      return noteLanes(ctx, table, outcome.lanes, outcome.readLanes);
    case 'reused':
      throw new ApiError(
        'key-reused',
        'This Idempotency-Key was used for another payload. Send a new key with new rows.',
      );
    case 'fenced':
      throw new TurnLost(dataset);
    case 'expired':
      throw keyExpired(outcome.stored);
    case 'keys':
      throw tooManyKeys(ctx, dataset, outcome);
    case 'frozen':
      throw notWritable(dataset, name, outcome.state);
    case 'quota':
      throw quotaExceeded(dataset, outcome);
    case 'full':
      throw bufferFull(ctx, name, outcome);
  }
}

function keyExpired(stored: number): ApiError {
  return new ApiError(
    'key-expired',
    `The Idempotency-Key of this split request has expired or expires soon. The first ${stored} accepted rows are stored, ` +
      `the others are not. Send the others under a new key.`,
    { extra: { stored } },
  );
}

function tooManyKeys(
  ctx: IngestDeps,
  dataset: string,
  { bytes, lapseIn_ms, full }: Extract<NotAccepted, { outcome: 'keys' }>,
): ApiError {
  const { idempotency_bytes_max, idempotency_bytes_min } = ctx.config.limits;
  const allowed =
    full === 'limit'
      ? `at most ${idempotency_bytes_max} (limit idempotency_bytes_max)`
      : `at most ${idempotency_bytes_min} while its memory is nearly full (limit idempotency_bytes_min)`;
  return new ApiError(
    'buffer-full',
    `The idempotency keys of dataset ${dataset} use ${bytes} bytes of the hot buffer; allowed are ${allowed}. ` +
      'Nothing of this request was stored. Send more rows in each request, or wait until keys expire.',
    { retryAfterMs: Math.max(1_000, lapseIn_ms) },
  );
}

const storageRetry_ms = 3_600_000;

function quotaExceeded(dataset: string, { exceeded, quota }: Extract<NotAccepted, { outcome: 'quota' }>): ApiError {
  const { limit = 0, left = 0 } = quota.left.find(({ name }) => name === exceeded) ?? {};
  const isDaily = exceeded !== 'storageBytes';
  return new ApiError(
    'quota-exceeded',
    `Dataset ${dataset} has a quota of ${limit} (${exceeded}); ${left} are left, less than this request needs. Nothing of it ` +
      `was stored. ${isDaily ? 'A new day begins at midnight UTC.' : 'Delete rows, shorten the retention or raise the quota.'}`,
    {
      extra: { quota: exceeded, limit, left },
      headers: quotaHeaders(quota),
      retryAfterMs: isDaily ? quota.resetIn_ms : storageRetry_ms,
    },
  );
}

const retry_ms_max = 60_000;

/** `Retry-After` is the time in which the lane drains enough rows for this request, at the rate of its last flush. */
function bufferFull(
  ctx: IngestDeps,
  name: string,
  { full, pending, drainedRowsPerSecond, needs }: Extract<NotAccepted, { outcome: 'full' }>,
): ApiError {
  const { pending_rows_max, pending_bytes_max } = ctx.config.limits;
  const share = Math.min(1, Math.max(needs.rows / pending_rows_max, needs.bytes / pending_bytes_max));
  // An empty lane means that other lanes fill the memory; their drain rate is unknown here.
  const drain_ms =
    drainedRowsPerSecond === undefined || pending.rows === 0
      ? retry_ms_max
      : (1_000 * (full === 'lane' ? share : 1) * pending.rows) / Math.max(1, drainedRowsPerSecond);
  const cause =
    full === 'lane'
      ? `The hot buffer of table ${name} holds ${pending.rows} rows that are not in ClickHouse yet (limits pending_rows_max and ` +
        'pending_bytes_max).'
      : `The hot buffer (Redis) is at its memory limit; ${pending.rows} rows of table ${name} are not in ClickHouse yet.`;
  return new ApiError(
    'buffer-full',
    `${cause} Nothing of this request was acknowledged; send it again later with the same Idempotency-Key.`,
    { retryAfterMs: Math.min(retry_ms_max, Math.max(1_000, Math.ceil(drain_ms))) },
  );
}
