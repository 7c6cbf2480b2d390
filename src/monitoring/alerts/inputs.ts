import { type Heartbeat, heartbeatDeadline } from '../checks/heartbeat-deadline.ts';
import { durationOf, msOf } from '../duration.ts';
import { checkInterval_ms } from '../resources/interval.ts';
import type { Rule } from '../resources/rule.ts';
import type { Service } from '../resources/service.ts';
import { type Comparison, compares } from './condition.ts';
import { heartbeatFacts, type RulePlan } from './features.ts';
import type { Input, Instance, Timing } from './state-machine.ts';

/** The times of a rule in milliseconds. */
export function timingOf(rule: Rule): Timing {
  return {
    for_ms: msOf(rule.for),
    keepFiring_ms: msOf(rule.keepFiring),
    successesToRecover: rule.successesToRecover,
    noData: rule.noData,
    noDataFor_ms: msOf(rule.noDataFor),
    forgetAfter_ms: rule.forgetAfter === undefined ? undefined : msOf(rule.forgetAfter),
  };
}

type Values = Record<string, number | null>;

/**
 * What the facts of a service mean for a rule.
 *
 * @param row facts of the service; undefined for a service without rows
 * @param signals the signs of life of a service with a heartbeat
 * @param instance the state before this evaluation: an empty window repeats its last input
 * @param knownSince_ms since when the service has been expected to have rows
 */
export function inputOf(
  { rule, condition, names }: RulePlan,
  service: Service,
  { row, signals }: { row: Values | undefined; signals: Values | undefined },
  instance: Instance,
  at_ms: number,
  knownSince_ms: number,
): Input {
  const get = (name: string | undefined) => (name === undefined ? null : (row?.[name] ?? null));
  const value = get(names.value);
  // No line of a log is no missing data.
  if (condition.kind === 'logs')
    return judged(rule, condition.comparison, instance, value ?? 0, at_ms, get(names.breachAt));
  const seenAt_ms = get(names.lastAt);
  if (condition.kind === 'failures-in-a-row' && service.statusConfig?.check === 'heartbeat') {
    return heartbeatInput(
      service.statusConfig,
      signals,
      get(names.value) ?? 0,
      rule,
      condition.comparison,
      instance,
      at_ms,
    );
  }
  const lastAt_ms = seenAt_ms ?? knownSince_ms;
  if (condition.kind === 'no-data') {
    const silent_s = (at_ms - lastAt_ms) / 1_000;
    const input = judged(rule, condition.comparison, instance, silent_s, at_ms, lastAt_ms + rule.threshold * 1_000);
    return { ...input, lastAt_ms: seenAt_ms };
  }
  const noDataAfter_ms = durationOf(rule.noDataAfter ?? '') ?? 3 * checkInterval_ms(service);
  if (at_ms - lastAt_ms > noDataAfter_ms) {
    return { kind: 'no-data', value: null, lastAt_ms: seenAt_ms, beganAt_ms: lastAt_ms + noDataAfter_ms };
  }
  const needed = condition.kind === 'failure-rate' ? rule.minSamples : 1;
  const samples = get(names.samples) ?? 0;
  // Too few rows say nothing new.
  if (value === null || samples < needed) {
    const kind = instance.lastInput === 'no-data' ? 'between' : instance.lastInput;
    return { kind, value: instance.value, lastAt_ms: seenAt_ms, beganAt_ms: at_ms };
  }
  const input = judged(rule, condition.comparison, instance, value, at_ms, get(names.breachAt));
  return {
    ...input,
    lastAt_ms: seenAt_ms,
    beganAt_ms: input.kind === 'ok' ? (get(names.okAt) ?? at_ms) : input.beganAt_ms,
  };
}

/** A missed heartbeat is a failure from its deadline on, and without a deadline nothing is missing. */
function heartbeatInput(
  config: Heartbeat,
  signals: Values | undefined,
  failures: number,
  rule: Rule,
  comparison: Comparison,
  instance: Instance,
  at_ms: number,
): Input {
  const lastAt_ms = signals?.[heartbeatFacts.lastSignal] ?? null;
  const lastStart_ms = signals?.[heartbeatFacts.lastStart] ?? null;
  const { deadline_ms, isMissed } = heartbeatDeadline(config, lastAt_ms, lastStart_ms, at_ms);
  if (isMissed) {
    return { kind: 'breach', value: Math.max(failures, rule.threshold), lastAt_ms, beganAt_ms: deadline_ms ?? at_ms };
  }
  return { ...judged(rule, comparison, instance, failures, at_ms, null), lastAt_ms };
}

function judged(
  { threshold, resolveThreshold }: Rule,
  comparison: Comparison,
  { state }: Instance,
  value: number,
  at_ms: number,
  breachAt_ms: number | null,
): Input {
  if (compares(value, comparison, threshold)) {
    return { kind: 'breach', value, lastAt_ms: null, beganAt_ms: breachAt_ms ?? at_ms };
  }
  const isOpen = state === 'firing' || state === 'recovering';
  const isBetween = isOpen && resolveThreshold !== undefined && compares(value, comparison, resolveThreshold);
  return { kind: isBetween ? 'between' : 'ok', value, lastAt_ms: null, beganAt_ms: at_ms };
}
