import { ApiError, StoreError } from '../../core/errors.ts';
import { describeError } from '../../core/log.ts';
import type { MonitoringDeps } from '../deps.ts';
import { msOf } from '../duration.ts';
import type { IncidentAlert, IncidentChanges } from '../incidents/statements.ts';
import { isOpen, maintenanceOf } from '../maintenance-windows.ts';
import type { Notice } from '../notifications/notices.ts';
import type { Rule } from '../resources/rule.ts';
import type { MonitorConfig } from '../resources/store.ts';
import { statusCodes } from '../status.ts';
import { type AlertState, noteEvaluated, readAlertState } from './alert-state.ts';
import { type AlertEvent, commitAlerts } from './commit.ts';
import { eventOf, groupOf, labelsOf, viewOf } from './describe-alert.ts';
import { type Facts, readFacts } from './facts.ts';
import { type PlanName, planFacts, statusFacts } from './features.ts';
import { type Change, evaluationChange, evaluationRule, evaluationRuleId, foldFacts } from './fold.ts';
import type { AlertInstance } from './instance.ts';
import { silenceOf } from './mutes.ts';
import { owedNotices } from './notice-plan.ts';
import { byService, countDependents, needsOf, type Situation, suppressedBy } from './suppression.ts';

const minute_ms = 60_000;
/** A second evaluation within this time adds nothing. */
const again_ms = 20_000;
/** Missed minutes that are evaluated afterwards. */
const minutes_max = 60;
const read_ms_max = 20_000;

export type Evaluation = 'changed' | 'unchanged' | 'too-early' | 'cannot-tell';

/**
 * Evaluates the rules of a dataset, minutes that were missed included. Facts are read over every acknowledged row; where that is
 * not possible, nothing is decided and the minutes are evaluated later.
 *
 * Any number of evaluations may run at once or die: state, events and notices are committed together, once for each version.
 *
 * @param evaluateAt_ms time of the evaluation; default: now, by the clock of the hot buffer
 * @throws StoreError for a commit of which it is unknown whether it happened, or that another evaluation has come before
 */
export async function evaluateDataset(
  ctx: MonitoringDeps,
  dataset: string,
  config: MonitorConfig,
  evaluateAt_ms?: number,
): Promise<Evaluation> {
  const { state, now_ms } = await readAlertState(ctx, dataset);
  const at_ms = evaluateAt_ms ?? now_ms;
  const { evaluatedAt_ms } = state;
  if (evaluatedAt_ms !== undefined && at_ms - evaluatedAt_ms < again_ms) return 'too-early';
  const rules = config.rules.filter(({ enabled }) => enabled);
  if (rules.length === 0 && state.instances.length === 0) {
    // A first rule is not evaluated over the time before it.
    await noteEvaluated(ctx, dataset, state.version, at_ms);
    return 'unchanged';
  }
  const { times_ms, isGap } = timesOf(evaluatedAt_ms, at_ms);
  const services = [...config.services.values()].filter(({ enabled }) => enabled);
  const { plans, tables } = planFacts(rules, services);
  let facts: Map<PlanName, Facts>;
  try {
    const signal = AbortSignal.timeout(read_ms_max);
    const read = tables.map(
      async (plan) => [plan.name, await readFacts(ctx, dataset, plan, times_ms, signal)] as const,
    );
    facts = new Map(await Promise.all(read));
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    ctx.log({ event: 'rules-not-evaluated', dataset, ...describeError(error) });
    const errorAfter_ms = Math.min(...rules.map(({ errorAfter }) => msOf(errorAfter)));
    if (evaluatedAt_ms !== undefined && at_ms - evaluatedAt_ms >= errorAfter_ms) {
      const change = evaluationChange(state, false, at_ms);
      if (change !== undefined)
        await apply(ctx, dataset, config, state, [change], { now_ms, at_ms, evaluatedAt_ms: undefined }, new Map());
    }
    return 'cannot-tell';
  }
  const changes = foldFacts({ state, config, plans, facts, times_ms, isGap });
  const readable = evaluationChange(state, true, at_ms);
  const all = readable === undefined ? changes : [...changes, readable];
  return await apply(ctx, dataset, config, state, all, { now_ms, at_ms, evaluatedAt_ms: at_ms }, facts);
}

/** A read that was refused, timed out or exceeded a limit: it says nothing about the services. */
function isUnreadable(error: unknown): boolean {
  return (
    error instanceof StoreError ||
    error instanceof ApiError ||
    (error instanceof Error && error.name === 'TimeoutError')
  );
}

/** This evaluation's time, and before it the minutes since the last one. */
function timesOf(evaluatedAt_ms: number | undefined, at_ms: number): { times_ms: number[]; isGap: boolean } {
  const times_ms = [at_ms];
  if (evaluatedAt_ms === undefined) return { times_ms, isGap: false };
  for (let time_ms = at_ms - minute_ms; time_ms > evaluatedAt_ms + minute_ms / 2; time_ms -= minute_ms) {
    if (times_ms.length === minutes_max) return { times_ms, isGap: true };
    times_ms.unshift(time_ms);
  }
  return { times_ms, isGap: false };
}

async function apply(
  ctx: MonitoringDeps,
  dataset: string,
  config: MonitorConfig,
  state: AlertState,
  changes: Change[],
  { now_ms, at_ms, evaluatedAt_ms }: { now_ms: number; at_ms: number; evaluatedAt_ms: number | undefined },
  facts: Map<PlanName, Facts>,
): Promise<Evaluation> {
  const situation = situationOf(config, changes, facts.get('service_status')?.get(at_ms), at_ms);
  const rules = new Map(config.rules.map((rule) => [rule.ruleId, rule]));
  const own = evaluationRule(config.rules.filter(({ enabled }) => enabled));
  if (own !== undefined) rules.set(evaluationRuleId, own);
  // Whether a window is open is the same for all alerts.
  const maintenances = config.maintenances.filter((window) => isOpen(window, at_ms));
  const changed: AlertInstance[] = [];
  const events: AlertEvent[] = [];
  const notices: Notice[] = [];
  const incidents: IncidentChanges = { begun: [], ended: [] };
  for (const change of changes) {
    const rule = rules.get(change.after.ruleId);
    const mutedBy = rule === undefined ? undefined : muteOf(change.after, rule, { ...config, maintenances }, situation);
    const owed = owedNotices(change.after, rule, at_ms, mutedBy !== undefined);
    const after = { ...change.after, told: owed.told };
    if (!isSame(change.before, after)) changed.push(after);
    events.push(...change.transitions.map((each) => eventOf(after, rule, each, mutedBy)));
    const isNotified = owed.notices.some(({ kind }) => kind === 'fired');
    for (const { kind, episode } of change.transitions) {
      const { ruleId, fingerprint } = after;
      if (kind === 'resolved') incidents.ended.push({ ruleId, fingerprint, episode });
    }
    if (rule !== undefined && after.serviceId !== '' && (isNotified || change.transitions.some(isFiring))) {
      incidents.begun.push(incidentAlert(config, after, rule, mutedBy?.service, isNotified));
    }
    for (const { channel, kind, episode } of owed.notices) {
      const alert = viewOf(dataset, config, rule, { ...change, after }, kind, episode, situation);
      const event = `${after.ruleId}/${after.fingerprint}/${episode}/${kind}`;
      const { ruleId, fingerprint } = after;
      const groupKey = groupOf(config.channels.get(channel)?.groupBy ?? [], alert);
      notices.push({ channel, event, kind, ruleId, fingerprint, episode, groupKey, alert });
    }
  }
  if (changed.length === 0 && notices.length === 0) {
    if (evaluatedAt_ms !== undefined) await noteEvaluated(ctx, dataset, state.version, evaluatedAt_ms);
    return 'unchanged';
  }
  await commitAlerts(ctx, dataset, config, {
    state,
    now_ms,
    at_ms,
    evaluatedAt_ms,
    changed,
    events,
    notices,
    incidents,
  });
  ctx.log({
    event: 'alerts-changed',
    dataset,
    instances: changed.length,
    events: events.length,
    notices: notices.length,
  });
  return 'changed';
}

const isFiring = ({ kind }: { kind: string }) => kind === 'fired';

function incidentAlert(
  { services }: MonitorConfig,
  { ruleId, fingerprint, serviceId, machine: { episode } }: AlertInstance,
  rule: Rule,
  rootServiceId: string | undefined,
  isNotified: boolean,
): IncidentAlert {
  const title = `${services.get(serviceId)?.label ?? serviceId}: ${rule.ruleName}`;
  const { severity } = rule;
  return {
    ruleId,
    fingerprint,
    episode,
    serviceId,
    rootServiceId: rootServiceId ?? serviceId,
    severity,
    title,
    isNotified,
  };
}

/** Values of a steady alert change with every row, and are not worth a commit. */
function isSame(before: AlertInstance | undefined, after: AlertInstance): boolean {
  if (before === undefined) return after.machine.state === 'normal';
  const steady = ({ machine, ...rest }: AlertInstance) => {
    const { value: _value, lastInput, ...others } = machine;
    return JSON.stringify([rest, others, machine.state === 'firing' ? '' : lastInput]);
  };
  return steady(before) === steady(after);
}

function situationOf(
  config: MonitorConfig,
  changes: Change[],
  facts: Map<string, Record<string, number | null>> | undefined,
  at_ms: number,
): Situation {
  const newest = new Map<string, { at_ms: number; isFailed: boolean }>();
  const lastFailed_ms = new Map<string, number>();
  for (const [serviceId, row] of facts ?? []) {
    const isFailed = row[statusFacts.lastCode] === statusCodes.failed;
    newest.set(serviceId, { at_ms: row[statusFacts.lastAt] ?? 0, isFailed });
    const failedAt_ms = row[statusFacts.lastFailedAt];
    if (!isFailed && failedAt_ms !== null && failedAt_ms !== undefined) lastFailed_ms.set(serviceId, failedAt_ms);
  }
  const needs = needsOf(config.relations);
  const instances = byService(changes.map(({ after }) => after));
  return {
    at_ms,
    services: config.services,
    rules: new Map(config.rules.map((rule) => [rule.ruleId, rule])),
    needs,
    instances,
    dependents: countDependents({ needs, instances }),
    newest,
    lastFailed_ms,
  };
}

/** What holds messages about an open alert back. */
function muteOf(
  instance: AlertInstance,
  rule: Rule,
  { silences, maintenances, services }: MonitorConfig,
  situation: Situation,
): Record<string, string> | undefined {
  const { state } = instance.machine;
  if (state !== 'firing' && state !== 'recovering') return undefined;
  const service = services.get(instance.serviceId);
  const silence = silenceOf(silences, labelsOf(instance, rule, service), situation.at_ms);
  if (silence !== undefined) return { silence };
  const maintenance = service === undefined ? undefined : maintenanceOf(maintenances, service);
  if (maintenance !== undefined) return { maintenance };
  const needed = suppressedBy(instance, rule, situation);
  return needed === undefined ? undefined : { service: needed };
}
