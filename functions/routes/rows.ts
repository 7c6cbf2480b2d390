import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { ingestRows } from '../../src/ingest/ingest.ts';
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
import { bodyText, mediaType, withinMemoryBudget } from '../http/body.ts';
import { tableParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const formats = new Map<string, RowFormat>([
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
  ['application/ndjson', 'ndjson'],
  ['application/jsonl', 'ndjson'],
  ['text/csv', 'csv'],
]);

const row = z.record(z.string(), z.unknown()).meta({
  id: 'Row',
  description: 'one row: its timestamp and any other fields',
  examples: [{ timestamp: '2026-05-01T10:00:00Z', cpu: 0.5 }],
});

const rowsQuery = ingestQuery.extend({
  rename: z
    .string()
    .optional()
    .meta({
      description:
        'a JSON object that maps names in the rows to names in the table, such as `{"_time":"timestamp"}`; in CSV, the ' +
        'header line must contain every mapped name',
    }),
});

export const rowRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/datasets/:dataset/tables/:table/rows',
      scope: 'ingest',
      tag: 'Rows',
      summary: 'Insert rows',
      description:
        'Stores all rows of the request, or none. The first rows create the dataset and the table; the first value of a field ' +
        'creates the field. With an `Idempotency-Key`, a repeated request stores its rows once.',
      params: tableParams,
      query: rowsQuery,
      headers: idempotencyHeader('the same key with the same body is accepted once'),
      rawBody: {
        'application/json': z.union([row, z.array(row).min(1)]),
        'application/x-ndjson': z.string(),
        'text/csv': z.string(),
      },
      responses: {
        200: {
          description: 'With `ack=flushed`: ClickHouse has the rows, and they are published',
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
      example: {
        path: { dataset: 'demo', table: 'readings' },
        headers: { 'Idempotency-Key': 'readings-2026-05-01' },
        body: [
          { timestamp: '2026-05-01T10:00:00Z', sensor: 'a', celsius: 21.5 },
          { timestamp: '2026-05-01T10:05:00Z', sensor: 'b', celsius: 22 },
        ],
      },
    },
    async ({ c, ctx, params, query: { ack, onError, rename }, headers, json }) => {
      const format = formats.get(mediaType(c));
      if (format === undefined) {
        throw new ApiError(
          'unsupported-media-type',
          `Send rows as application/json, application/x-ndjson or text/csv, not ${mediaType(c) || 'without a Content-Type'}.`,
        );
      }
      const request = {
        ...params,
        idempotencyKey: clientKey(headers['Idempotency-Key']),
        format,
        onError,
        durable: ack !== 'buffered',
        ...(rename !== undefined && { rename: readRename(rename) }),
      };
      const result = await withinMemoryBudget(c, async () => {
        return await ingestRows(ctx, { ...request, text: await bodyText(c) });
      });
      recordAccepted(c, result);
      const { accepted } = result;
      if (ack !== 'flushed') {
        flushInBackground(c, result);
        return json(202, accepted);
      }
      const flushed = await flushBeforeResponse(c, result);
      if (flushed !== undefined) return json(200, flushed);
      throw new ApiError(
        'unavailable',
        'The rows are acknowledged and every query includes them, but they are not in ClickHouse yet. To wait for the flush, ' +
          'repeat the request with the same Idempotency-Key, or read the receipt of the batch.',
        {
          extra: { accepted: accepted.accepted, batchId: accepted.batchId, watermark: accepted.watermark },
          retryAfterMs: 2_000,
        },
      );
    },
  ),
];
