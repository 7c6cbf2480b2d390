import * as z from 'zod';
import { requireTable } from '../../src/catalog/change-table.ts';
import { listManifests } from '../../src/catalog/list-manifests.ts';
import type { Manifest } from '../../src/catalog/manifest.ts';
import { ApiError } from '../../src/core/errors.ts';
import { nextSchema, pageOf, pageQuery, wanted } from '../http/paging.ts';
import { tableParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const manifestSchema = z
  .object({
    id: z.string(),
    lane: z.int(),
    incarnation: z.string(),
    token: z.string(),
    epoch: z.int(),
    sequences: z.object({ from: z.int(), to: z.int() }),
    rows: z.int(),
    bytes: z.int(),
    schemaVersion: z.int(),
    checksum: z.string(),
    trigger: z.string().meta({ description: 'reason of the flush' }),
    quarantined: z.int(),
    expired: z.int().meta({ description: 'rows that exceeded their retention before the insert' }),
    inserts: z.int().meta({
      description:
        'number of inserts; with more than 1, materialized views over the table may have rows twice or in part',
    }),
    batches: z.array(z.object({ seq: z.int(), meta: z.unknown() })).meta({ description: 'metadata of the batches' }),
    flushedAt: z.string(),
    partitions: z.array(
      z.object({
        partition: z.string(),
        rows: z.int(),
        timeFrom: z.string(),
        timeTo: z.string(),
        checksum: z.string(),
      }),
    ),
  })
  .meta({ id: 'Manifest' });

const path = '/v1/admin/datasets/:dataset/tables/:table';
const example = { path: { dataset: 'demo', table: 'readings' } };

export const manifestRoutes = [
  route(
    {
      method: 'get',
      path: `${path}/manifests`,
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'List manifests',
      description: 'Lists the manifests of flushes, newest first: rows, partitions and checksums.',
      params: tableParams,
      query: z.strictObject(pageQuery),
      responses: {
        200: {
          description: 'A page of manifests',
          schema: z.object({ manifests: z.array(manifestSchema), next: nextSchema }),
        },
      },
      example: { ...example, query: { limit: '5' } },
    },
    async ({ ctx, params: { dataset, table: name }, query, json }) => {
      const { cursor, limit } = query;
      const after = cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString();
      if (after !== undefined && !/^\d{1,18} [\x21-\x7e]+$/.test(after)) {
        throw new ApiError('invalid-request', 'cursor: must be `next` of a page of this list.');
      }
      const table = await requireTable(ctx, dataset, name);
      const { items, last } = pageOf(await listManifests(ctx, table, { after, limit: wanted(limit) }), limit);
      const next = last === undefined ? null : Buffer.from(last.at).toString('base64url');
      return json(200, { manifests: items.map(({ manifest }) => renderManifest(manifest)), next });
    },
  ),
];

function renderManifest(manifest: Manifest): z.input<typeof manifestSchema> {
  const { id, lane, incarnation, token, epoch, rows, bytes, checksum, trigger, quarantined, expired } = manifest;
  return {
    id,
    lane,
    incarnation,
    token,
    epoch,
    sequences: { from: manifest.seq_from, to: manifest.seq_to },
    rows,
    bytes,
    schemaVersion: manifest.schema_version,
    checksum,
    trigger,
    quarantined,
    expired,
    inserts: manifest.inserts,
    batches: manifest.batches,
    flushedAt: manifest.flushed_at,
    partitions: manifest.partitions.map((part) => ({
      partition: part.partition,
      rows: part.rows,
      timeFrom: part.time_from,
      timeTo: part.time_to,
      checksum: part.checksum,
    })),
  };
}
