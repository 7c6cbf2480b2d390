import { msOf } from '../duration.ts';
import type { Service } from './service.ts';

/**
 * How often a row of a service is expected, in milliseconds: the interval of its check, the period of its heartbeat, a day for a
 * heartbeat with a cron expression, or the interval in which it reports.
 */
export function checkInterval_ms({
  statusConfig,
  interval = '1m',
}: Pick<Service, 'statusConfig' | 'interval'>): number {
  if (statusConfig === null) return msOf(interval);
  return msOf(statusConfig.check === 'heartbeat' ? (statusConfig.period ?? '1d') : statusConfig.interval);
}
