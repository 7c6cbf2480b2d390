import * as z from 'zod';
import { requireTable } from '../../src/catalog/change-table.ts';
import { quarantineTable } from '../../src/catalog/quarantine-table.ts';
import { slug } from '../../src/core/identifiers.ts';
import { newestAudits } from '../../src/operations/row-audit/audit-due.ts';
import { auditTable } from '../../src/operations/row-audit/audit-table.ts';
import { requireDataset } from '../http/auth.ts';
import { route } from '../http/route.ts';

const sums = z.object({ expected: z.int(), found: z.int() });
const range = z.object({ from: z.int(), to: z.int() });

const auditSchema = z
  .object({
    dataset: z.string(),
    table: z.string(),
    ok: z.boolean().meta({ description: 'nothing missing, doubled or unaccounted for' }),
    missing: z.int().meta({ description: 'rows that should be in ClickHouse and are not' }),
    doubled: z.int().meta({ description: 'rows that are there more than once' }),
    unaccounted: z.int().meta({ description: 'rows that are there and on no record' }),
    lanes: z.array(
      z.object({
        lane: z.int(),
        incarnation: z.string(),
        sequence: z.int(),
        watermark: z.int(),
        buffer: z.object({ batches: sums, rows: sums, isWhole: z.boolean() }).nullable(),
        rebuilt: z.array(range).meta({ description: 'sequences whose manifest was missing and is on record again' }),
      }),
    ),
    shownAgain: z
      .object({
        imports: z.array(z.string()),
        lanes: z.array(z.object({ lane: z.int(), from: z.int(), to: z.int() })),
      })
      .meta({
        description:
          'what the hot buffer had forgotten in a failover after it was published, and shows again now: imports, and ' +
          'ranges of sequences',
      }),
    partitions: z
      .array(
        z.object({
          lane: z.int(),
          partition: z.string(),
          expected: z.int(),
          found: z.int(),
          missing: z.int(),
          doubled: z.int(),
          unaccounted: z.int(),
          expired: z.int(),
          deleted: z.int(),
        }),
      )
      .meta({ description: 'those that do not add up, or of which rows are gone for a reason' }),
    compared: z.int().meta({ description: 'partitions compared, over all lanes' }),
  })
  .meta({ id: 'Audit' });

const auditBody = z.strictObject({ dataset: slug, table: z.union([slug, z.literal(quarantineTable)]) });

const newestSchema = z.object({
  audits: z.array(auditSchema.extend({ age_s: z.number().meta({ description: 'seconds since it was made' }) })),
});

export const auditRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/admin/audit',
      scope: 'admin',
      tag: 'Admin',
      summary: 'Audit a table now',
      description:
        'Compares what was acknowledged with where it is: the hot buffer, the manifests and ClickHouse, for each lane and ' +
        'partition. Retention and recorded deletions are accounted for; manifests that are missing are rebuilt.',
      body: auditBody,
      responses: { 200: { description: 'The result', schema: auditSchema } },
      errors: ['not-found'],
      example: { body: { dataset: 'demo', table: 'readings' } },
    },
    async ({ c, ctx, body: { dataset, table: name }, json }) => {
      requireDataset(c, ['admin'], dataset);
      const table = await requireTable(ctx, dataset, name);
      return json(200, await auditTable(ctx, table));
    },
  ),
  route(
    {
      method: 'get',
      path: '/v1/admin/audit',
      scope: 'admin',
      tag: 'Admin',
      summary: 'The newest audit of each table',
      description: 'Made every few hours (limit audit_every_ms), and by `POST`.',
      responses: { 200: { description: 'The audits', schema: newestSchema } },
      example: {},
    },
    async ({ ctx, key, json }) => {
      const audits = await newestAudits(ctx);
      const own = audits.filter(({ dataset }) => key.covers('admin', dataset));
      return json(200, { audits: own });
    },
  ),
];
