import * as z from 'zod';
import { acknowledgeAlert } from '../../src/monitoring/alerts/acknowledge.ts';
import { listActive, listEvents } from '../../src/monitoring/alerts/list-alerts.ts';
import { requireDataset } from '../http/auth.ts';
import { datasetQuery, monitorReadScopes } from '../http/monitor-request.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, timeText, wanted } from '../http/paging.ts';
import { route } from '../http/route.ts';

const activeSchema = z
  .object({
    ruleId: z.string(),
    fingerprint: z.string(),
    serviceId: z.string(),
    labels: z.record(z.string(), z.string()),
    state: z.enum(['pending', 'firing', 'recovering']),
    reason: z.enum(['breach', 'nodata', 'error']),
    since: z.string().meta({ description: 'when this state began' }),
    startsAt: z.string().meta({ description: 'when its cause began' }),
    firedAt: z.string().nullable(),
    episode: z.int(),
    flaps: z.int().meta({ description: 'how often it has begun to recover and failed again' }),
    value: z.number().nullable(),
    acknowledgedBy: z.string().nullable(),
    channels: z.array(z.string()).meta({ description: 'channels that were notified of it' }),
  })
  .meta({ id: 'ActiveAlert' });

const eventSchema = z
  .object({
    id: z.string(),
    at: z.string(),
    kind: z.string().meta({ description: 'fired, resolved, changed or acknowledged' }),
    ruleId: z.string(),
    fingerprint: z.string(),
    serviceId: z.string(),
    episode: z.int(),
    detail: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AlertEvent' });

export const monitorAlertRoutes = [
  route(
    {
      method: 'get',
      path: '/v1/monitor/alerts',
      scope: monitorReadScopes,
      tag: 'Monitoring',
      summary: 'List active alerts',
      description: 'Returns all alerts that are pending, firing or recovering.',
      query: z.strictObject(datasetQuery),
      responses: { 200: { description: 'The alerts', schema: z.object({ alerts: z.array(activeSchema) }) } },
      errors: ['not-found'],
      example: { query: { dataset: 'monitor' } },
    },
    async ({ c, ctx, query: { dataset }, json }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      const found = await listActive(ctx, dataset);
      const alerts = found.flatMap(({ machine, told, ...identity }) => {
        const { state, reason, episode, flaps, since_ms, startsAt_ms, firedAt_ms, ackedBy, value, firedValue } =
          machine;
        if (state === 'normal') return [];
        return {
          ...identity,
          state,
          reason,
          since: timeText(since_ms),
          startsAt: timeText(startsAt_ms),
          firedAt: firedAt_ms === null ? null : timeText(firedAt_ms),
          episode,
          flaps,
          value: firedValue ?? value,
          acknowledgedBy: ackedBy,
          channels: Object.keys(told),
        };
      });
      return json(200, { alerts });
    },
  ),
  route(
    {
      method: 'get',
      path: '/v1/monitor/alert-events',
      scope: monitorReadScopes,
      tag: 'Monitoring',
      summary: 'List the history of alerts',
      description: 'Returns what happened to alerts, the newest first.',
      query: z.strictObject({
        ...datasetQuery,
        ...numberedQuery,
        rule: z.string().max(128).optional().meta({ description: 'only events of this rule' }),
        service: z.string().max(128).optional().meta({ description: 'only events of this service' }),
      }),
      responses: {
        200: { description: 'A page of events', schema: z.object({ events: z.array(eventSchema), next: nextSchema }) },
      },
      errors: ['not-found'],
      example: { query: { dataset: 'monitor' } },
    },
    async ({ c, ctx, query: { dataset, cursor, limit, rule, service }, json }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      const found = await listEvents(ctx, dataset, { before: numberOf(cursor), rule, service }, wanted(limit));
      const { items, last } = pageOf(found, limit);
      const events = items.map(({ n: _, at_ms, ...rest }) => ({ ...rest, at: timeText(at_ms) }));
      return json(200, { events, next: last?.n ?? null });
    },
  ),
  route(
    {
      method: 'post',
      path: '/v1/monitor/alerts/:rule/:fingerprint/ack',
      scope: 'admin',
      tag: 'Monitoring',
      summary: 'Acknowledge an alert',
      description:
        'Stops repetitions and escalation of an open alert until it is resolved. Channels that were notified of it are notified of ' +
        'the acknowledgement.',
      params: {
        rule: z.string().max(128).meta({ description: 'id of the rule' }),
        fingerprint: z.string().max(64).meta({ description: 'fingerprint of the alert' }),
      },
      query: z.strictObject(datasetQuery),
      responses: {
        200: {
          description: 'The alert is acknowledged',
          schema: z.object({ acknowledgedBy: z.string(), episode: z.int() }),
        },
      },
      errors: ['not-found'],
      example: { path: { rule: 'api-down', fingerprint: '9f8c2a7d5e6b1c30' } },
    },
    async ({ c, ctx, params: { rule, fingerprint }, query: { dataset }, json }) => {
      requireDataset(c, ['admin'], dataset);
      const { ackedBy, episode } = await acknowledgeAlert(ctx, dataset, rule, fingerprint);
      return json(200, { acknowledgedBy: ackedBy, episode });
    },
  ),
];
