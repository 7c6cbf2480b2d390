import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { batchFormat, readBatchForm, sourceBatchFormat } from '../../src/ingest/batch-format.ts';
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
import { routes } from '../http/app.ts';
import { requireScope } from '../http/auth.ts';
import { bodyText, mediaType, withinMemoryBudget } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { queryAs } from '../http/paging.ts';
import { requireSlug } from '../http/params.ts';

const target = {
  dataset: z.object({ name: z.string() }),
  storageTarget: z.object({ kind: z.literal('clickhouse'), database: z.string(), table: z.string() }),
  flushPending: z.boolean().meta({ description: 'whether the rows are still on their way to ClickHouse' }),
};

const queuedSchema = acceptedSchema
  .extend({ mode: z.literal('queued'), jobId: z.string().meta({ description: 'the batch id' }), ...target })
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
      .meta({ description: 'of the flush that has the first of the rows; null while it is not on record' }),
    ...target,
  })
  .meta({ id: 'Inline' });

export const ingestRoutes = routes();

/** Where the form is that of the system that datasets are taken over from, and where it is our own. */
const forms = [
  { path: '/v1/datasets/:dataset/ingest', form: 'own', schema: batchFormat, like: '' },
  {
    path: '/datasets/:dataset/ingest',
    form: 'original',
    schema: sourceBatchFormat,
    like: ' As senders to the system that datasets are taken over from send them.',
  },
] as const;

for (const { path, form, schema, like } of forms) {
  ingestRoutes.post(
    path,
    openApiRoute({
      summary: 'Send rows with what is said of them',
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
      description:
        'Rows with a schema, a partition key, attributes, a time range and who sent them. The same guarantees as for rows ' +
        `that are sent alone.${like}`,
      tag: 'Rows',
      path: ['dataset'],
      query: ingestQuery,
      headers: idempotencyHeader('the same as `idempotencyKey` in the body'),
      body: { required: true, types: { 'application/json': schema } },
      answers: {
        201: {
          description: 'With `ack=flushed`: the rows are in ClickHouse and published',
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
    }),
    requireScope('ingest'),
    async (c) => {
      if (mediaType(c) !== 'application/json') {
        throw new ApiError(
          'unsupported-media-type',
          `Send the body as application/json, not ${mediaType(c) || 'without a type'}.`,
        );
      }
      const ctx = c.get('ctx');
      const { ack, onError } = queryAs(c, ingestQuery);
      const dataset = requireSlug('dataset', c.req.param('dataset'));
      const durable = ack !== 'buffered';
      const result = await withinMemoryBudget(c, async () => {
        const batch = readBatchForm(await bodyText(c), ctx.config.limits, form);
        const idempotencyKey = oneKey(c.req.header('idempotency-key'), batch.idempotencyKey);
        return await ingestRows(ctx, { ...batch, dataset, idempotencyKey, onError, durable });
      });
      recordAccepted(c, result);
      const flushed = ack === 'flushed' ? await flushBeforeResponse(c, result) : undefined;
      if (flushed !== undefined) {
        const manifest = await findBatchManifest(ctx, result.accepted.batchId);
        const answer = { ...flushed, mode: 'inline' as const, manifest, ...targetOf(result, false) };
        return c.json(answer satisfies z.input<typeof inlineSchema>, 201);
      }
      if (ack !== 'flushed') flushInBackground(c, result);
      const jobId = result.accepted.batchId;
      const answer = { ...result.accepted, mode: 'queued' as const, jobId, ...targetOf(result, true) };
      return c.json(answer satisfies z.input<typeof queuedSchema>, 202);
    },
  );
}

function targetOf({ table }: IngestResult, flushPending: boolean) {
  const storageTarget = { kind: 'clickhouse' as const, database: `ts_${table.dataset}`, table: table.physical };
  return { dataset: { name: table.dataset }, storageTarget, flushPending };
}

function oneKey(header: string | undefined, body: string | undefined): string | undefined {
  if (header !== undefined && body !== undefined && header !== body) {
    throw new ApiError('invalid-request', 'Idempotency-Key and idempotencyKey say different things. Send one.');
  }
  return clientKey(header ?? body);
}
