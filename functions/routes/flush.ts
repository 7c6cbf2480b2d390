import * as z from 'zod';
import { tryDrainingManifestOutbox } from '../../src/catalog/manifest-outbox.ts';
import { wakeMirror } from '../../src/catalog/mirror-jobs.ts';
import { slug } from '../../src/core/identifiers.ts';
import { flushNow } from '../../src/flush/flush-now.ts';
import { routes } from '../http/app.ts';
import { requireAllDatasets, requireDataset, requireScope } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { workBehind } from './jobs.ts';

const flushBody = z
  .strictObject({ dataset: slug, table: slug })
  .partial()
  .superRefine(({ dataset, table }, issues) => {
    if ((dataset === undefined) === (table === undefined)) return;
    const path = [dataset === undefined ? 'dataset' : 'table'];
    issues.addIssue({ code: 'custom', path, message: 'dataset and table are given both, or neither' });
  });

const flushedSchema = z
  .object({ rows: z.int().meta({ description: 'rows that this call moved' }) })
  .meta({ id: 'Flushed' });

export const adminRoutes = routes().post(
  '/v1/admin/flush',
  openApiRoute({
    summary: 'Flush now',
    example: { body: { dataset: 'demo', table: 'readings' } },
    description:
      'Answers when everything acknowledged before the call is in ClickHouse and published. Without a body, or with an empty ' +
      'one: all tables with pending rows.',
    tag: 'Admin',
    body: { required: false, types: { 'application/json': flushBody } },
    answers: { 200: { description: 'Published', schema: flushedSchema } },
    errors: ['not-found'],
  }),
  requireScope('admin'),
  async (c) => {
    const ctx = c.get('ctx');
    const hasBody = c.req.header('content-type') !== undefined && c.req.header('content-length') !== '0';
    const { dataset, table } = hasBody ? await parseBody(c, flushBody) : {};
    const target = dataset !== undefined && table !== undefined ? { dataset, table } : undefined;
    if (target === undefined) requireAllDatasets(c, 'admin');
    else requireDataset(c, ['admin'], target.dataset);
    const rows = await flushNow(ctx, target);
    await tryDrainingManifestOutbox(ctx);
    if (target !== undefined && (await wakeMirror(ctx, target))) workBehind(c);
    c.set('event', { rows });
    return c.json({ rows } satisfies z.input<typeof flushedSchema>);
  },
);
