import type { Context } from 'hono';
import * as z from 'zod';
import { quotaHeaders } from '../../src/buffer/quota.ts';
import { tryDrainingManifestOutbox } from '../../src/catalog/manifest-outbox.ts';
import { describeError } from '../../src/core/log.ts';
import { flushLane } from '../../src/flush/flush-lane.ts';
import { flushTable } from '../../src/flush/flush-table.ts';
import { idempotencyKey } from '../../src/ingest/idempotency-key.ts';
import type { Accepted, IngestResult } from '../../src/ingest/ingest.ts';
import { countSkipped } from '../../src/ingest/rejected-rows.ts';
import type { App } from './app.ts';

const fault = z.object({
  index: z.int().meta({ description: 'place of the row in the request, from 0' }),
  field: z.string().nullable(),
  reason: z.string().meta({ description: 'a stable code' }),
  detail: z.string().optional(),
  oldType: z.string().optional().meta({ description: 'type of the field, where the value is of another' }),
  newType: z.string().optional(),
});

/** What is said of rows that were accepted. */
export const acceptedSchema = z
  .object({
    batchId: z.string().meta({ description: 'names these rows, whatever becomes of them' }),
    accepted: z.int(),
    rejected: z.int(),
    quarantined: z.int().meta({ description: 'rows at fault that went into the dataset’s quarantine' }),
    errors: z.array(fault).meta({ description: 'the first 100 rows at fault' }),
    replayed: z
      .boolean()
      .meta({ description: 'true when the same request was accepted before; nothing was stored again' }),
    chunks: z
      .int()
      .optional()
      .meta({ description: 'into how many a large request was cut; a query sees each whole or not at all' }),
    watermark: z.string().meta({ description: 'token of what a reader must have to see these rows' }),
  })
  .meta({ id: 'Accepted' });

export const acceptedHeaders = {
  'Idempotency-Replayed': '`true` when the same request was accepted before',
  RateLimit: 'what is left of the dataset’s quotas, where it has any',
  'RateLimit-Policy': 'the quotas',
};

/** What a client wants to be told, and when. */
export const ingestQuery = z.object({
  ack: z
    .enum(['buffered', 'durable', 'flushed'])
    .default('buffered')
    .meta({
      description:
        '`buffered` (default): answered when the hot buffer has the rows; `durable`: and its replicas, where it has any; ' +
        '`flushed`: when ClickHouse has them',
    }),
  onError: z.enum(['reject', 'quarantine']).default('reject').meta({
    description:
      '`reject` (default): all rows or none; `quarantine`: rows at fault go into the dataset’s quarantine, the others are accepted',
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

/** A client that waits for a flush waits no longer than this. */
const ackLongest_ms = 25_000;

/**
 * Flushes until everything acknowledged so far is published.
 *
 * @returns what became of the rows, those that ClickHouse refused among the quarantined; undefined when it took too long
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
  const refused = await countSkipped(ctx, table, batches);
  return { ...accepted, accepted: accepted.accepted - refused, quarantined: accepted.quarantined + refused };
}

/** Cloudflare ends what a request leaves behind 30 s after its answer. */
const backgroundInsert_ms = 15_000;

/** Starts a flush that the answer does not wait for, where enough is pending. */
export function flushInBackground(c: Context<App>, { flush, table, lane }: IngestResult): void {
  if (flush === undefined) return;
  const ctx = c.get('ctx');
  const work = async () => {
    const { outcome } = await flushLane(ctx, table, lane, flush, backgroundInsert_ms);
    if (outcome === 'ok') await tryDrainingManifestOutbox(ctx);
  };
  // What goes wrong is in the flush's own event, and the cron takes it up.
  c.executionCtx.waitUntil(work().catch(() => undefined));
}

/** For the request's event and its headers. */
export function recordAccepted(c: Context<App>, { accepted, quota, table }: IngestResult): void {
  for (const [name, value] of Object.entries(quota === undefined ? {} : quotaHeaders(quota))) c.header(name, value);
  const { accepted: rows, quarantined, replayed } = accepted;
  c.set('event', { dataset: table.dataset, table: table.name, rows, quarantined, replayed });
  if (replayed) c.header('Idempotency-Replayed', 'true');
}
