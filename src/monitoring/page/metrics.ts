import * as z from 'zod';
import type { ReadScope } from '../../query/execution/read-scope.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { MonitoringDeps } from '../deps.ts';
import { readConfig } from '../resources/store.ts';
import { statusCodes } from '../status.ts';
import { readClock_ms } from './clock.ts';
import { readCurrent } from './current.ts';

type Sample = { labels: Record<string, string>; value: number };

const activeRow = z.object({ ruleId: z.string(), serviceId: z.string(), state: z.string(), count: z.number() });

/**
 * The status of each service and the active alerts of a dataset, in the text format of OpenMetrics. A service without rows
 * has the status 5, and neither an age nor a response time.
 *
 * @throws ApiError; StoreError
 */
export async function monitorMetrics(ctx: MonitoringDeps, reader: ReadScope, dataset: string): Promise<string> {
  const [config, alerts, now_ms] = await Promise.all([
    readConfig(ctx, dataset),
    readActiveAlerts(ctx, dataset),
    readClock_ms(ctx),
  ]);
  const services = [...config.services.values()].filter(({ enabled }) => enabled);
  const current = await readCurrent(ctx, reader, dataset, services, now_ms);
  const seen = services.map((service) => {
    const { serviceId, stack } = service;
    return { labels: { service_id: serviceId, stack }, newest: current.get(serviceId) };
  });
  const rules = new Map(config.rules.map((rule) => [rule.ruleId, rule]));
  return [
    family(
      'timestore_service_status',
      'Status code of the newest row: 0 OK, 1 degraded, 2 failed, 3 starting, 4 stopped, 5 unknown.',
      seen.map(({ labels, newest }) => ({ labels, value: newest?.statusCode ?? statusCodes.unknown })),
    ),
    family(
      'timestore_service_last_seen_seconds',
      'Time since the newest row, in seconds.',
      seen.flatMap(({ labels, newest }) =>
        newest === undefined ? [] : [{ labels, value: Math.max(0, now_ms - newest.at_ms) / 1_000 }],
      ),
    ),
    family(
      'timestore_service_response_time_ms',
      'Response time in the newest row, in milliseconds.',
      seen.flatMap(({ labels, newest }) =>
        newest === undefined || newest.responseTime_ms === null ? [] : [{ labels, value: newest.responseTime_ms }],
      ),
    ),
    family(
      'ALERTS',
      'Active alerts: pending or firing.',
      alerts.map(({ ruleId, serviceId, state, count }) => ({
        labels: {
          alertname: rules.get(ruleId)?.ruleName ?? ruleId,
          alertstate: state,
          rule_id: ruleId,
          service_id: serviceId,
          severity: rules.get(ruleId)?.severity ?? '',
        },
        value: count,
      })),
    ),
    '# EOF\n',
  ].join('');
}

/** An alert that recovers is still firing. */
async function readActiveAlerts(ctx: MonitoringDeps, dataset: string): Promise<z.output<typeof activeRow>[]> {
  const rows = await ctx.postgres.rows(
    `select rule_id as "ruleId", service_id as "serviceId",
            case state when 'pending' then 'pending' else 'firing' end as state, count(*)::float8 as count
       from alert_instances where buffer = $buffer and dataset = $dataset
      group by 1, 2, 3 order by 1, 2, 3`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset },
  );
  return checkRows(activeRow, rows);
}

function family(name: string, help: string, samples: Sample[]): string {
  const lines = samples.map(({ labels, value }) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${labelText(text)}"`);
    return `${name}{${pairs.join(',')}} ${value}\n`;
  });
  return `# TYPE ${name} gauge\n# HELP ${name} ${help}\n${lines.join('')}`;
}

function labelText(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
