import * as z from 'zod';
import { tryDrainingManifestOutbox } from '../../src/catalog/manifest-outbox.ts';
import { wakeMirror } from '../../src/catalog/mirror-jobs.ts';
import { slug } from '../../src/core/identifiers.ts';
import { flushNow } from '../../src/flush/flush-now.ts';
import { requireAllDatasets, requireDataset } from '../http/auth.ts';
import { startJobs } from '../http/job-response.ts';
import { route } from '../http/route.ts';

const flushBody = z
  .strictObject({ dataset: slug, table: slug })
  .partial()
  .superRefine(({ dataset, table }, issues) => {
    if ((dataset === undefined) === (table === undefined)) return;
    const path = [dataset === undefined ? 'dataset' : 'table'];
    issues.addIssue({ code: 'custom', path, message: 'dataset and table must be sent together, or neither' });
  });

const flushedSchema = z
  .object({ rows: z.int().meta({ description: 'rows that this request moved to ClickHouse' }) })
  .meta({ id: 'Flushed' });

export const flushRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/admin/flush',
      scope: 'admin',
      tag: 'Admin',
      summary: 'Flush pending rows',
      description:
        'Responds when every row acknowledged before the request is in ClickHouse and published. Without a body, or with an empty ' +
        'object, flushes all tables with pending rows.',
      body: flushBody.optional(),
      responses: { 200: { description: 'The rows are published', schema: flushedSchema } },
      errors: ['not-found'],
      example: { body: { dataset: 'demo', table: 'readings' } },
    },
    async ({ c, ctx, body, json }) => {
      const { dataset, table } = body ?? {};
      const target = dataset !== undefined && table !== undefined ? { dataset, table } : undefined;
      if (target === undefined) requireAllDatasets(c, ['admin']);
      else requireDataset(c, ['admin'], target.dataset);
      const rows = await flushNow(ctx, target);
      await tryDrainingManifestOutbox(ctx);
      if (target !== undefined && (await wakeMirror(ctx, target))) startJobs(c);
      c.set('event', { rows });
      return json(200, { rows });
    },
  ),
];
