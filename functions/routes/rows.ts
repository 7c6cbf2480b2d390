import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { decodeBatchId } from '../../src/ingest/batch-id.ts';
import { ingestRows } from '../../src/ingest/ingest.ts';
import { readReceipt } from '../../src/ingest/receipt.ts';
import type { RowFormat } from '../../src/schema/prepare.ts';
import { readRename } from '../../src/schema/rename.ts';
import {
  acceptedHeaders,
  acceptedSchema,
  clientKey,
  flushBeforeResponse,
  flushInBackground,
  idempotencyHeader,
  ingestQuery,
  recordAccepted,
} from '../http/acknowledge.ts';
import { routes } from '../http/app.ts';
import { requireDataset, requireScope } from '../http/auth.ts';
import { bodyText, mediaType, withinMemoryBudget } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { queryAs } from '../http/paging.ts';
import { requireSlug } from '../http/params.ts';

const formats = new Map<string, RowFormat>([
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
  ['application/ndjson', 'ndjson'],
  ['application/jsonl', 'ndjson'],
  ['text/csv', 'csv'],
]);

const row = z.record(z.string(), z.unknown()).meta({
  id: 'Row',
  description: 'One row: its timestamp, and any fields',
  examples: [{ timestamp: '2026-05-01T10:00:00Z', cpu: 0.5 }],
});

const receiptSchema = z
  .object({
    batchId: z.string(),
    dataset: z.string(),
    table: z.string(),
    state: z.enum(['buffered', 'flushed', 'verified', 'lost', 'unknown']).meta({
      description:
        '`buffered`: in every answer, not in ClickHouse for certain; `flushed`: counted there; `verified`: and its manifest ' +
        'is on record; `lost`: the hot buffer failed over and has forgotten it, so its rows may be in no answer; `unknown`: ' +
        'the hot buffer has lost the lane it was in',
    }),
    manifest: z.string().nullable(),
    quarantined: z.int().nullable().meta({
      description: 'rows of it that ClickHouse refused and that are in quarantine; null while that is unknown',
    }),
  })
  .meta({ id: 'Receipt' });

const rowsQuery = ingestQuery.extend({
  rename: z
    .string()
    .optional()
    .meta({
      description:
        'a JSON object: names in the rows that are others in the table, such as `{"_time":"timestamp"}`; in CSV the first line ' +
        'has them all',
    }),
});

export const rowRoutes = routes();

rowRoutes.get(
  '/v1/receipts/:batchId',
  openApiRoute({
    summary: 'How far a batch is',
    example: { path: { batchId: 'WyJkZW1vIiwicmVhZGluZ3MiLDAsIjAwMDAiLDEsIngiXQ' } },
    tag: 'Rows',
    kind: 'receipt',
    parameters: { batchId: 'as the answer to the rows had it' },
    answers: { 200: { description: 'The receipt', schema: receiptSchema } },
    errors: ['not-found'],
  }),
  requireScope('ingest', 'query'),
  async (c) => {
    const batchId = c.req.param('batchId');
    const dataset = decodeBatchId(batchId)?.table.dataset;
    if (dataset !== undefined) requireDataset(c, ['ingest', 'query'], dataset);
    return c.json((await readReceipt(c.get('ctx'), batchId)) satisfies z.input<typeof receiptSchema>);
  },
);

rowRoutes.post(
  '/v1/datasets/:dataset/tables/:table/rows',
  openApiRoute({
    summary: 'Send rows',
    example: {
      path: { dataset: 'demo', table: 'readings' },
      headers: { 'Idempotency-Key': 'readings-2026-05-01' },
      body: [
        { timestamp: '2026-05-01T10:00:00Z', sensor: 'a', celsius: 21.5 },
        { timestamp: '2026-05-01T10:05:00Z', sensor: 'b', celsius: 22 },
      ],
    },
    description:
      'All rows of a request are stored, or none. Dataset and table are made by the first rows, fields by the first value. ' +
      'Send an Idempotency-Key to be able to repeat the request without doubling it.',
    tag: 'Rows',
    path: ['dataset', 'table'],
    query: rowsQuery,
    headers: idempotencyHeader('the same key with the same body is accepted once'),
    body: {
      required: true,
      types: {
        'application/json': z.union([row, z.array(row).min(1)]),
        'application/x-ndjson': z.string(),
        'text/csv': z.string(),
      },
    },
    answers: {
      200: {
        description: 'With `ack=flushed`: the rows are in ClickHouse and published',
        schema: acceptedSchema,
        headers: acceptedHeaders,
      },
      202: {
        description: 'The hot buffer has the rows; every later query includes them',
        schema: acceptedSchema,
        headers: acceptedHeaders,
      },
    },
    errors: [
      'conflict',
      'dataset-frozen',
      'rows-refused',
      'key-reused',
      'key-expired',
      'buffer-full',
      'quota-exceeded',
    ],
  }),
  requireScope('ingest'),
  async (c) => {
    const format = formats.get(mediaType(c));
    if (format === undefined) {
      throw new ApiError(
        'unsupported-media-type',
        `Rows come as application/json, application/x-ndjson or text/csv, not ${mediaType(c) || 'without a Content-Type'}.`,
      );
    }
    const { ack, onError, rename } = queryAs(c, rowsQuery);
    const request = {
      dataset: requireSlug('dataset', c.req.param('dataset')),
      table: requireSlug('table', c.req.param('table')),
      idempotencyKey: clientKey(c.req.header('idempotency-key')),
      format,
      onError,
      durable: ack !== 'buffered',
      ...(rename !== undefined && { rename: readRename(rename) }),
    };
    const result = await withinMemoryBudget(c, async () => {
      return await ingestRows(c.get('ctx'), { ...request, text: await bodyText(c) });
    });
    recordAccepted(c, result);
    const { accepted } = result;
    if (ack !== 'flushed') {
      flushInBackground(c, result);
      return c.json(accepted satisfies z.input<typeof acceptedSchema>, 202);
    }
    const flushed = await flushBeforeResponse(c, result);
    if (flushed !== undefined) return c.json(flushed satisfies z.input<typeof acceptedSchema>, 200);
    throw new ApiError(
      'unavailable',
      'The rows are acknowledged and in every answer, but ClickHouse has not taken them yet. The same request with the same ' +
        'Idempotency-Key asks again; the receipt tells too.',
      {
        extra: { accepted: accepted.accepted, batchId: accepted.batchId, watermark: accepted.watermark },
        retryAfterMs: 2_000,
      },
    );
  },
);
