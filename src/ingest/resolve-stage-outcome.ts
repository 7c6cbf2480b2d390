import { quotaHeaders } from '../buffer/quota.ts';
import { TurnLost } from '../buffer/replays.ts';
import { noteLanes } from '../catalog/find-table.ts';
import { LifeEndedError } from '../catalog/life.ts';
import { setUpLanes } from '../catalog/provision-lanes.ts';
import { ApiError } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import { notWritable } from '../schema/table-state.ts';
import type { IngestDeps } from './deps.ts';
import type { ChunksOutcome } from './stage-chunks.ts';

type NotAccepted = Exclude<ChunksOutcome, { outcome: 'accepted' }>;

/**
 * Answers what kept rows from being staged: sets up what is missing, so that they can be staged again, or says why they
 * cannot.
 *
 * @throws TimestoreError; StoreError when a store that this needs is away
 */
export async function throwStageOutcome(ctx: IngestDeps, table: Table, outcome: NotAccepted): Promise<void> {
  const { dataset, name } = table;
  switch (outcome.outcome) {
    case 'unknown':
      // New, or lost: either way the lane is made from the catalogue and ClickHouse, by whoever comes first.
      // Where it was dropped meanwhile, the request makes a new one.
      await setUpLanes(ctx, table).catch((error) => {
        if (!(error instanceof LifeEndedError)) throw error;
      });
      return;
    case 'lanes':
      noteLanes(ctx, table, outcome.lanes, outcome.readLanes);
      return;
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
    `This request was cut into parts when it first came, and its Idempotency-Key is about to be forgotten, or is. The first ` +
      `${stored} rows that it accepted are stored, and the others are not. Send the others under a new key.`,
    { extra: { stored } },
  );
}

function tooManyKeys(
  ctx: IngestDeps,
  dataset: string,
  { bytes, lapseIn_ms, full }: Extract<NotAccepted, { outcome: 'keys' }>,
): ApiError {
  const { idempotency_bytes_max, idempotency_bytes_min } = ctx.config.limits;
  const why =
    full === 'limit'
      ? `at most ${idempotency_bytes_max} (limit idempotency_bytes_max)`
      : `at most ${idempotency_bytes_min} while its memory is nearly full (limit idempotency_bytes_min)`;
  return new ApiError(
    'buffer-full',
    `The keys of requests to dataset ${dataset} that are remembered take ${bytes} bytes of the hot buffer, and may take ${why}. ` +
      'Nothing of this request was stored. Send more rows in each request, or wait until keys are forgotten.',
    { retryAfterMs: Math.max(1_000, lapseIn_ms) },
  );
}

const storedAgain_ms = 3_600_000;

function quotaExceeded(dataset: string, { exceeded, quota }: Extract<NotAccepted, { outcome: 'quota' }>): ApiError {
  const { limit = 0, left = 0 } = quota.left.find(({ name }) => name === exceeded) ?? {};
  const isOfDay = exceeded !== 'storageBytes';
  return new ApiError(
    'quota-exceeded',
    `Dataset ${dataset} may take ${limit} (quota ${exceeded}), and ${left} are left, less than this request has. Nothing of ` +
      `it was stored. ${isOfDay ? 'A new day begins at midnight UTC.' : 'Delete rows, shorten the retention or raise the quota.'}`,
    {
      extra: { quota: exceeded, limit, left },
      headers: quotaHeaders(quota),
      retryAfterMs: isOfDay ? quota.resetIn_ms : storedAgain_ms,
    },
  );
}

const retryLongest_ms = 60_000;

/** Told to wait for as long as the lane needs to drain what this request lacks room for, at the pace of its last flush. */
function bufferFull(
  ctx: IngestDeps,
  name: string,
  { full, pending, drainedRowsPerSecond, needs }: Extract<NotAccepted, { outcome: 'full' }>,
): ApiError {
  const { pending_rows_max, pending_bytes_max } = ctx.config.limits;
  const share = Math.min(1, Math.max(needs.rows / pending_rows_max, needs.bytes / pending_bytes_max));
  // Of a lane that has nothing to drain, others fill the memory: how fast they drain is not known here.
  const drain_ms =
    drainedRowsPerSecond === undefined || pending.rows === 0
      ? retryLongest_ms
      : (1_000 * (full === 'lane' ? share : 1) * pending.rows) / Math.max(1, drainedRowsPerSecond);
  const what =
    full === 'lane'
      ? `The hot buffer of table ${name} holds ${pending.rows} rows that wait for ClickHouse (limits pending_rows_max and ` +
        'pending_bytes_max).'
      : `The hot buffer (Redis) is at its memory limit; ${pending.rows} rows of table ${name} wait for ClickHouse in it.`;
  return new ApiError(
    'buffer-full',
    `${what} Nothing of this request was acknowledged; send it again later with the same Idempotency-Key.`,
    { retryAfterMs: Math.min(retryLongest_ms, Math.max(1_000, Math.ceil(drain_ms))) },
  );
}
