import { msOf } from '../duration.ts';
import { checkInterval_ms } from '../resources/interval.ts';
import type { RelationDefinition } from '../resources/relation.ts';
import { type Rule, severities } from '../resources/rule.ts';
import type { Service } from '../resources/service.ts';
import type { AlertInstance } from './instance.ts';

/** What suppression has to know at the time of an evaluation. */
export type Situation = {
  at_ms: number;
  services: ReadonlyMap<string, Service>;
  rules: ReadonlyMap<string, Rule>;
  /** Of services with an enabled relation: the services that each needs, directly and through others. */
  needs: ReadonlyMap<string, Set<string>>;
  /** Instances that are not normal, by service. */
  instances: ReadonlyMap<string, AlertInstance[]>;
  /** The newest row of each service: its time and whether it failed. */
  newest: ReadonlyMap<string, { at_ms: number; isFailed: boolean }>;
  /** By service. */
  dependents: ReadonlyMap<string, number>;
  /** The last failed row of services that do not fail any more. */
  lastFailed_ms: ReadonlyMap<string, number>;
};

const wait_ms_max = 180_000;

/**
 * The services that each service needs: the targets of its enabled relations, and theirs. `part_of` says what contains what,
 * which explains no failure.
 */
export function needsOf(relations: RelationDefinition[]): Map<string, Set<string>> {
  const direct = new Map<string, string[]>();
  for (const { sourceServiceId, targetServiceId, relationType, enabled } of relations) {
    if (enabled && relationType !== 'part_of')
      direct.set(sourceServiceId, [...(direct.get(sourceServiceId) ?? []), targetServiceId]);
  }
  const all = new Map<string, Set<string>>();
  for (const source of direct.keys()) {
    const found = new Set<string>();
    const open = [...(direct.get(source) ?? [])];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (next === source || found.has(next)) continue;
      found.add(next);
      open.push(...(direct.get(next) ?? []));
    }
    all.set(source, found);
  }
  return all;
}

/**
 * The service that explains an alert of another one, so that no channel is notified of it; undefined for an alert with a cause
 * of its own. Services that fail first wait a little for the ones that they need.
 */
export function suppressedBy(instance: AlertInstance, rule: Rule, situation: Situation): string | undefined {
  const { at_ms, services, newest, lastFailed_ms } = situation;
  const { machine, serviceId } = instance;
  for (const needed of situation.needs.get(serviceId) ?? []) {
    const service = services.get(needed);
    if (service === undefined || !service.enabled) continue;
    const own = situation.instances.get(needed) ?? [];
    const isFiring = own.some((each) => isOpen(each) && isAsSevere(each, rule, situation));
    if (isFiring || newest.get(needed)?.isFailed) return needed;
    const interval_ms = checkInterval_ms(service);
    const isPending = own.some(({ machine: { state } }) => state === 'pending');
    const isUnchecked = (newest.get(needed)?.at_ms ?? Number.POSITIVE_INFINITY) < machine.startsAt_ms;
    const for_ms = Math.max(0, ...own.map(({ ruleId }) => msOf(situation.rules.get(ruleId)?.for ?? '0s')));
    const wait_ms = Math.min(interval_ms + for_ms, wait_ms_max);
    const waited_ms = at_ms - (machine.firedAt_ms ?? at_ms);
    if ((isPending || isUnchecked) && waited_ms < wait_ms) return needed;
    // It was found to be up one interval later, and services behind it have two more.
    const failedAt_ms = lastFailed_ms.get(needed);
    if (failedAt_ms !== undefined && at_ms - failedAt_ms < 3 * interval_ms) return needed;
  }
  return undefined;
}

/** How many services with an open alert need each service. */
export function countDependents({ needs, instances }: Pick<Situation, 'needs' | 'instances'>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [source, needed] of needs) {
    if (!instances.get(source)?.some(isOpen)) continue;
    for (const serviceId of needed) counts.set(serviceId, (counts.get(serviceId) ?? 0) + 1);
  }
  return counts;
}

/** Instances that are not normal, by service. */
export function byService(instances: AlertInstance[]): Map<string, AlertInstance[]> {
  const found = new Map<string, AlertInstance[]>();
  for (const each of instances) {
    if (each.machine.state === 'normal') continue;
    const own = found.get(each.serviceId);
    if (own === undefined) found.set(each.serviceId, [each]);
    else own.push(each);
  }
  return found;
}

function isOpen({ machine: { state } }: AlertInstance): boolean {
  return state === 'firing' || state === 'recovering';
}

function isAsSevere({ ruleId }: AlertInstance, rule: Rule, { rules }: Situation): boolean {
  const other = rules.get(ruleId);
  return other === undefined || severities.indexOf(other.severity) <= severities.indexOf(rule.severity);
}
