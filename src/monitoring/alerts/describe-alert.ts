import type { AlertView } from '../notifications/alert-view.ts';
import type { Rule } from '../resources/rule.ts';
import type { MonitorConfig } from '../resources/store.ts';
import type { AlertEvent } from './commit.ts';
import type { Change } from './fold.ts';
import type { AlertInstance } from './instance.ts';
import type { Situation } from './suppression.ts';

/** All labels of an instance: those that name it, and those of its rule and service. */
export function labelsOf(
  { labels, ruleId }: AlertInstance,
  rule: Rule | undefined,
  service: { stack: string; serviceType: string } | undefined,
): Record<string, string> {
  return {
    ...rule?.labels,
    alertname: rule?.ruleName ?? ruleId,
    severity: rule?.severity ?? 'error',
    stack: service?.stack ?? '',
    service_type: service?.serviceType ?? '',
    rule_id: ruleId,
    ...labels,
  };
}

/** The line of the history for a transition. */
export function eventOf(
  { ruleId, fingerprint, serviceId, labels, machine }: AlertInstance,
  rule: Rule | undefined,
  { kind, at_ms, reason, endsAt_ms, value, episode }: Change['transitions'][number],
  mutedBy: Record<string, string> | undefined,
): AlertEvent {
  // A reason can change more than once in an episode.
  const part = kind === 'changed' ? `changed-${at_ms}` : kind;
  const { startsAt_ms } = machine;
  const detail = {
    reason,
    value,
    endsAt_ms,
    startsAt_ms,
    severity: rule?.severity ?? null,
    labels,
    mutedBy: mutedBy ?? null,
  };
  return {
    id: `${ruleId}/${fingerprint}/${episode}/${part}`,
    at_ms,
    kind,
    ruleId,
    fingerprint,
    serviceId,
    episode,
    detail,
  };
}

/** What messages say of an instance. @param kind of the notice */
export function viewOf(
  dataset: string,
  { services }: MonitorConfig,
  rule: Rule | undefined,
  { before, after, transitions }: Change,
  kind: string,
  episode: number,
  situation: Situation,
): AlertView {
  const service = services.get(after.serviceId);
  const end = transitions.find((each) => each.kind === 'resolved' && each.episode === episode);
  const isResolved = kind === 'resolved';
  const machine = isResolved ? (before ?? after).machine : after.machine;
  return {
    dataset,
    ruleId: after.ruleId,
    ruleName: rule?.ruleName ?? after.ruleId,
    serviceId: after.serviceId,
    label: service?.label ?? after.serviceId,
    severity: rule?.severity ?? 'error',
    status: isResolved ? 'resolved' : machine.ackedBy === null ? 'firing' : 'acknowledged',
    reason: end?.reason ?? machine.reason,
    labels: labelsOf(after, rule, service),
    annotations: rule?.annotations ?? {},
    value: isResolved ? (end?.value ?? null) : (machine.firedValue ?? machine.value),
    threshold: rule?.threshold ?? null,
    condition: rule?.condition ?? '',
    startsAt_ms: machine.startsAt_ms,
    firedAt_ms: machine.firedAt_ms ?? situation.at_ms,
    endsAt_ms: isResolved ? (end?.endsAt_ms ?? situation.at_ms) : null,
    episode,
    fingerprint: after.fingerprint,
    dependents: situation.dependents.get(after.serviceId) ?? 0,
  };
}

/** The key of a group: the values of the labels that its alerts share. */
export function groupOf(names: string[], { labels }: AlertView): string {
  return JSON.stringify(names.map((name) => [name, labels[name] ?? '']));
}
