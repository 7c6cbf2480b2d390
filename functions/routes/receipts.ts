import * as z from 'zod';
import { decodeBatchId } from '../../src/ingest/batch-id.ts';
import { readReceipt } from '../../src/ingest/receipt.ts';
import { requireDataset } from '../http/auth.ts';
import { route } from '../http/route.ts';

const receiptSchema = z
  .object({
    batchId: z.string(),
    dataset: z.string(),
    table: z.string(),
    state: z.enum(['buffered', 'flushed', 'verified', 'lost', 'unknown']).meta({
      description:
        '`buffered`: every query includes the rows; they may not be in ClickHouse yet. `flushed`: their number was verified in ' +
        'ClickHouse. `verified`: their manifest is recorded as well. `lost`: the hot buffer lost the batch in a failover; ' +
        'queries may not include its rows. `unknown`: the hot buffer lost the lane of the batch.',
    }),
    manifest: z.string().nullable(),
    quarantined: z.int().nullable().meta({
      description: 'rows of the batch that ClickHouse rejected and that are in quarantine; null while unknown',
    }),
  })
  .meta({ id: 'Receipt' });

export const receiptRoutes = [
  route(
    {
      method: 'get',
      path: '/v1/receipts/:batchId',
      scope: ['ingest', 'query'],
      tag: 'Rows',
      metricClass: 'receipt',
      summary: 'Get batch status',
      params: { batchId: z.string().meta({ description: '`batchId` of the response to the rows' }) },
      responses: { 200: { description: 'The receipt of the batch', schema: receiptSchema } },
      example: { path: { batchId: 'WyJkZW1vIiwicmVhZGluZ3MiLDAsIjAwMDAiLDEsIngiXQ' } },
    },
    async ({ c, ctx, params: { batchId }, json }) => {
      const dataset = decodeBatchId(batchId)?.table.dataset;
      if (dataset !== undefined) requireDataset(c, ['ingest', 'query'], dataset);
      return json(200, await readReceipt(ctx, batchId));
    },
  ),
];
