import { fingerprintOf } from '../notifications/fingerprint.ts';
import { selects } from '../resources/common.ts';
import type { Rule } from '../resources/rule.ts';
import type { MonitorConfig } from '../resources/store.ts';
import type { AlertState } from './alert-state.ts';
import type { Facts } from './facts.ts';
import type { PlanName, RulePlan } from './features.ts';
import { inputOf, timingOf } from './inputs.ts';
import { type AlertInstance, instanceKey } from './instance.ts';
import { type Instance, nextState, normalInstance, removed, type Transition } from './state-machine.ts';

/** An instance before and after an evaluation, with what happened in between. */
export type Change = {
  before: AlertInstance | undefined;
  after: AlertInstance;
  transitions: (Transition & { episode: number })[];
};

export type FoldInput = {
  state: AlertState;
  config: Pick<MonitorConfig, 'rules' | 'services'>;
  plans: RulePlan[];
  facts: ReadonlyMap<PlanName, Facts>;
  /** Times of the evaluations to fold over, in ascending order: minutes that were missed, and this one. */
  times_ms: number[];
  /** Whether more minutes were missed than are folded: what was pending then proves nothing. */
  isGap: boolean;
};

/** The next state of all instances of a dataset. Pure. */
export function foldFacts({ state, config, plans, facts, times_ms, isGap }: FoldInput): Change[] {
  const known = new Map(state.instances.map((each) => [instanceKey(each), each]));
  const seen = new Set<string>();
  const changes: Change[] = [];
  const services = [...config.services.values()].filter(({ enabled }) => enabled);
  for (const plan of plans) {
    const { rule } = plan;
    const timing = timingOf(rule);
    for (const service of services) {
      if (!selects(rule.serviceId, service)) continue;
      const labels = { service_id: service.serviceId };
      const fingerprint = fingerprintOf(labels);
      const key = instanceKey({ ruleId: rule.ruleId, fingerprint });
      seen.add(key);
      const before = known.get(key);
      const { revision } = rule;
      const normal = normalInstance(state.episodes.get(key) ?? 0, revision);
      let machine: Instance =
        before === undefined || (isGap && before.machine.state === 'pending') ? normal : before.machine;
      let before_ms = isGap ? undefined : state.evaluatedAt_ms;
      const transitions: Change['transitions'] = [];
      for (const time_ms of times_ms) {
        const row = facts.get(plan.table)?.get(time_ms)?.get(service.serviceId);
        const signals = facts.get('heartbeats')?.get(time_ms)?.get(service.serviceId);
        const input = inputOf(plan, service, { row, signals }, machine, time_ms, service.createdAt_ms);
        const step = nextState(machine, input, timing, revision, time_ms, before_ms);
        transitions.push(...step.transitions.map((each) => ({ ...each, episode: step.next.episode })));
        machine = step.next;
        before_ms = time_ms;
      }
      const told = before?.told ?? {};
      const identity = { ruleId: rule.ruleId, fingerprint, serviceId: service.serviceId, labels };
      changes.push({ before, after: { ...identity, machine, told }, transitions });
    }
  }
  const at_ms = times_ms.at(-1) ?? 0;
  return [...changes, ...removals(state, config, plans, seen, at_ms)];
}

/** Instances whose rule or service is gone, disabled or out of scope. */
function removals(
  { instances }: AlertState,
  { rules }: Pick<MonitorConfig, 'rules'>,
  plans: RulePlan[],
  seen: ReadonlySet<string>,
  at_ms: number,
): Change[] {
  const planned = new Set(plans.map(({ rule }) => rule.ruleId));
  const enabled = new Set(rules.filter((rule) => rule.enabled).map(({ ruleId }) => ruleId));
  return instances.flatMap((before) => {
    const { ruleId } = before;
    // The evaluation alert is decided elsewhere.
    const isElsewhere = ruleId === evaluationRuleId || (enabled.has(ruleId) && !planned.has(ruleId));
    if (isElsewhere || seen.has(instanceKey(before))) return [];
    const { next, transitions } = removed(before.machine, at_ms);
    return {
      before,
      after: { ...before, machine: next },
      transitions: transitions.map((each) => ({ ...each, episode: next.episode })),
    };
  });
}

/** The rule of the alert that says that rules cannot be evaluated. No resource can have this id. */
export const evaluationRuleId = '#evaluation';

/** The rule of the alert that says that the rules of a dataset cannot be evaluated: its channels are those of all rules. */
export function evaluationRule(rules: Rule[]): Rule | undefined {
  const [first] = rules;
  if (first === undefined) return undefined;
  return {
    ...first,
    ruleId: evaluationRuleId,
    ruleName: 'Rules cannot be evaluated',
    serviceId: '*',
    condition: 'evaluated',
    severity: 'critical',
    notificationChannels: [...new Set(rules.flatMap(({ notificationChannels }) => notificationChannels))],
    escalation: [],
    labels: {},
    annotations: {},
  };
}

/** Begins or ends the alert that says that rules cannot be evaluated. */
export function evaluationChange(state: AlertState, isReadable: boolean, at_ms: number): Change | undefined {
  const before = state.instances.find(({ ruleId }) => ruleId === evaluationRuleId);
  const labels = { alertname: 'evaluation' };
  const identity = { ruleId: evaluationRuleId, fingerprint: fingerprintOf(labels), serviceId: '', labels };
  if (isReadable) {
    if (before === undefined) return undefined;
    const machine = normalInstance(before.machine.episode, 0);
    const { episode } = machine;
    const transition = {
      kind: 'resolved' as const,
      at_ms,
      reason: 'ok' as const,
      endsAt_ms: at_ms,
      value: null,
      episode,
    };
    return { before, after: { ...before, machine }, transitions: [transition] };
  }
  if (before !== undefined) return undefined;
  const episode = (state.episodes.get(instanceKey(identity)) ?? 0) + 1;
  const machine: Instance = {
    ...normalInstance(episode, 0),
    state: 'firing',
    reason: 'error',
    since_ms: at_ms,
    startsAt_ms: state.evaluatedAt_ms ?? at_ms,
    firedAt_ms: at_ms,
  };
  const transition = { kind: 'fired' as const, at_ms, reason: 'error' as const, endsAt_ms: null, value: null, episode };
  return { before, after: { ...identity, machine, told: {} }, transitions: [transition] };
}
