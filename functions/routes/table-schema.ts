import * as z from 'zod';
import { requireTable } from '../../src/catalog/change-table.ts';
import { schemaHistory } from '../../src/catalog/schema-history.ts';
import { fieldSchema, fieldView } from '../http/catalogue-schema.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, timeText, wanted } from '../http/paging.ts';
import { tableParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const versionSchema = z.object({
  version: z.int(),
  createdAt: z.string(),
  checksum: z.string().meta({ description: 'SHA-256 of the canonical JSON of the schema' }),
  added: z.array(fieldSchema).meta({ description: 'fields that the version added; no version removes a field' }),
  fields: z.array(fieldSchema),
});

export const tableSchemaRoutes = [
  route(
    {
      method: 'get',
      path: '/v1/admin/datasets/:dataset/tables/:table/schema',
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'List schema versions',
      description: 'Lists the versions of the schema and the fields that each version added, newest first.',
      params: tableParams,
      query: z.strictObject(numberedQuery),
      responses: {
        200: {
          description: 'A page of versions',
          schema: z.object({ versions: z.array(versionSchema), next: nextSchema }),
        },
      },
      example: { path: { dataset: 'demo', table: 'readings' } },
    },
    async ({ ctx, params, query: { cursor, limit }, json }) => {
      const table = await requireTable(ctx, params.dataset, params.table);
      const found = await schemaHistory(ctx, table, { before: numberOf(cursor), limit: wanted(limit) });
      const { items, last } = pageOf(found, limit);
      const versions = items.map(({ version, createdAt_ms, checksum, added, schema }) => ({
        version,
        createdAt: timeText(createdAt_ms),
        checksum,
        added: added.map(fieldView),
        fields: schema.fields.map(fieldView),
      }));
      return json(200, { versions, next: last === undefined ? null : String(last.version) });
    },
  ),
];
