import * as z from 'zod';
import {
  addUpdate,
  changeIncident,
  createIncident,
  type Incident,
  incidentImpacts,
  incidentStatuses,
  listIncidents,
  readIncident,
} from '../../src/monitoring/incidents/incident.ts';
import { requireDataset } from '../http/auth.ts';
import { etagHeader } from '../http/catalogue-schema.ts';
import { datasetQuery, monitorReadScopes } from '../http/monitor-request.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, timeText, wanted } from '../http/paging.ts';
import { idParams, ifMatchHeader } from '../http/params.ts';
import { route } from '../http/route.ts';

const incidentSchema = z
  .object({
    id: z.string(),
    title: z.string(),
    impact: z.enum(incidentImpacts),
    status: z.enum(incidentStatuses),
    rootService: z.string().nullable().meta({ description: 'the service that caused it; null for one of a person' }),
    isAutomatic: z.boolean(),
    isPublic: z.boolean().meta({ description: 'whether status pages show it' }),
    openedAt: z.string(),
    resolvedAt: z.string().nullable(),
    revision: z.int(),
    updates: z
      .array(z.object({ at: z.string(), status: z.enum(incidentStatuses), body: z.string(), actor: z.string() }))
      .meta({ description: 'the timeline, oldest first' }),
    alerts: z.array(
      z.object({ ruleId: z.string(), fingerprint: z.string(), episode: z.int(), resolvedAt: z.string().nullable() }),
    ),
  })
  .meta({ id: 'Incident' });

const members = {
  title: z.string().min(1).max(200),
  impact: z.enum(incidentImpacts),
  isPublic: z.boolean(),
};
const update = { status: z.enum(incidentStatuses), body: z.string().min(1).max(5_000) };
const changeBody = z.strictObject(members).partial();
const createBody = z.strictObject({
  ...members,
  isPublic: members.isPublic.default(true),
  status: update.status.default('investigating'),
  body: update.body,
});

const revisionForm = /^"([0-9]{1,9})"$/;
const path = '/v1/monitor/incidents';
const tag = 'Monitoring';
const query = z.strictObject(datasetQuery);
const params = idParams('id of the incident');
const example = { path: { id: 'inc_5f0c3a1b9d2e4f6a8b7c6d5e' } };
const one = { description: 'The incident', schema: incidentSchema, headers: etagHeader };

export const monitorIncidentRoutes = [
  route(
    {
      method: 'get',
      path,
      scope: monitorReadScopes,
      tag,
      summary: 'List incidents',
      description: 'Lists incidents with their timelines, newest first.',
      query: z.strictObject({
        ...datasetQuery,
        open: z.stringbool().optional().meta({ type: 'boolean', description: 'only open ones, or only resolved ones' }),
        ...numberedQuery,
      }),
      responses: {
        200: {
          description: 'A page of incidents',
          schema: z.object({ incidents: z.array(incidentSchema), next: nextSchema }),
        },
      },
      example: { query: { limit: '10' } },
    },
    async ({ c, ctx, query: { dataset, open, cursor, limit }, json }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      const found = await listIncidents(ctx, dataset, { before: numberOf(cursor), isOpen: open, limit: wanted(limit) });
      const { items, last } = pageOf(found, limit);
      return json(200, { incidents: items.map(renderIncident), next: last?.n ?? null });
    },
  ),
  route(
    {
      method: 'post',
      path,
      scope: 'admin',
      tag,
      summary: 'Open an incident',
      query,
      body: createBody,
      responses: { 201: one },
      example: { body: { title: 'Payments fail', impact: 'major', body: 'We look into it.' } },
    },
    async ({ c, ctx, query: { dataset }, body, json }) => {
      requireDataset(c, ['admin'], dataset);
      const made = await createIncident(ctx, dataset, body);
      c.header('etag', `"${made.revision}"`);
      return json(201, renderIncident(made));
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/:id`,
      scope: monitorReadScopes,
      tag,
      summary: 'Read an incident',
      params,
      query,
      responses: { 200: one },
      errors: ['not-found'],
      example,
    },
    async ({ c, ctx, params: { id }, query: { dataset }, json }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      const found = await readIncident(ctx, dataset, id);
      c.header('etag', `"${found.revision}"`);
      return json(200, renderIncident(found));
    },
  ),
  route(
    {
      method: 'patch',
      path: `${path}/:id`,
      scope: 'admin',
      tag,
      summary: 'Change an incident',
      params,
      query,
      headers: ifMatchHeader(revisionForm),
      body: changeBody,
      responses: { 200: one },
      errors: ['not-found', 'precondition-failed'],
      example: { ...example, body: { isPublic: true } },
    },
    async ({ c, ctx, params: { id }, query: { dataset }, headers, body, json }) => {
      requireDataset(c, ['admin'], dataset);
      const changed = await changeIncident(ctx, dataset, id, body, headers['If-Match']?.[0]);
      c.header('etag', `"${changed.revision}"`);
      return json(200, renderIncident(changed));
    },
  ),
  route(
    {
      method: 'post',
      path: `${path}/:id/updates`,
      scope: 'admin',
      tag,
      summary: 'Add an update to an incident',
      description: 'Sets the status and adds to the timeline. Updates are never changed.',
      params,
      query,
      body: z.strictObject(update),
      responses: { 201: one },
      errors: ['not-found', 'conflict'],
      example: { ...example, body: { status: 'identified', body: 'A full disk.' } },
    },
    async ({ c, ctx, params: { id }, query: { dataset }, body, json }) => {
      requireDataset(c, ['admin'], dataset);
      const changed = await addUpdate(ctx, dataset, id, body);
      c.header('etag', `"${changed.revision}"`);
      return json(201, renderIncident(changed));
    },
  ),
];

function renderIncident(incident: Incident): z.input<typeof incidentSchema> {
  const { n: _, openedAt_ms, resolvedAt_ms, updates, alerts, ...rest } = incident;
  const end = (time_ms: number | null) => (time_ms === null ? null : timeText(time_ms));
  return {
    ...rest,
    openedAt: timeText(openedAt_ms),
    resolvedAt: end(resolvedAt_ms),
    updates: updates.map(({ at_ms, ...each }) => ({ at: timeText(at_ms), ...each })),
    alerts: alerts.map(({ resolvedAt_ms: ended_ms, ...each }) => ({ ...each, resolvedAt: end(ended_ms) })),
  };
}
