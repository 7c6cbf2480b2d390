import * as z from 'zod';
import { requireTable } from '../../src/catalog/change-table.ts';
import { quarantineTable } from '../../src/catalog/quarantine-table.ts';
import { slug } from '../../src/core/identifiers.ts';
import { newestAudits } from '../../src/operations/row-audit/audit-due.ts';
import { auditTable } from '../../src/operations/row-audit/audit-table.ts';
import { metricsText } from '../../src/telemetry/metrics-text.ts';
import { routes } from '../http/app.ts';
import { requireAll, requireDataset, requireScope } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { withTimestore } from '../http/middleware.ts';
import { openApiRoute } from '../http/openapi-route.ts';

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

export const auditRoutes = routes()
  .post(
    '/v1/admin/audit',
    openApiRoute({
      summary: 'Audit a table now',
      example: { body: { dataset: 'demo', table: 'readings' } },
      description:
        'Compares what was acknowledged with where it is: the hot buffer, the manifests and ClickHouse, for each lane and ' +
        'partition. Retention and recorded deletions are accounted for; manifests that are missing are rebuilt.',
      tag: 'Admin',
      body: { required: true, types: { 'application/json': auditBody } },
      answers: { 200: { description: 'The result', schema: auditSchema } },
      errors: ['not-found'],
    }),
    requireScope('admin'),
    async (c) => {
      const { dataset, table: name } = await parseBody(c, auditBody);
      requireDataset(c, ['admin'], dataset);
      const table = await requireTable(c.get('ctx'), dataset, name);
      return c.json((await auditTable(c.get('ctx'), table)) satisfies z.input<typeof auditSchema>);
    },
  )
  .get(
    '/v1/admin/audit',
    openApiRoute({
      summary: 'The newest audit of each table',
      example: {},
      description: 'Made every few hours (limit audit_every_ms), and by `POST`.',
      tag: 'Admin',
      answers: { 200: { description: 'The audits', schema: newestSchema } },
    }),
    requireScope('admin'),
    async (c) => {
      const audits = await newestAudits(c.get('ctx'));
      const own = audits.filter(({ dataset }) => c.get('key').covers('admin', dataset));
      return c.json({ audits: own } satisfies z.input<typeof newestSchema>);
    },
  )
  .get(
    '/metrics',
    openApiRoute({
      summary: 'Metrics',
      example: {},
      description:
        'In the text format of Prometheus, from state that all instances share. What a store that is away would tell is left ' +
        'out, and `timestore_store_up` says which it is.',
      tag: 'Health',
      answers: { 200: { description: 'Metrics', type: 'text/plain', schema: z.string() } },
    }),
    withTimestore,
    requireAll('admin'),
    async (c) => {
      return c.body(await metricsText(c.get('ctx')), 200, { 'content-type': 'text/plain; version=0.0.4' });
    },
  );
