import type { Context } from 'hono';
import { z } from 'zod';
import { TimestoreError } from '../src/errors.ts';
import { flushLane } from '../src/flush/flush-lane.ts';
import { flushTable } from '../src/flush/flush-table.ts';
import { tryDrainingOutbox } from '../src/flush/outbox.ts';
import { type IngestResult, ingestRows } from '../src/ingest/ingest.ts';
import { readReceipt } from '../src/ingest/receipt.ts';
import { describeError } from '../src/log.ts';
import { slug } from '../src/names.ts';
import type { RowFormat } from '../src/schema/prepare.ts';
import { type App, routes } from './app.ts';
import { requireKey } from './auth.ts';
import { bodyText, mediaType } from './body.ts';
import { describe } from './describe.ts';

const formats: Record<string, RowFormat> = {
  'application/json': 'json',
  'application/x-ndjson': 'ndjson',
  'application/ndjson': 'ndjson',
  'application/jsonl': 'ndjson',
  'text/csv': 'csv',
};

const row = z.record(z.string(), z.unknown()).meta({
  id: 'Row',
  description: 'One row: its timestamp, and any fields',
  examples: [{ timestamp: '2026-05-01T10:00:00Z', cpu: 0.5 }],
});

const acceptedSchema = z
  .object({
    batchId: z.string().meta({ description: 'names these rows, whatever becomes of them' }),
    accepted: z.int(),
    rejected: z.int(),
    quarantined: z.int(),
    errors: z.array(z.object({ index: z.int(), field: z.string().nullable(), reason: z.string() })),
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

/** Cloudflare ends what a request leaves behind 30 s after its answer. */
const backgroundInsert_ms = 15_000;

const receiptSchema = z
  .object({
    batchId: z.string(),
    dataset: z.string(),
    table: z.string(),
    state: z.enum(['buffered', 'flushed', 'verified', 'unknown']).meta({
      description:
        '`buffered`: in every answer, not in ClickHouse for certain; `flushed`: counted there; `verified`: and its manifest ' +
        'is on record; `unknown`: the hot buffer has lost the lane it was in',
    }),
    manifest: z.string().nullable(),
  })
  .meta({ id: 'Receipt' });

const ackForms = z.enum(['buffered', 'flushed']).default('buffered');

/** A client that waits for a flush waits no longer than this. */
const ackLongest_ms = 25_000;

export const rowRoutes = routes();

rowRoutes.get(
  '/v1/receipts/:batchId',
  describe({
    summary: 'How far a batch is',
    tag: 'Rows',
    parameters: { batchId: 'as the answer to the rows had it' },
    answers: { 200: { description: 'The receipt', schema: receiptSchema } },
    errors: ['unauthenticated', 'not-found', 'unavailable'],
  }),
  requireKey,
  async (c) =>
    c.json((await readReceipt(c.get('timestore'), c.req.param('batchId'))) satisfies z.input<typeof receiptSchema>),
);

rowRoutes.post(
  '/v1/datasets/:dataset/tables/:table/rows',
  describe({
    summary: 'Send rows',
    description:
      'All rows of a request are stored, or none. Dataset and table are made by the first rows, fields by the first value. ' +
      'Send an Idempotency-Key to be able to repeat the request without doubling it.',
    tag: 'Rows',
    path: ['dataset', 'table'],
    query: { ack: '`buffered` (default): answered when the hot buffer has the rows; `flushed`: when ClickHouse has' },
    headers: { 'Idempotency-Key': 'at most 255 visible characters; the same key with the same body is accepted once' },
    body: {
      required: true,
      types: {
        'application/json': z.union([row, z.array(row)]),
        'application/x-ndjson': z.string(),
        'text/csv': z.string(),
      },
    },
    answers: {
      200: { description: 'With `ack=flushed`: the rows are in ClickHouse and published', schema: acceptedSchema },
      202: {
        description: 'The hot buffer has the rows; every later query includes them',
        schema: acceptedSchema,
        headers: { 'Idempotency-Replayed': 'true when the same request was accepted before' },
      },
    },
    errors: [
      ...([
        'malformed-body',
        'invalid-request',
        'unauthenticated',
        'conflict',
        'dataset-frozen',
        'limit-exceeded',
      ] as const),
      ...(['unsupported-media-type', 'rows-refused', 'key-reused', 'buffer-full', 'unavailable'] as const),
    ],
  }),
  requireKey,
  async (c) => {
    const format = formats[mediaType(c)];
    if (format === undefined) {
      throw new TimestoreError(
        'unsupported-media-type',
        `Rows come as application/json, application/x-ndjson or text/csv, not ${mediaType(c) || 'without a Content-Type'}.`,
      );
    }
    const ack = ackForms.safeParse(c.req.query('ack'));
    if (!ack.success) throw new TimestoreError('invalid-request', 'ack: buffered or flushed.');
    const result = await ingestRows(c.get('timestore'), {
      dataset: slugOf('dataset', c.req.param('dataset')),
      table: slugOf('table', c.req.param('table')),
      idempotencyKey: keyOf(c.req.header('idempotency-key')),
      text: await bodyText(c),
      format,
    });
    const { accepted } = result;
    c.set('event', { rows: accepted.accepted, replayed: accepted.replayed });
    if (accepted.replayed) c.header('Idempotency-Replayed', 'true');
    if (ack.data === 'flushed') {
      await flushBefore(c, result);
      return c.json(accepted, 200);
    }
    flushBehind(c, result);
    return c.json(accepted, 202);
  },
);

/** Answers only when everything acknowledged so far is published. Failing that the rows are still acknowledged. */
async function flushBefore(c: Context<App>, { table, accepted }: IngestResult): Promise<void> {
  const timestore = c.get('timestore');
  const { complete } = await flushTable(timestore, table, 'admin', timestore.now() + ackLongest_ms).catch((error) => {
    timestore.log({ event: 'ack-flush-failed', dataset: table.dataset, table: table.name, ...describeError(error) });
    return { complete: false };
  });
  await tryDrainingOutbox(timestore);
  if (complete) return;
  throw new TimestoreError(
    'unavailable',
    'The rows are acknowledged and in every answer, but ClickHouse has not taken them yet. The same request with the same ' +
      'Idempotency-Key asks again; the receipt tells too.',
    {
      extra: { accepted: accepted.accepted, batchId: accepted.batchId, watermark: accepted.watermark },
      retryAfterMs: 2_000,
    },
  );
}

/** Starts a flush that the answer does not wait for. */
function flushBehind(c: Context<App>, { flush, table, lane }: IngestResult): void {
  if (flush === undefined) return;
  const timestore = c.get('timestore');
  const work = async () => {
    const { outcome } = await flushLane(timestore, table, lane, flush, backgroundInsert_ms);
    if (outcome === 'ok') await tryDrainingOutbox(timestore);
  };
  // What goes wrong is in the flush's own event, and the cron takes it up.
  c.executionCtx.waitUntil(work().catch(() => undefined));
}

/** Keys of clients are apart from those made here. */
function keyOf(sent: string | undefined): string | undefined {
  if (sent === undefined) return undefined;
  if (/^[\x21-\x7e]{1,255}$/.test(sent)) return `client:${sent}`;
  throw new TimestoreError('invalid-request', 'Idempotency-Key: 1 to 255 visible ASCII characters, without spaces.');
}

export function slugOf(what: string, name: string): string {
  const result = slug.safeParse(name);
  if (result.success) return result.data;
  throw new TimestoreError('invalid-request', `${what}: ${result.error.issues[0]?.message}.`);
}
