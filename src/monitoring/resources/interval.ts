import { durationOf } from '../duration.ts';
import type { Service } from './service.ts';

const minute_ms = 60_000;

/** How often a row of a service is expected, in milliseconds. A heartbeat with a cron expression counts as daily. */
export function checkInterval_ms({ statusConfig, interval }: Pick<Service, 'statusConfig' | 'interval'>): number {
  if (statusConfig === null) return durationOf(interval ?? '') ?? minute_ms;
  if (statusConfig.check === 'heartbeat') return durationOf(statusConfig.period ?? '1d') ?? minute_ms;
  return durationOf(statusConfig.interval) ?? minute_ms;
}
