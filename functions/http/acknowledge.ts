import type { Context } from 'hono';
import * as z from 'zod';
import { quotaHeaders } from '../../src/buffer/quota.ts';
import { tryDrainingManifestOutbox } from '../../src/catalog/manifest-outbox.ts';
import { describeError } from '../../src/core/log.ts';
import { flushLane } from '../../src/flush/flush-lane.ts';
import { flushTable } from '../../src/flush/flush-table.ts';
import { idempotencyKey } from '../../src/ingest/idempotency-key.ts';
import type { Accepted, IngestResult } from '../../src/ingest/ingest.ts';
import { countRejectedRows } from '../../src/ingest/rejected-rows.ts';
import type { App } from './app.ts';

const invalidRow = z.object({
  index: z.int().meta({ description: 'index of the row in the request, from 0' }),
  field: z.string().nullable(),
  reason: z.string().meta({ description: 'a stable code' }),
  detail: z.string().optional(),
  oldType: z.string().optional().meta({ description: 'type of the field, if the value has another type' }),
  newType: z.string().optional(),
});

/** The response to accepted rows. */
export const acceptedSchema = z
  .object({
    batchId: z.string().meta({ description: 'id of the batch, for its receipt' }),
    accepted: z.int(),
    rejected: z.int(),
    quarantined: z.int().meta({ description: 'invalid rows that were put into the quarantine of the dataset' }),
    errors: z.array(invalidRow).meta({ description: 'the first 100 invalid rows' }),
    replayed: z
      .boolean()
      .meta({ description: 'true if the same request was accepted before; nothing was stored twice' }),
    chunks: z
      .int()
      .optional()
      .meta({ description: 'number of chunks of a large request; a query includes all rows of a chunk or none' }),
    watermark: z.string().meta({ description: 'token that a query requires in order to include these rows' }),
  })
  .meta({ id: 'Accepted' });

export const acceptedHeaders = {
  'Idempotency-Replayed': '`true` if the same request was accepted before',
  RateLimit: 'the remaining quotas of the dataset, if it has quotas',
  'RateLimit-Policy': 'the quotas of the dataset',
};

/** The acknowledgement that a client waits for, and the handling of invalid rows. */
export const ingestQuery = z.object({
  ack: z
    .enum(['buffered', 'durable', 'flushed'])
    .default('buffered')
    .meta({
      description:
        '`buffered` (default): the response is sent when the hot buffer has the rows; `durable`: when its replicas, if any, have ' +
        'them too; `flushed`: when ClickHouse has them',
    }),
  onError: z
    .enum(['reject', 'quarantine'])
    .default('reject')
    .meta({
      description:
        '`reject` (default): an invalid row rejects all rows; `quarantine`: invalid rows are put into the quarantine of the ' +
        'dataset, and the other rows are accepted',
    }),
});

/** @param description the effect of a repeated key on the route */
export const idempotencyHeader = (description: string) => ({
  'Idempotency-Key': idempotencyKey.optional().meta({ description }),
});

/** Separates the keys of clients from those that Timestore generates. */
export function clientKey(sent: string | undefined): string | undefined {
  return sent === undefined ? undefined : `client:${sent}`;
}

/** Maximum wait of a client for a flush. */
const ackLongest_ms = 25_000;

/**
 * Flushes until everything acknowledged so far is published.
 *
 * @returns the accepted rows, with the rows that ClickHouse rejected counted as quarantined; undefined after the maximum wait
 */
export async function flushBeforeResponse(c: Context<App>, result: IngestResult): Promise<Accepted | undefined> {
  const { table, batches, accepted } = result;
  const ctx = c.get('ctx');
  const { complete } = await flushTable(ctx, table, 'ack', ctx.now() + ackLongest_ms).catch((error) => {
    ctx.log({ event: 'ack-flush-failed', dataset: table.dataset, table: table.name, ...describeError(error) });
    return { complete: false };
  });
  await tryDrainingManifestOutbox(ctx);
  if (!complete) return undefined;
  const refused = await countRejectedRows(ctx, table, batches);
  return { ...accepted, accepted: accepted.accepted - refused, quarantined: accepted.quarantined + refused };
}

/** Cloudflare stops background work 30 s after the response. */
const backgroundInsert_ms = 15_000;

/** Starts a flush if enough rows are pending. The response does not wait for it. */
export function flushInBackground(c: Context<App>, { flush, table, lane }: IngestResult): void {
  if (flush === undefined) return;
  const ctx = c.get('ctx');
  const work = async () => {
    const { outcome } = await flushLane(ctx, table, lane, flush, backgroundInsert_ms);
    if (outcome === 'ok') await tryDrainingManifestOutbox(ctx);
  };
  // The flush logs its own failure, and the cron retries it.
  c.executionCtx.waitUntil(work().catch(() => undefined));
}

/** Adds the result to the event of the request and to the response headers. */
export function recordAccepted(c: Context<App>, { accepted, quota, table }: IngestResult): void {
  for (const [name, value] of Object.entries(quota === undefined ? {} : quotaHeaders(quota))) c.header(name, value);
  const { accepted: rows, quarantined, replayed } = accepted;
  c.set('event', { dataset: table.dataset, table: table.name, rows, quarantined, replayed });
  if (replayed) c.header('Idempotency-Replayed', 'true');
}
