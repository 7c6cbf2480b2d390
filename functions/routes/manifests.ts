import * as z from 'zod';
import { requireTable } from '../../src/catalog/change-table.ts';
import { listManifests, type ManifestRecord } from '../../src/catalog/list-manifests.ts';
import { schemaHistory } from '../../src/catalog/schema-history.ts';
import { ApiError } from '../../src/core/errors.ts';
import { routes } from '../http/app.ts';
import { requireScope } from '../http/auth.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, pageQuery, queryAs, timeText, wanted } from '../http/paging.ts';
import { requireSlug } from '../http/params.ts';
import { fieldOf, fieldSchema } from './tables.ts';

const versionSchema = z.object({
  version: z.int(),
  createdAt: z.string(),
  checksum: z.string().meta({ description: 'SHA-256 of its canonical JSON' }),
  added: z.array(fieldSchema).meta({ description: 'against the version before: fields are only ever added' }),
  fields: z.array(fieldSchema),
});

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
    trigger: z.string().meta({ description: 'what began the flush' }),
    quarantined: z.int(),
    expired: z.int().meta({ description: 'rows past their retention before they were there' }),
    inserts: z.int().meta({ description: 'more than 1: views over the table may have rows twice or in part' }),
    batches: z.array(z.object({ seq: z.int(), meta: z.unknown() })).meta({ description: 'what was said of batches' }),
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

export const tableHistoryRoutes = routes()
  .get(
    `${path}/schema`,
    openApiRoute({
      summary: 'Schema history',
      description: 'Every version of the table’s schema with what it added, the newest first.',
      tag: 'Catalogue',
      path: ['dataset', 'table'],
      query: z.strictObject(numberedQuery),
      answers: {
        200: {
          description: 'A page of versions',
          schema: z.object({ versions: z.array(versionSchema), next: nextSchema }),
        },
      },
      errors: ['not-found'],
      example,
    }),
    requireScope('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const [dataset, name] = [
        requireSlug('dataset', c.req.param('dataset')),
        requireSlug('table', c.req.param('table')),
      ];
      const { cursor, limit } = queryAs(c, z.strictObject(numberedQuery));
      const table = await requireTable(ctx, dataset, name);
      const found = await schemaHistory(ctx, table, { before: numberOf(cursor), limit: wanted(limit) });
      const { items, last } = pageOf(found, limit);
      const versions = items.map(({ version, createdAt_ms, checksum, added, schema }) => ({
        version,
        createdAt: timeText(createdAt_ms),
        checksum,
        added: added.map(fieldOf),
        fields: schema.fields.map(fieldOf),
      }));
      return c.json({ versions, next: last === undefined ? null : String(last.version) });
    },
  )
  .get(
    `${path}/manifests`,
    openApiRoute({
      summary: 'Manifests',
      description: 'What each flush put where, the newest first.',
      tag: 'Catalogue',
      path: ['dataset', 'table'],
      query: z.strictObject(pageQuery),
      answers: {
        200: { description: 'A page', schema: z.object({ manifests: z.array(manifestSchema), next: nextSchema }) },
      },
      errors: ['not-found'],
      example: { ...example, query: { limit: '5' } },
    }),
    requireScope('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const [dataset, name] = [
        requireSlug('dataset', c.req.param('dataset')),
        requireSlug('table', c.req.param('table')),
      ];
      const { cursor, limit } = queryAs(c, z.strictObject(pageQuery));
      const after = cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString();
      if (after !== undefined && !/^\d{1,18} [\x21-\x7e]+$/.test(after)) {
        throw new ApiError('invalid-request', 'cursor: it is not one of this list.');
      }
      const table = await requireTable(ctx, dataset, name);
      const { items, last } = pageOf(await listManifests(ctx, table, { after, limit: wanted(limit) }), limit);
      const next = last === undefined ? null : Buffer.from(last.at).toString('base64url');
      return c.json({ manifests: items.map(manifestView), next });
    },
  );

function manifestView(manifest: ManifestRecord): z.input<typeof manifestSchema> {
  const { id, lane, incarnation, token, checksum, trigger, inserts, batches } = manifest;
  return {
    id,
    lane,
    incarnation,
    token,
    epoch: Number(manifest.epoch),
    sequences: { from: Number(manifest.seq_from), to: Number(manifest.seq_to) },
    rows: Number(manifest.rows),
    bytes: Number(manifest.bytes),
    schemaVersion: manifest.schema_version,
    checksum,
    trigger,
    quarantined: Number(manifest.quarantined),
    expired: Number(manifest.expired),
    inserts,
    batches,
    flushedAt: timeText(manifest.flushedAt_ms),
    partitions: manifest.partitions.map(({ partition, rows, timeFrom_ms, timeTo_ms, checksum: sum }) => ({
      partition,
      rows,
      timeFrom: timeText(timeFrom_ms),
      timeTo: timeText(timeTo_ms),
      checksum: sum,
    })),
  };
}
