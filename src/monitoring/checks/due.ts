import { hash } from 'node:crypto';
import { msOf } from '../duration.ts';
import type { MonitorConfig, MonitoredService } from '../resources/store.ts';
import type { ActiveCheck } from './target.ts';

export const tick_ms = 60_000;

export type DueCheck = { service: MonitoredService; check: ActiveCheck };

/** The check that this deployment makes of a service; undefined for a service that is disabled, or that reports itself. */
export function activeCheck(service: MonitoredService): ActiveCheck | undefined {
  const { statusConfig: check, enabled } = service;
  return !enabled || check === null || check.check === 'heartbeat' ? undefined : check;
}

/**
 * The checks that are due in a minute. Services with the same interval have different minutes.
 *
 * @param tick minutes since 1970
 */
export function dueChecks({ services }: Pick<MonitorConfig, 'services'>, tick: number): DueCheck[] {
  const due: DueCheck[] = [];
  for (const service of services.values()) {
    const check = activeCheck(service);
    if (check === undefined) continue;
    const every = Math.max(1, Math.round(msOf(check.interval) / tick_ms));
    if ((tick + phaseOf(service.serviceId)) % every === 0) due.push({ service, check });
  }
  return due;
}

function phaseOf(serviceId: string): number {
  return Number.parseInt(hash('sha256', serviceId).slice(0, 8), 16);
}

/** The checks of one message, and of one request with rows. */
export const shardChecks_max = 25;

export type Shard = { dataset: string; tick: number; services: string[] };

/** Divides due checks into shards. The same configuration gives the same shards. */
export function shardsOf(dataset: string, tick: number, due: DueCheck[]): Shard[] {
  const ids = due
    .map(({ service }) => service.serviceId)
    .map((id) => ({ id, order: phaseOf(id) }))
    .sort((a, b) => a.order - b.order || (a.id < b.id ? -1 : 1));
  const shards: Shard[] = [];
  for (let from = 0; from < ids.length; from += shardChecks_max) {
    shards.push({ dataset, tick, services: ids.slice(from, from + shardChecks_max).map(({ id }) => id) });
  }
  return shards;
}

/** Names the rows of a shard. A second run of it measures other times, and is recognised by the key. */
export function shardKey({ dataset, tick, services }: Shard): string {
  return `checks/${dataset}/${hash('sha256', services.join(' ')).slice(0, 16)}/${tick}`;
}
