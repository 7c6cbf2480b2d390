import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { batchFormat, parseBatch, sourceBatchFormat } from '../../src/ingest/batch-format.ts';
import { findBatchManifest } from '../../src/ingest/batch-manifest.ts';
import { type IngestResult, ingestRows } from '../../src/ingest/ingest.ts';
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
import { bodyText, requireJson, withinMemoryBudget } from '../http/body.ts';
import { datasetParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const target = {
  dataset: z.object({ name: z.string() }),
  storageTarget: z.object({ kind: z.literal('clickhouse'), database: z.string(), table: z.string() }),
  flushPending: z.boolean().meta({ description: 'true if the rows are not in ClickHouse yet' }),
};

const queuedSchema = acceptedSchema
  .extend({ mode: z.literal('queued'), jobId: z.string().meta({ description: 'id of the batch' }), ...target })
  .meta({ id: 'Queued' });

const inlineSchema = acceptedSchema
  .extend({
    mode: z.literal('inline'),
    manifest: z
      .object({
        id: z.string(),
        rows: z.int(),
        bytes: z.int(),
        checksum: z.string(),
        schemaVersion: z.int(),
        sequences: z.object({ from: z.int(), to: z.int() }),
        flushedAt: z.string(),
        partitions: z.array(
          z.object({ partition: z.string(), rows: z.int(), timeFrom: z.string(), timeTo: z.string() }),
        ),
      })
      .nullable()
      .meta({ description: 'manifest of the flush with the first of the rows; null until it is recorded' }),
    ...target,
  })
  .meta({ id: 'Inline' });

/** The project's own batch format, and the one of the source system of a takeover. */
const forms = [
  {
    path: '/v1/datasets/:dataset/ingest',
    form: 'own',
    schema: batchFormat,
    summary: 'Ingest a batch with schema and metadata',
  },
  {
    path: '/datasets/:dataset/ingest',
    form: 'original',
    schema: sourceBatchFormat,
    summary: 'Ingest a batch in the format of the source system',
  },
] as const;

export const ingestRoutes = forms.map(({ path, form, schema, summary }) =>
  route(
    {
      method: 'post',
      path,
      scope: 'ingest',
      tag: 'Rows',
      summary,
      description:
        'Stores rows with a schema, a partition key, attributes, a time range and the name of their sender. The guarantees are ' +
        'the same as for `POST /v1/datasets/{dataset}/tables/{table}/rows`.',
      params: datasetParams,
      query: ingestQuery,
      headers: idempotencyHeader('the same as `idempotencyKey` in the body'),
      rawBody: { 'application/json': schema },
      responses: {
        201: {
          description: 'With `ack=flushed`: ClickHouse has the rows, and they are published',
          schema: inlineSchema,
          headers: acceptedHeaders,
        },
        202: {
          description: 'The hot buffer has the rows; every later query includes them',
          schema: queuedSchema,
          headers: acceptedHeaders,
        },
      },
      errors: [
        'conflict',
        'dataset-frozen',
        'rows-refused',
        'schema-refused',
        'key-reused',
        'key-expired',
        'buffer-full',
        'quota-exceeded',
      ],
      example: {
        path: { dataset: 'demo' },
        body: {
          tableName: 'orders',
          idempotencyKey: 'orders-2026-05-01',
          schema: { fields: [{ name: 'id', type: 'integer' }] },
          partition: { key: { source: 'shop' } },
          rows: [{ timestamp: '2026-05-01T10:00:00Z', id: 7 }],
        },
      },
    },
    async ({ c, ctx, params: { dataset }, query: { ack, onError }, headers, json }) => {
      requireJson(c);
      const result = await withinMemoryBudget(c, async () => {
        const batch = parseBatch(await bodyText(c), ctx.config.limits, form);
        const idempotencyKey = oneKey(headers['Idempotency-Key'], batch.idempotencyKey);
        return await ingestRows(ctx, { ...batch, dataset, idempotencyKey, onError, durable: ack !== 'buffered' });
      });
      recordAccepted(c, result);
      const flushed = ack === 'flushed' ? await flushBeforeResponse(c, result) : undefined;
      if (flushed !== undefined) {
        const manifest = await findBatchManifest(ctx, result.accepted.batchId);
        return json(201, { ...flushed, mode: 'inline', manifest, ...targetOf(result, false) });
      }
      if (ack !== 'flushed') flushInBackground(c, result);
      const jobId = result.accepted.batchId;
      return json(202, { ...result.accepted, mode: 'queued', jobId, ...targetOf(result, true) });
    },
  ),
);

function targetOf({ table }: IngestResult, flushPending: boolean) {
  const storageTarget = { kind: 'clickhouse' as const, database: `ts_${table.dataset}`, table: table.physical };
  return { dataset: { name: table.dataset }, storageTarget, flushPending };
}

/** The key of the header and of the body must agree. */
function oneKey(header: string | undefined, body: string | undefined): string | undefined {
  if (header !== undefined && body !== undefined && header !== body) {
    throw new ApiError('invalid-request', 'Idempotency-Key and idempotencyKey differ. Send one of them.');
  }
  return clientKey(header ?? body);
}
