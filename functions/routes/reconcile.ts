import * as z from 'zod';
import { requireTable } from '../../src/catalog/change-table.ts';
import { slug } from '../../src/core/identifiers.ts';
import { listReconciled } from '../../src/operations/reconcile/list.ts';
import { reconcileTable } from '../../src/operations/reconcile/reconcile-table.ts';
import { routes } from '../http/app.ts';
import { requireDataset, requireScope } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';

const driftSchema = z.object({
  what: z.string().meta({ description: 'a stable code' }),
  detail: z.string(),
  mended: z.boolean(),
});
const reconciledSchema = z
  .object({ dataset: z.string(), table: z.string(), drift: z.array(driftSchema) })
  .meta({ id: 'Reconciliation' });
const newestSchema = z.object({ reconciliations: z.array(reconciledSchema.extend({ age_s: z.number() })) });

const target = z.strictObject({ dataset: slug, table: slug });
const path = '/v1/admin/reconcile';

export const reconcileRoutes = routes()
  .post(
    path,
    openApiRoute({
      summary: 'Compare a table with ClickHouse now',
      description:
        'Its columns, retention and storage policy. What can be mended without losing anything is; the rest is told.',
      tag: 'Catalogue',
      body: { required: true, types: { 'application/json': target } },
      answers: { 200: { description: 'What was found', schema: reconciledSchema } },
      errors: ['not-found'],
      example: { body: { dataset: 'demo', table: 'readings' } },
    }),
    requireScope('admin'),
    async (c) => {
      const { dataset, table: name } = await parseBody(c, target);
      requireDataset(c, ['admin'], dataset);
      const table = await requireTable(c.get('ctx'), dataset, name);
      return c.json((await reconcileTable(c.get('ctx'), table)) satisfies z.input<typeof reconciledSchema>);
    },
  )
  .get(
    path,
    openApiRoute({
      summary: 'What differed when tables were last compared',
      description:
        'Tables of which something differed, mended or not. All are compared every hour (limit reconcile_every_ms).',
      tag: 'Catalogue',
      answers: { 200: { description: 'The tables', schema: newestSchema } },
      example: {},
    }),
    requireScope('admin'),
    async (c) => {
      const reconciliations = await listReconciled(c.get('ctx'), c.get('key').listed('admin'));
      return c.json({ reconciliations } satisfies z.input<typeof newestSchema>);
    },
  );
