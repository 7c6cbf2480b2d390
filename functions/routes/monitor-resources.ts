import type { Context } from 'hono';
import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { patchResource, putResource, removeResource } from '../../src/monitoring/changes/change-resource.ts';
import { resourceId } from '../../src/monitoring/resources/common.ts';
import { collections, definitions, type Kind, kinds } from '../../src/monitoring/resources/kinds.ts';
import { listResources, type Resource, readResource } from '../../src/monitoring/resources/store.ts';
import type { App } from '../http/app.ts';
import { requireDataset } from '../http/auth.ts';
import { etagHeader } from '../http/catalogue-schema.ts';
import { datasetQuery, monitorReadScopes } from '../http/monitor-request.ts';
import { nextSchema, pageOf, pageQuery, timeText, wanted } from '../http/paging.ts';
import { ifMatchHeader } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';

type Texts = { one: string; many: string; about?: string; id: string; example: unknown; patch: unknown };

/** Each kind in words, with an example. The examples refer to each other in the order of the kinds. */
const texts: Record<Kind, Texts> = {
  service: {
    one: 'a service',
    many: 'services',
    about:
      'The check of a service runs by its `interval`. A service without a check reports its status as rows of `service_status`.',
    id: 'api',
    example: {
      label: 'API',
      stack: 'shop',
      statusConfig: { check: 'http', url: 'https://api.example.com/health', conditions: ['[STATUS] == 200'] },
    },
    patch: { statusConfig: { interval: '5m' } },
  },
  relation: {
    one: 'a relation',
    many: 'relations',
    about: 'While the target fails, alerts of the source are suppressed. Relations have no cycle.',
    id: 'shop-needs-api',
    example: { sourceServiceId: 'shop', targetServiceId: 'api', relationType: 'depends_on' },
    patch: { enabled: false },
  },
  channel: {
    one: 'a channel',
    many: 'channels',
    about: 'Addresses and keys are stored as secrets. Answers name the secrets and never contain their values.',
    id: 'ops',
    example: { kind: 'webhook', url: 'https://hooks.example.com/alerts' },
    patch: { groupWait: '30s' },
  },
  rule: {
    one: 'an alert rule',
    many: 'alert rules',
    id: 'api-down',
    example: {
      ruleName: 'API does not answer',
      serviceId: 'api',
      condition: 'failures_in_a_row >=',
      threshold: 2,
      severity: 'critical',
      notificationChannels: ['ops'],
    },
    patch: { threshold: 3 },
  },
  silence: {
    one: 'a silence',
    many: 'silences',
    about: 'Matching alerts that fire from `from` until `until` send no message.',
    id: 'move-of-the-database',
    example: {
      matchers: [{ label: 'service_id', value: 'api' }],
      from: '2026-05-01T10:00:00Z',
      until: '2026-05-01T12:00:00Z',
    },
    patch: { comment: 'until the new disks are in' },
  },
  maintenance: {
    one: 'a maintenance window',
    many: 'maintenance windows',
    about: 'Once, from `from` until `until`, or by a cron expression in a time zone.',
    id: 'nightly',
    example: {
      title: 'Nightly update',
      services: ['api'],
      cron: '30 2 * * *',
      duration: '1h',
      timeZone: 'Europe/Berlin',
    },
    patch: { duration: '90m' },
  },
  page: {
    one: 'a status page',
    many: 'status pages',
    about: 'A page shows the labels of its components, and nothing else of the services.',
    id: 'shop',
    example: { title: 'Shop', components: [{ id: 'api', label: 'API', services: ['api'] }], isPublic: true },
    patch: { description: 'Status of the shop and its API' },
  },
  slo: {
    one: 'an SLO',
    many: 'SLOs',
    id: 'api-availability',
    example: { serviceId: 'api', target: 99.9, window: '30d' },
    patch: { target: 99.95 },
  },
};

const revisionForm = /^"([0-9]{1,9})"$/;
const query = z.strictObject(datasetQuery);
const params = { id: resourceId };

export const monitorResourceRoutes = kinds.flatMap(routesOf);

function routesOf(kind: Kind): Route[] {
  const { one, many, about, id, example, patch } = texts[kind];
  const collection = collections[kind];
  const path = `/v1/monitor/${collection}` as const;
  const definition: z.ZodType<object> = definitions[kind];
  const name = `${kind[0]?.toUpperCase()}${kind.slice(1)}`;
  const view = z
    .object({
      id: z.string(),
      definition,
      revision: z.int(),
      createdAt: z.string(),
      changedAt: z.string(),
      changedBy: z.string().meta({ description: 'id of the key' }),
    })
    .meta({ id: `Monitor${name}` });
  const changed = {
    200: { description: `The ${many === 'SLOs' ? 'SLO' : 'resource'}`, schema: view, headers: etagHeader },
  };
  const tag = 'Monitoring';
  const inPath = { id };
  const respond = (c: Context<App>, resource: Resource) => {
    c.header('etag', `"${resource.revision}"`);
    return render(resource);
  };
  return [
    route(
      {
        method: 'get',
        path,
        scope: monitorReadScopes,
        tag,
        summary: `List ${many}`,
        query: z.strictObject({ ...datasetQuery, ...pageQuery }),
        responses: {
          200: {
            description: `A page of ${many}, by id`,
            schema: z.object({ [collection]: z.array(view), next: nextSchema }),
          },
        },
        example: { query: { limit: '10' } },
      },
      async ({ c, ctx, query: { dataset, cursor, limit }, json }) => {
        requireDataset(c, [...monitorReadScopes], dataset);
        const found = await listResources(ctx, dataset, kind, { after: cursor, limit: wanted(limit) });
        const { items, last } = pageOf(found, limit);
        return json(200, { [collection]: items.map(render), next: last?.id ?? null } as never);
      },
    ),
    route(
      {
        method: 'get',
        path: `${path}/:id`,
        scope: monitorReadScopes,
        tag,
        summary: `Get ${one}`,
        params,
        query,
        responses: changed,
        example: { path: inPath },
      },
      async ({ c, ctx, params: { id }, query: { dataset }, json }) => {
        requireDataset(c, [...monitorReadScopes], dataset);
        return json(200, respond(c, await readResource(ctx, dataset, kind, id)));
      },
    ),
    route(
      {
        method: 'put',
        path: `${path}/:id`,
        scope: 'admin',
        tag,
        summary: `Create or replace ${one}`,
        ...(about !== undefined && { description: about }),
        params,
        query,
        headers: ifMatchHeader(revisionForm),
        body: definition,
        responses: changed,
        errors: ['inconsistent-change', 'conflict', 'precondition-failed'],
        example: { path: inPath, body: example },
      },
      async ({ c, ctx, params: { id }, query: { dataset }, headers, body, json }) => {
        requireDataset(c, ['admin'], dataset);
        const [revision] = headers['If-Match'] ?? [];
        const resource = await putResource(ctx, { dataset, kind, id, revision }, { ...body });
        return json(200, respond(c, resource));
      },
    ),
    route(
      {
        method: 'patch',
        path: `${path}/:id`,
        scope: 'admin',
        tag,
        summary: `Change members of ${one}`,
        description: 'Merges the members as RFC 7396 says: null removes a member, a list is replaced.',
        params,
        query,
        headers: ifMatchHeader(revisionForm),
        body: z.record(z.string(), z.unknown()),
        responses: changed,
        errors: ['inconsistent-change', 'conflict', 'precondition-failed'],
        example: { path: inPath, body: patch },
      },
      async ({ c, ctx, params: { id }, query: { dataset }, headers, body, json }) => {
        requireDataset(c, ['admin'], dataset);
        if (Object.keys(body).length === 0) throw new ApiError('invalid-request', 'The body has no member.');
        const [revision] = headers['If-Match'] ?? [];
        const resource = await patchResource(ctx, { dataset, kind, id, revision }, body);
        return json(200, respond(c, resource));
      },
    ),
    route(
      {
        method: 'delete',
        path: `${path}/:id`,
        scope: 'admin',
        tag,
        summary: `Delete ${one}`,
        params,
        query,
        headers: ifMatchHeader(revisionForm),
        responses: { 204: { description: 'It is deleted' } },
        errors: ['inconsistent-change', 'conflict', 'precondition-failed'],
        example: { path: inPath },
      },
      async ({ c, ctx, params: { id }, query: { dataset }, headers }) => {
        requireDataset(c, ['admin'], dataset);
        const [revision] = headers['If-Match'] ?? [];
        await removeResource(ctx, { dataset, kind, id, revision });
        return c.body(null, 204);
      },
    ),
  ];
}

function render({ id, definition, revision, createdAt_ms, changedAt_ms, actor }: Resource) {
  return {
    id,
    definition,
    revision,
    createdAt: timeText(createdAt_ms),
    changedAt: timeText(changedAt_ms),
    changedBy: actor,
  };
}
