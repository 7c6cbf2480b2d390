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
    ok: z.boolean().meta({ description: 'true if no rows are missing, duplicated or unaccounted for' }),
    missing: z.int().meta({ description: 'rows that are missing in ClickHouse' }),
    doubled: z.int().meta({ description: 'rows that ClickHouse has more than once' }),
    unaccounted: z.int().meta({ description: 'rows in ClickHouse without a record' }),
    lanes: z.array(
      z.object({
        lane: z.int(),
        incarnation: z.string(),
        sequence: z.int(),
        watermark: z.int(),
        buffer: z.object({ batches: sums, rows: sums, isWhole: z.boolean() }).nullable(),
        rebuilt: z.array(range).meta({ description: 'sequences whose missing manifest was recorded again' }),
      }),
    ),
    shownAgain: z
      .object({
        imports: z.array(z.string()),
        lanes: z.array(z.object({ lane: z.int(), from: z.int(), to: z.int() })),
      })
      .meta({
        description:
          'imports and ranges of sequences that the hot buffer lost in a failover after their publication, and that queries ' +
          'include again',
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
      .meta({ description: 'partitions with a difference, or with expired or deleted rows' }),
    compared: z.int().meta({ description: 'number of compared partitions, over all lanes' }),
  })
  .meta({ id: 'Audit' });

const auditBody = z.strictObject({ dataset: slug, table: z.union([slug, z.literal(quarantineTable)]) });

const newestSchema = z.object({
  audits: z.array(auditSchema.extend({ age_s: z.number().meta({ description: 'seconds since the audit' }) })),
});

export const auditRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/admin/audit',
      scope: 'admin',
      tag: 'Admin',
      summary: 'Audit a table',
      description:
        'Compares the acknowledged rows with the hot buffer, the manifests and ClickHouse, for each lane and partition. Takes ' +
        'retention and recorded deletions into account. Rebuilds missing manifests.',
      body: auditBody,
      responses: { 200: { description: 'The result of the audit', schema: auditSchema } },
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
      summary: 'List the latest audits',
      description:
        'Lists the latest audit of each table. Audits run periodically (limit audit_every_ms) and by `POST`.',
      responses: { 200: { description: 'The latest audit of each table', schema: newestSchema } },
      example: {},
    },
    async ({ ctx, key, json }) => {
      const audits = await newestAudits(ctx);
      const own = audits.filter(({ dataset }) => key.covers('admin', dataset));
      return json(200, { audits: own });
    },
  ),
];
