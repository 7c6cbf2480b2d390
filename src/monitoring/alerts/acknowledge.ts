import { ApiError, StoreError } from '../../core/errors.ts';
import { currentActor } from '../../core/request-context.ts';
import { currentConfig } from '../config-cache.ts';
import type { MonitoringDeps } from '../deps.ts';
import type { Notice } from '../notifications/notices.ts';
import { readAlertState } from './alert-state.ts';
import { commitAlerts } from './commit.ts';
import { groupOf, viewOf } from './describe-alert.ts';
import { byService, countDependents, needsOf } from './suppression.ts';

const attempts_max = 5;

/**
 * Acknowledges an open alert: repetitions and escalation of this episode stop, and the channels that were notified of it are
 * notified of who has it. A repeated acknowledgement changes nothing.
 *
 * @throws ApiError `not-found` for an alert that is not open; StoreError
 */
export async function acknowledgeAlert(
  ctx: MonitoringDeps,
  dataset: string,
  ruleId: string,
  fingerprint: string,
): Promise<{ ackedBy: string; episode: number }> {
  const config = await currentConfig(ctx, dataset);
  for (let attempt = 1; ; attempt += 1) {
    const { state, now_ms } = await readAlertState(ctx, dataset);
    const before = state.instances.find((each) => each.ruleId === ruleId && each.fingerprint === fingerprint);
    if (before === undefined || before.machine.firedAt_ms === null) {
      throw new ApiError('not-found', `No alert ${ruleId}/${fingerprint} is open.`);
    }
    const { episode, ackedBy } = before.machine;
    if (ackedBy !== null) return { ackedBy, episode };
    const { actor } = currentActor();
    const after = { ...before, machine: { ...before.machine, ackedBy: actor } };
    const rule = config.rules.find((each) => each.ruleId === ruleId);
    const needs = needsOf(config.relations);
    const instances = byService(state.instances);
    const situation = {
      at_ms: now_ms,
      services: config.services,
      rules: new Map(config.rules.map((each) => [each.ruleId, each])),
      needs,
      instances,
      dependents: countDependents({ needs, instances }),
      newest: new Map(),
      lastFailed_ms: new Map(),
    };
    const alert = viewOf(dataset, config, rule, { before, after, transitions: [] }, 'acknowledged', episode, situation);
    const id = `${ruleId}/${fingerprint}/${episode}/acknowledged`;
    const { serviceId, labels } = after;
    const event = {
      id,
      at_ms: now_ms,
      kind: 'acknowledged',
      ruleId,
      fingerprint,
      serviceId,
      episode,
      detail: { by: actor, labels },
    };
    const notices = Object.keys(before.told).map((channel): Notice => {
      const groupKey = groupOf(config.channels.get(channel)?.groupBy ?? [], alert);
      return { channel, event: id, kind: 'acknowledged', ruleId, fingerprint, episode, groupKey, alert };
    });
    try {
      await commitAlerts(ctx, dataset, config, {
        state,
        now_ms,
        at_ms: now_ms,
        evaluatedAt_ms: undefined,
        changed: [after],
        events: [event],
        notices,
        incidents: { begun: [], ended: [] },
      });
      return { ackedBy: actor, episode };
    } catch (error) {
      // An evaluation has come before it, or the answer was lost: the state is read again.
      if (!(error instanceof StoreError) || attempt === attempts_max) throw error;
    }
  }
}
