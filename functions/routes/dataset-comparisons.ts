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
    requestId: z.string().meta({ description: 'id of the request, for the log' }),
    query: z.string().meta({ description: 'body of the query, as it was sent' }),
    reason: z
      .enum(['rows', 'order', 'refused'])
      .meta({ description: 'kind of the difference; `refused`: this deployment rejected the query' }),
    fields: z.array(z.string()).meta({ description: 'fields that differ in the first different row' }),
    counts: z.object({ origin: z.int(), here: z.int(), originOnly: z.int(), hereOnly: z.int() }),
    originOnly: rows.meta({ description: 'rows that only the source system returned, at most 10' }),
    hereOnly: rows.meta({ description: 'rows that only this deployment returned, at most 10' }),
  })
  .meta({ id: 'Comparison' });

export const datasetComparisonRoutes = [
  route(
    {
      method: 'get',
      path: '/v1/admin/datasets/:dataset/comparisons',
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'List shadow read differences',
      description:
        'Lists the latest 100 queries that the source system answered differently from this deployment while `migration.reads` was ' +
        '`compare`, newest first.',
      params: datasetParams,
      query: z.strictObject(numberedQuery),
      responses: {
        200: {
          description: 'A page of differences',
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
      return json(200, { comparisons: items.map(renderDifference), next: last?.n ?? null });
    },
  ),
];

function renderDifference({ n: _, at_ms, ...comparison }: RecordedDifference): z.input<typeof comparisonSchema> {
  return { at: timeText(at_ms), ...comparison };
}
