import * as z from 'zod';
import { readDataset } from '../../src/catalog/datasets.ts';
import { listDifferences, type RecordedDifference } from '../../src/operations/takeover/differences.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, timeText, wanted } from '../http/paging.ts';
import { datasetParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const rows = z.array(z.record(z.string(), z.unknown()));

const comparisonSchema = z
  .object({
    at: z.string(),
    table: z.string(),
    requestId: z.string().meta({ description: 'of the request, in the log' }),
    query: z.string().meta({ description: 'its body, as it was sent' }),
    reason: z.enum(['rows', 'order', 'refused']).meta({ description: '`refused`: the query was, here' }),
    fields: z.array(z.string()).meta({ description: 'in which the first row that differs does' }),
    counts: z.object({ origin: z.int(), here: z.int(), originOnly: z.int(), hereOnly: z.int() }),
    originOnly: rows.meta({ description: 'rows that only the original has answered, 10 of them at most' }),
    hereOnly: rows.meta({ description: 'and those that only this deployment has' }),
  })
  .meta({ id: 'Comparison' });

export const datasetComparisonRoutes = [
  route(
    {
      method: 'get',
      path: '/v1/admin/datasets/:dataset/comparisons',
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'List answers that differ',
      description:
        'While `migration.reads` is `compare`: the newest 100 queries that the original has answered otherwise than this ' +
        'deployment would have, the newest first.',
      params: datasetParams,
      query: z.strictObject(numberedQuery),
      responses: {
        200: {
          description: 'A page of them',
          schema: z.object({ comparisons: z.array(comparisonSchema), next: nextSchema }),
        },
      },
      example: { path: { dataset: 'demo' } },
    },
    async ({ ctx, params, query, json }) => {
      const { name } = await readDataset(ctx, params.dataset);
      const { cursor, limit } = query;
      const found = await listDifferences(ctx, name, numberOf(cursor), wanted(limit));
      const { items, last } = pageOf(found, limit);
      return json(200, { comparisons: items.map(viewOf), next: last?.n ?? null });
    },
  ),
];

function viewOf({ n: _, at_ms, ...comparison }: RecordedDifference): z.input<typeof comparisonSchema> {
  return { at: timeText(at_ms), ...comparison };
}
