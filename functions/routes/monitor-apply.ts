import * as z from 'zod';
import { applySet } from '../../src/monitoring/changes/apply.ts';
import { putSecret, removeSecret } from '../../src/monitoring/changes/change-secret.ts';
import { resourceId, secretName } from '../../src/monitoring/resources/common.ts';
import { collections, definitions, kinds } from '../../src/monitoring/resources/kinds.ts';
import { listSecrets } from '../../src/monitoring/resources/secrets.ts';
import { requireDataset } from '../http/auth.ts';
import { etagHeader } from '../http/catalogue-schema.ts';
import { datasetQuery, monitorReadScopes } from '../http/monitor-request.ts';
import { nextSchema, pageOf, pageQuery, timeText, wanted } from '../http/paging.ts';
import { ifMatchHeader } from '../http/params.ts';
import { route } from '../http/route.ts';

const secretValue = z.string().min(1).max(10_000);

const resources = z.strictObject({
  services: z.record(resourceId, definitions.service).optional(),
  relations: z.record(resourceId, definitions.relation).optional(),
  rules: z.record(resourceId, definitions.rule).optional(),
  channels: z.record(resourceId, definitions.channel).optional(),
  silences: z.record(resourceId, definitions.silence).optional(),
  maintenances: z.record(resourceId, definitions.maintenance).optional(),
  pages: z.record(resourceId, definitions.page).optional(),
  slos: z.record(resourceId, definitions.slo).optional(),
});

const applyBody = z.strictObject({
  resources: resources.meta({ description: 'definitions by collection and id' }),
  secrets: z
    .record(secretName, secretValue)
    .default({})
    .meta({ description: 'values of secrets by name; no answer contains them' }),
  prune: z.boolean().default(false).meta({
    description:
      'also delete resources that the set does not have; silences only if the set has the collection `silences`',
  }),
  dryRun: z.boolean().default(false).meta({ description: 'plan and check, without a change' }),
});

const planSchema = z
  .object({
    revision: z.int().meta({ description: 'revision of the configuration, also the `ETag`' }),
    dryRun: z.boolean(),
    changes: z.array(
      z.object({
        action: z.enum(['create', 'change', 'remove']),
        kind: z.enum([...kinds, 'secret']),
        id: z.string(),
        members: z
          .array(
            z.object({
              member: z.string(),
              before: z.unknown().optional(),
              after: z.unknown().optional(),
              isSecret: z.literal(true).optional(),
            }),
          )
          .meta({ description: 'members that differ; of a secret only the name' }),
      }),
    ),
    unchanged: z.int().meta({ description: 'resources of the set that are stored as they are' }),
  })
  .meta({ id: 'MonitorPlan' });

const revisionForm = /^"([0-9]{1,15})"$/;
const path = '/v1/monitor/secrets';
const query = z.strictObject(datasetQuery);
const params = { name: secretName };
const example = { path: { name: 'API_TOKEN' } };
const tag = 'Monitoring';

export const monitorApplyRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/monitor/apply',
      scope: 'admin',
      tag,
      summary: 'Apply a set of resources',
      description:
        `Creates and changes the resources of the set (${Object.values(collections).join(', ')}), all or nothing, and answers ` +
        'the plan. With `If-Match`, the configuration must still have the revision of an earlier plan.',
      query,
      headers: ifMatchHeader(revisionForm),
      body: applyBody,
      responses: {
        200: { description: 'The plan, carried out unless `dryRun`', schema: planSchema, headers: etagHeader },
      },
      errors: ['not-found', 'inconsistent-change', 'conflict', 'precondition-failed'],
      example: {
        body: {
          resources: {
            services: { shop: { label: 'Shop', stack: 'shop' } },
            rules: {
              'shop-silent': { ruleName: 'Shop is silent', serviceId: 'shop', condition: 'no_data >', threshold: 300 },
            },
          },
        },
      },
    },
    async ({ c, ctx, query: { dataset }, headers, body, json }) => {
      requireDataset(c, ['admin'], dataset);
      const { resources: set, ...options } = body;
      const [revision] = headers['If-Match'] ?? [];
      const applied = await applySet(ctx, dataset, set, { ...options, revision });
      c.header('etag', `"${applied.revision}"`);
      return json(200, { dryRun: options.dryRun, ...applied });
    },
  ),
  route(
    {
      method: 'get',
      path,
      scope: monitorReadScopes,
      tag,
      summary: 'List secrets',
      description: 'Lists names only. No request returns a value.',
      query: z.strictObject({ ...datasetQuery, ...pageQuery }),
      responses: {
        200: {
          description: 'A page of names',
          schema: z.object({
            secrets: z.array(z.object({ name: z.string(), changedAt: z.string() })),
            next: nextSchema,
          }),
        },
      },
      example: { query: { limit: '10' } },
    },
    async ({ c, ctx, query: { dataset, cursor, limit }, json }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      const found = await listSecrets(ctx, dataset, { after: cursor, limit: wanted(limit) });
      const { items, last } = pageOf(found, limit);
      const secrets = items.map(({ name, changedAt_ms }) => ({ name, changedAt: timeText(changedAt_ms) }));
      return json(200, { secrets, next: last?.name ?? null });
    },
  ),
  route(
    {
      method: 'put',
      path: `${path}/:name`,
      scope: 'admin',
      tag,
      summary: 'Set a secret',
      description: 'Definitions refer to it as `{"secret": "<name>"}`.',
      params,
      query,
      body: z.strictObject({ value: secretValue }),
      responses: { 204: { description: 'The value is stored' } },
      errors: ['inconsistent-change', 'conflict'],
      example: { ...example, body: { value: 'k3y' } },
    },
    async ({ c, ctx, params: { name }, query: { dataset }, body: { value } }) => {
      requireDataset(c, ['admin'], dataset);
      await putSecret(ctx, dataset, name, value);
      return c.body(null, 204);
    },
  ),
  route(
    {
      method: 'delete',
      path: `${path}/:name`,
      scope: 'admin',
      tag,
      summary: 'Delete a secret',
      description: 'A secret that a definition refers to cannot be deleted.',
      params,
      query,
      responses: { 204: { description: 'The secret is deleted' } },
      errors: ['inconsistent-change', 'conflict'],
      example,
    },
    async ({ c, ctx, params: { name }, query: { dataset } }) => {
      requireDataset(c, ['admin'], dataset);
      await removeSecret(ctx, dataset, name);
      return c.body(null, 204);
    },
  ),
];
