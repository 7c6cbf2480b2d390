import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { invalidRequest } from '../../src/core/invalid-request.ts';
import { duration, msOf } from '../../src/monitoring/duration.ts';
import { availabilityOf, countAvailability, type SlotCounts, totalOf } from '../../src/monitoring/page/availability.ts';
import { readClock_ms } from '../../src/monitoring/page/clock.ts';
import { effectiveStatus, readCurrent } from '../../src/monitoring/page/current.ts';
import { readHistory } from '../../src/monitoring/page/history.ts';
import { monitorMetrics } from '../../src/monitoring/page/metrics.ts';
import { reportSlo } from '../../src/monitoring/page/slo.ts';
import { slotServices } from '../../src/monitoring/page/slots.ts';
import { readConfig } from '../../src/monitoring/resources/store.ts';
import { statusCodes, statusNames } from '../../src/monitoring/status.ts';
import { type Caller, requireDataset } from '../http/auth.ts';
import { datasetQuery, monitorReadScopes } from '../http/monitor-request.ts';
import { sloSchema, slotsSchema, statusSchema } from '../http/monitor-schema.ts';
import { timeText } from '../http/paging.ts';
import { idParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const day_ms = 86_400_000;
const parts_max = 5_000;

const rangeQuery = {
  from: z.iso.datetime({ offset: true }).optional(),
  until: z.iso.datetime({ offset: true }).optional().meta({ description: 'exclusive; default: now' }),
};

/** The range of a request, of `default_ms` until now where it names none. Throws ApiError `invalid-request`. */
function rangeOf(query: { from?: string | undefined; until?: string | undefined }, now_ms: number, default_ms: number) {
  const until_ms = query.until === undefined ? now_ms : Date.parse(query.until);
  const from_ms = query.from === undefined ? until_ms - default_ms : Date.parse(query.from);
  if (from_ms >= until_ms) throw invalidRequest('from: must be before until');
  return { from_ms, until_ms, now_ms };
}

/** Reads with the scope that lets the key read the dataset, so that its row filter applies. */
function readerOf(key: Caller, dataset: string) {
  return key.reader(monitorReadScopes.find((scope) => key.covers(scope, dataset)) ?? 'query');
}

function slotFields(counts: SlotCounts) {
  const { good, bad, all, maintenance } = counts;
  return { ...availabilityOf(counts), good, bad, slots: all, maintenance };
}

const shared = { method: 'get', scope: monitorReadScopes, tag: 'Monitoring' } as const;

export const monitorStatusRoutes = [
  route(
    {
      ...shared,
      path: '/v1/monitor/status',
      summary: 'Get the status of all services',
      description: 'Returns the newest status of each service. A service without rows has the status 5 (unknown).',
      query: z.strictObject(datasetQuery),
      responses: {
        200: {
          description: 'The services',
          schema: z.object({ asOf: z.string(), services: z.array(statusSchema) }),
        },
      },
      errors: ['not-found', 'stale-read'],
      example: { query: { dataset: 'monitor' } },
    },
    async ({ c, ctx, key, query: { dataset }, json }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      const [config, now_ms] = await Promise.all([readConfig(ctx, dataset), readClock_ms(ctx)]);
      const services = [...config.services.values()];
      const current = await readCurrent(ctx, readerOf(key, dataset), dataset, services, now_ms);
      const found = services.map((service) => {
        const { serviceId, label, serviceType, stack, enabled } = service;
        const newest = current.get(serviceId);
        const statusCode = newest?.statusCode ?? statusCodes.unknown;
        return {
          serviceId,
          label: label ?? serviceId,
          serviceType,
          stack,
          enabled,
          statusCode,
          status: statusNames[statusCode] ?? ('unknown' as const),
          effectiveStatusCode: effectiveStatus(service, newest, now_ms),
          message: newest?.message ?? null,
          lastSeenAt: newest === undefined ? null : timeText(newest.at_ms),
          responseTimeMs: newest?.responseTime_ms ?? null,
        };
      });
      return json(200, { asOf: timeText(now_ms), services: found });
    },
  ),
  route(
    {
      ...shared,
      path: '/v1/monitor/services/:id/history',
      summary: 'Get the history of a service',
      description:
        'Returns the rows of a service in parts of a range, by default of the last 24 hours. The first part begins at a multiple of ' +
        '`every`, so that every part but the current one is whole.',
      params: idParams('id of the service'),
      query: z.strictObject({
        ...datasetQuery,
        ...rangeQuery,
        every: duration({ least: '1m', most: '31d' }).default('1h'),
      }),
      responses: {
        200: {
          description: 'The parts, oldest first',
          schema: z.object({
            asOf: z.string(),
            serviceId: z.string(),
            every: z.string(),
            parts: z.array(
              z.object({
                from: z.string(),
                rows: z.int(),
                counts: z.array(z.int()).meta({ description: 'rows by status code, 0 to 5' }),
                failureRate: z.number().nullable().meta({ description: 'percent of all rows with the code 2' }),
                responseTimeMs: z.number().nullable().meta({ description: 'mean' }),
                ...slotsSchema,
              }),
            ),
          }),
        },
      },
      errors: ['not-found', 'stale-read'],
      example: { path: { id: 'api' }, query: { every: '1h' } },
    },
    async ({ c, ctx, key, params: { id }, query: { dataset, every, ...query }, json }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      const [config, now_ms] = await Promise.all([readConfig(ctx, dataset), readClock_ms(ctx)]);
      const service = config.services.get(id);
      if (service === undefined) throw new ApiError('not-found', `Service ${id} not found.`);
      const every_ms = msOf(every);
      const range = rangeOf(query, now_ms, day_ms);
      const from_ms = Math.floor(range.from_ms / every_ms) * every_ms;
      if ((range.until_ms - from_ms) / every_ms > parts_max) {
        throw invalidRequest(`every: the range has more than ${parts_max} parts`);
      }
      const services = slotServices(config, [service], from_ms, range.until_ms);
      const parts = await Promise.all(
        services.map((each) =>
          readHistory(ctx, readerOf(key, dataset), dataset, each, { ...range, from_ms, every_ms }),
        ),
      );
      return json(200, {
        asOf: timeText(now_ms),
        serviceId: id,
        every,
        parts: parts.flat().map(({ start_ms, rows, counts, responseTime_ms, slots: found }) => ({
          from: timeText(start_ms),
          rows,
          counts,
          failureRate: rows === 0 ? null : ((counts[statusCodes.failed] ?? 0) * 100) / rows,
          responseTimeMs: responseTime_ms,
          ...slotFields(found),
        })),
      });
    },
  ),
  route(
    {
      ...shared,
      path: '/v1/monitor/availability',
      summary: 'Get the availability of services',
      description:
        'Counts slots of the interval of each service. A slot is bad if a row in it has the code 2, and good if one has the code 0 or 1 ' +
        'and none the code 2. Other slots are unknown. Slots in maintenance are left out. Percentages are rounded down.',
      query: z.strictObject({
        ...datasetQuery,
        ...rangeQuery,
        serviceId: z.string().optional().meta({ description: 'only this service' }),
      }),
      responses: {
        200: {
          description: 'The services',
          schema: z.object({
            asOf: z.string(),
            from: z.string(),
            until: z.string(),
            services: z.array(z.object({ serviceId: z.string(), ...slotsSchema })),
          }),
        },
      },
      errors: ['not-found', 'stale-read'],
      example: { query: { serviceId: 'api' } },
    },
    async ({ c, ctx, key, query: { dataset, serviceId, ...query }, json }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      const [config, now_ms] = await Promise.all([readConfig(ctx, dataset), readClock_ms(ctx)]);
      const chosen = [...config.services.values()].filter((each) => [undefined, each.serviceId].includes(serviceId));
      if (serviceId !== undefined && chosen.length === 0) {
        throw new ApiError('not-found', `Service ${serviceId} not found.`);
      }
      const range = rangeOf(query, now_ms, 30 * day_ms);
      const services = slotServices(config, chosen, range.from_ms, range.until_ms);
      const counts = await countAvailability(ctx, readerOf(key, dataset), dataset, services, range);
      return json(200, {
        asOf: timeText(now_ms),
        from: timeText(range.from_ms),
        until: timeText(range.until_ms),
        services: services.map(({ serviceId: id }) => ({ serviceId: id, ...slotFields(totalOf(counts.get(id))) })),
      });
    },
  ),
  route(
    {
      ...shared,
      path: '/v1/monitor/slo',
      summary: 'Get error budgets',
      description:
        'Returns availability, error budget and burn rates of each SLO. A pair of windows burns if both exceed the factor and the long one ' +
        'has at least `minBad` bad slots.',
      query: z.strictObject(datasetQuery),
      responses: {
        200: { description: 'The SLOs', schema: z.object({ asOf: z.string(), slos: z.array(sloSchema) }) },
      },
      errors: ['not-found', 'stale-read'],
      example: { query: { dataset: 'monitor' } },
    },
    async ({ c, ctx, key, query: { dataset }, json }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      const [config, now_ms] = await Promise.all([readConfig(ctx, dataset), readClock_ms(ctx)]);
      const slos = [];
      // One after the other: each reads several windows at once.
      for (const slo of config.slos) {
        const report = await reportSlo(ctx, readerOf(key, dataset), dataset, config, { slo, now_ms });
        if (report !== undefined) slos.push(report);
      }
      return json(200, { asOf: timeText(now_ms), slos });
    },
  ),
  route(
    {
      ...shared,
      path: '/v1/monitor/metrics',
      summary: 'Get metrics of services',
      description: 'Returns the status of each service and the active alerts in the text format of OpenMetrics.',
      query: z.strictObject(datasetQuery),
      responses: { 200: { description: 'The metrics', type: 'application/openmetrics-text', schema: z.string() } },
      errors: ['not-found', 'stale-read'],
      example: { query: { dataset: 'monitor' } },
    },
    async ({ c, ctx, key, query: { dataset } }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      const text = await monitorMetrics(ctx, readerOf(key, dataset), dataset);
      return c.body(text, 200, { 'content-type': 'application/openmetrics-text; version=1.0.0; charset=utf-8' });
    },
  ),
];
