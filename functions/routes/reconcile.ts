import * as z from 'zod';
import { requireTable } from '../../src/catalog/change-table.ts';
import { slug } from '../../src/core/identifiers.ts';
import { listReconciled } from '../../src/operations/reconcile/list.ts';
import { reconcileTable } from '../../src/operations/reconcile/reconcile-table.ts';
import { requireDataset } from '../http/auth.ts';
import { route } from '../http/route.ts';

const driftSchema = z.object({
  what: z.string().meta({ description: 'a stable code of the difference' }),
  detail: z.string(),
  mended: z.boolean(),
});
const reconciledSchema = z
  .object({ dataset: z.string(), table: z.string(), drift: z.array(driftSchema) })
  .meta({ id: 'Reconciliation' });
const newestSchema = z.object({ reconciliations: z.array(reconciledSchema.extend({ age_s: z.number() })) });

const target = z.strictObject({ dataset: slug, table: slug });
const path = '/v1/admin/reconcile';

export const reconcileRoutes = [
  route(
    {
      method: 'post',
      path,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Reconcile a table with ClickHouse',
      description:
        'Compares columns, retention and storage policy. Repairs differences that can be repaired without data loss, and reports the ' +
        'others.',
      body: target,
      responses: { 200: { description: 'The differences', schema: reconciledSchema } },
      errors: ['not-found'],
      example: { body: { dataset: 'demo', table: 'readings' } },
    },
    async ({ c, ctx, body: { dataset, table: name }, json }) => {
      requireDataset(c, ['admin'], dataset);
      const table = await requireTable(ctx, dataset, name);
      return json(200, await reconcileTable(ctx, table));
    },
  ),
  route(
    {
      method: 'get',
      path,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'List reconciliation results',
      description:
        'Lists the tables with differences, repaired or not. All tables are reconciled every hour (limit reconcile_every_ms).',
      responses: { 200: { description: 'The tables with differences', schema: newestSchema } },
      example: {},
    },
    async ({ ctx, key, json }) => {
      const reconciliations = await listReconciled(ctx, key.listed('admin'));
      return json(200, { reconciliations });
    },
  ),
];
